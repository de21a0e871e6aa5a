"""The layers of open_clip's transformers with fewer passes over their activations.

Weights, their names, their shapes and their order are open_clip's; what is computed is, too, up to rounding.
Shape letters: B batch, L tokens, D width, H heads, d head width.
"""

from __future__ import annotations

from open_clip.transformer import LayerNorm, QuickGELU, ResidualAttentionBlock, TextTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.models.backbones.quick_gelu import LeanQuickGELU, QuickGELUNetwork
from diptych.models.layer_norm import LeanLayerNorm


class SelfAttention(nn.Module):
    """The self-attention of an nn.MultiheadAttention, and its weights.

    That one copies queries, keys and values before the kernel and their gradients, filled up with zeros, after it.
    """

    def __init__(self, attention: nn.MultiheadAttention, causal: bool) -> None:
        super().__init__()
        self.num_heads, self.causal = attention.num_heads, causal
        self.in_proj_weight, self.in_proj_bias = attention.in_proj_weight, attention.in_proj_bias
        self.out_proj = attention.out_proj

    def forward(
        self, tokens: Tensor, key: Tensor, value: Tensor, need_weights: bool = False, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Tokens (B, L, D) to (B, L, D), called as open_clip calls it: `key` and `value` are the tokens, no weights are
        needed. `attn_mask` (L, L) or (B, 1, L, L) is added to the logits; without one, `causal` tokens see themselves
        and what is before them, others everything.
        """
        qkv = F.linear(tokens, self.in_proj_weight, self.in_proj_bias).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = (part.transpose(1, 2) for part in qkv.unbind(2))  # (B, H, L, d), views
        causal = self.causal and attn_mask is None
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask, is_causal=causal)
        return self.out_proj(attended.transpose(1, 2).flatten(2)), None


def make_lean(model: nn.Module) -> None:
    """Exchanges the layers of open_clip's own towers in the model; weights stay the same objects."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LayerNorm):
                setattr(module, name, LeanLayerNorm.of(child))
            elif isinstance(child, QuickGELU):
                setattr(module, name, LeanQuickGELU())
    for tower in model.children():
        causal = isinstance(tower, TextTransformer) and tower.attn_mask is not None
        for block in tower.modules():
            if isinstance(block, ResidualAttentionBlock):
                block.attn = SelfAttention(block.attn, causal)
                if isinstance(block.mlp.gelu, LeanQuickGELU):
                    block.mlp = QuickGELUNetwork(block.mlp)
