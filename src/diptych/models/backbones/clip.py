"""Any open_clip model with a ViT image tower and a transformer text tower, as a backbone.

Shape letters: B batch, P patches, L text tokens, D tower width, E embedding width.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import open_clip
import torch
from open_clip.pretrained import download_pretrained, get_pretrained_cfg
from open_clip.timm_model import TimmModel
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import TextTransformer, VisionTransformer, text_global_pool
from torch import Tensor, nn

from diptych.contracts.models import ImageFeatures, ImageSpec, TextFeatures, TextTokens
from diptych.models.backbones.clip_architecture import build, registered
from diptych.models.backbones.clip_facts import ACTIVATION, IMAGE, clip_facts, settled
from diptych.models.backbones.clip_file import load_file
from diptych.models.backbones.clip_layers import SelfAttention, make_lean
from diptych.models.backbones.clip_tokenizers import (
    cleaning,
    open_clip_tokenizer,
    plain_tokenizer,
    transformers_tokenizer,
)
from diptych.models.plain_text import broken_up, control_signs
from diptych.parallel.private_parts import vision_features
from diptych.storage.json_values import encodable
from diptych.storage.model_files import FETCH

log = logging.getLogger(__name__)

FREEZE_CHOICES = ("none", "vision", "text", "all")
TOKEN_CHOICES = ("patches", "before_norm")
TOKENIZER_CHOICES = ("open_clip", "transformers")


class CLIPPreprocessing:
    """The image settings and the tokenizer of an open_clip model, read from its registry entry: no weights.

    `name` and `pretrained` are open_clip's model name and weights tag (or a local file); `architecture` is an
    open_clip model configuration given in full, for models that are not registered. `target_pad` pads elongated
    pictures first (see `ImageSpec`). `pad_to_context` pads every text to the full context length, as the published
    good4cir recipe does, instead of to the longest text of the batch. `mean` and `std` of the pixels are the weights'
    own unless they are given, and so are `interpolation` and `resize`; `clip_facts` says how they are known of a file.

    `tokenizer` says whose rules make tokens of CLIP's one vocabulary. `open_clip` repairs a text first (ftfy, HTML
    entities), fills up with token 0, and pads see each other. `transformers`, as `CLIPTokenizer`, takes a text as it is
    but for case and blanks, and fills up with the end token; its attention mask, which `CLIPTextModel` obeys, hides
    every pad from all tokens, itself included. Real tokens see no pads either way: the features at the pads differ.
    """

    def __init__(
        self,
        name: str,
        pretrained: str | None = None,
        architecture: dict[str, Any] | None = None,
        target_pad: float | None = None,
        pad_to_context: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        tokenizer: str = "open_clip",
        interpolation: str | None = None,
        resize: str | None = None,
    ) -> None:
        if tokenizer not in TOKENIZER_CHOICES:
            raise ValueError(f"tokenizer={tokenizer!r} is not one of {', '.join(TOKENIZER_CHOICES)}")
        config = architecture or registered(name)
        given = {"mean": mean, "std": std, "interpolation": interpolation, "resize": resize}
        facts = clip_facts(name, pretrained, architecture, given)
        size = int(config["vision_cfg"].get("image_size", 224))
        self.image = ImageSpec(size=size, target_pad=target_pad, **facts)
        text = config["text_cfg"]
        self.context_length = int(text.get("context_length", 77))
        self._registered_name = None if architecture else name
        self._clean = cleaning(text) if architecture else None
        # Without a causal mask the real tokens attend to the pads, so the length must be the one of the training.
        self._fixed_length = pad_to_context or bool(text.get("no_causal_mask"))
        self._pad_id = int(text.get("pad_id", 0))
        if tokenizer == "transformers" and (text.get("hf_tokenizer_name") or text.get("no_causal_mask")):
            raise ValueError(f"tokenizer=transformers means CLIPTokenizer; the texts of {name} are not CLIP's")
        self.tokenizer = tokenizer

    @classmethod
    def settled(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that a config is to keep of a file of weights, as `clip_facts.settled` has them."""
        return settled(settings, IMAGE)

    def tokenize(self, texts: Sequence[str]) -> TextTokens:
        """Token ids (B, L) with L the longest text of the batch; a text over the context length is cut before its
        end token, which is kept, and counted in `num_truncated`. Empty text gives start and end alone.
        """
        tokenizer, texts = open_clip_tokenizer(self._registered_name, self._clean), list(map(encodable, texts))
        if not isinstance(tokenizer, SimpleTokenizer):  # sentence-piece models bring a fixed length and no mask
            signs = control_signs(tokenizer.tokenizer)
            ids = tokenizer([broken_up(text, signs) for text in texts], context_length=self.context_length)
            return TextTokens(ids, torch.ones_like(ids, dtype=torch.bool))
        encode, pad_id = plain_tokenizer(self._registered_name, self._clean).encode, self._pad_id
        if self.tokenizer == "transformers":
            encode, pad_id = transformers_tokenizer(), tokenizer.eot_token_id
        rows, num_truncated = [], 0
        for text in texts:
            row = [tokenizer.sot_token_id, *encode(text), tokenizer.eot_token_id]
            if len(row) > self.context_length:
                row = [*row[: self.context_length - 1], tokenizer.eot_token_id]
                num_truncated += 1
            rows.append(row)
        length = self.context_length if self._fixed_length else max(len(row) for row in rows)
        ids = torch.full((len(rows), length), pad_id, dtype=torch.long)
        mask = torch.zeros(len(rows), length, dtype=torch.bool)
        for position, row in enumerate(rows):
            ids[position, : len(row)] = torch.tensor(row)
            mask[position, : len(row)] = True
        return TextTokens(ids, mask, num_truncated)


class CLIPBackbone(nn.Module):
    """An open_clip model behind one public `encode_image` and `encode_text`.

    Construction builds the architecture with random weights; `load_pretrained` fills in the published ones, so that a
    model restored from a checkpoint never downloads what it is about to overwrite. `freeze` is `none`, `vision`,
    `text` or `all`; a frozen tower runs without a graph. `preprocessing` must describe the same model.
    `image_tokens` are the tokens of a picture: its `patches` after the tower's last norm, or all tokens `before_norm`,
    class token first, as published good4cir reads them. `token_embedding_std` replaces open_clip's initial 0.02, with
    which the words of a small model trained from scratch take long to stand out from its attention output. An
    `embed_dim` of 0 in `architecture` means no projections: there are no embeddings in a shared space. `activation`,
    `gelu` or `quick_gelu`, is the weights' own unless it is given (`clip_facts`).
    """

    mean: Tensor
    std: Tensor

    model_names: ClassVar[Mapping[str, str]] = {"name": "open_clip"}  # see config/model_names.py

    def __init__(
        self,
        name: str,
        preprocessing: CLIPPreprocessing,
        pretrained: str | None = None,
        architecture: dict[str, Any] | None = None,
        freeze: str = "none",
        activation_checkpointing: bool = False,
        token_embedding_std: float | None = None,
        image_tokens: str = "patches",
        activation: str | None = None,
    ) -> None:
        super().__init__()
        if freeze not in FREEZE_CHOICES:
            raise ValueError(f"freeze={freeze!r} is not one of {', '.join(FREEZE_CHOICES)}")
        if image_tokens not in TOKEN_CHOICES:
            raise ValueError(f"image_tokens={image_tokens!r} is not one of {', '.join(TOKEN_CHOICES)}")
        self.name, self.pretrained, self.preprocessing = name, pretrained, preprocessing
        facts = clip_facts(name, pretrained, architecture, {ACTIVATION: activation})
        self.activation = str(facts[ACTIVATION])
        self.weights_file: Path | None = None  # which load_pretrained has read
        self.clip = build(name, architecture, quick_gelu=self.activation == "quick_gelu")
        make_lean(self.clip)
        visual = self.visual
        if image_tokens == "before_norm" and isinstance(visual, TimmModel):
            raise ValueError(
                f"image_tokens=before_norm: the image tower of {name} gives no tokens before its last norm"
            )
        self.image_tokens = image_tokens
        self.vision_dim = int(
            visual.trunk.num_features if isinstance(visual, TimmModel) else visual.ln_post.normalized_shape[0]
        )
        self.text_dim = int(self.text.width)
        self.embedding_dim = int(self.text.output_dim)
        self.register_buffer("mean", torch.tensor(preprocessing.image.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.image.std).view(3, 1, 1), persistent=False)
        if token_embedding_std is not None:
            nn.init.normal_(self.text.token_embedding.weight, std=token_embedding_std)
        self.activation_checkpointing = activation_checkpointing
        if activation_checkpointing:
            self.clip.set_grad_checkpointing(True)
        self.vision_frozen = freeze in ("vision", "all")
        self.text_frozen = freeze in ("text", "all")
        for parameter in self.clip.parameters(recurse=False):  # CLIP's own temperature: the loss has one
            parameter.requires_grad_(False)
        # Only ever switched off: some models hold fixed sine positions as parameters without gradient.
        for tower, frozen in ((self.visual, self.vision_frozen), (self.text, self.text_frozen)):
            if frozen:
                tower.requires_grad_(False)

    @classmethod
    def settled(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """As that of the preprocessing."""
        return settled(settings, [ACTIVATION])

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.mean.device

    @property
    def visual(self) -> TimmModel | VisionTransformer:
        """The image tower."""
        return self.clip.visual

    @property
    def text(self) -> TextTransformer:
        """The text tower."""
        return self.clip.text

    def load_pretrained(self) -> None:
        """Loads the weights named by `pretrained`, a tag of open_clip's registry (downloaded once) or a local file,
        with open_clip's names or those of transformers' `CLIPModel`.

        Only tensors are read, never pickled code. Raises ValueError for an unknown tag, and for a file that cannot be
        read so or holds another model's weights.
        """
        if not self.pretrained:
            return
        entry = get_pretrained_cfg(self.name, self.pretrained)
        if entry:  # a file of a tag's name would be loaded with the tag's activation
            try:
                path = download_pretrained(entry)
            except Exception as error:  # the hub's, the socket's, the library's own
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise ValueError(
                    f"{self.name}: its weights pretrained={self.pretrained} are not on this machine and cannot be"
                    f" downloaded ({reason}); name a file, pretrained=FILE; {FETCH}"
                ) from error
        elif Path(self.pretrained).is_file():
            path = self.pretrained
        else:
            tags = ", ".join(open_clip.list_pretrained_tags_by_model(self.name)) or "none"
            raise ValueError(f"pretrained={self.pretrained!r} is neither a file nor a tag of {self.name} ({tags})")
        load_file(self.clip, Path(path), self.name, of_tag=bool(entry))
        self.weights_file, spec = Path(path), self.preprocessing.image
        log.info(
            "%s: weights %s; activation %s; pictures of %d pixels, %s, %s, mean %s, std %s",
            *(self.name, self.pretrained, self.activation, spec.size, spec.resize, spec.interpolation),
            *(", ".join(f"{number:.4g}" for number in numbers) for numbers in (spec.mean, spec.std)),
        )

    def freeze_image_projection(self) -> None:
        """Excludes the projection into the shared space from training: distributed training waits for gradients."""
        visual = self.visual
        for head in (visual.trunk.head, visual.head) if isinstance(visual, TimmModel) else (visual.proj,):
            if head is not None:
                head.requires_grad_(False)

    def freeze_text_projection(self) -> None:
        """Excludes the text's projection into the shared space from training, for composers that read tokens only."""
        if self.text.text_projection is not None:
            self.text.text_projection.requires_grad_(False)

    def freeze_text_tower(self) -> None:
        """Excludes the whole text tower from training, for composers that read no text."""
        self.text.requires_grad_(False)

    def encode_image(self, pixels: Tensor) -> ImageFeatures:
        """Features of uint8 pixels (B, 3, H, W), normalised here by the model's own mean and deviation."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.vision_frozen):
            images = (pixels.to(self.mean.dtype) / 255 - self.mean) / self.std
            if isinstance(self.visual, TimmModel):
                trunk = self.visual.trunk
                tokens = trunk.forward_features(images)
                pooled = trunk.forward_head(tokens, pre_logits=True)
                embedding = self.visual.head(trunk.head(pooled))  # one of the two is the projection, the other nothing
                return ImageFeatures(tokens[:, trunk.num_prefix_tokens :], embedding, pooled)
            vit = self.visual
            pooled, tokens, hidden = vision_features(vit, images)
            tokens = hidden if self.image_tokens == "before_norm" else tokens
            embedding = pooled[:, :0] if vit.proj is None else pooled @ vit.proj
            return ImageFeatures(tokens, embedding, pooled)

    def encode_text(self, tokens: TextTokens) -> TextFeatures:
        """Features of tokens (B, L), L up to the context length. Texts are right-padded and attention is causal, so
        no real token sees a pad; the mask travels on for whoever attends to the features. What pads see says the
        preprocessing's `tokenizer`.
        """
        text, ids = self.text, tokens.input_ids
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.text_frozen):
            hidden = text.token_embedding(ids) + text.positional_embedding[: ids.shape[1]]
            if torch.is_autocast_enabled(hidden.device.type):  # as the image tower's first layer does
                hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
            unseen = self._unseen(tokens, hidden.dtype)
            hidden = text.ln_final(text.transformer(hidden, attn_mask=unseen))
            embedding = text_global_pool(hidden, ids, pool_type=text.pool_type, eos_token_id=text.eos_id)
            if isinstance(text.text_projection, nn.Linear):
                embedding = text.text_projection(embedding)
            elif text.text_projection is not None:
                embedding = embedding @ text.text_projection
            elif not self.embedding_dim:
                embedding = embedding[:, :0]
            return TextFeatures(hidden, tokens.mask, embedding)

    def _unseen(self, tokens: TextTokens, dtype: torch.dtype) -> Tensor | None:
        """What is added to the logits of the text tower's attention: -inf where nothing is to be seen. None: nothing,
        or nothing but what its layers leave unseen by themselves, in kernels that read no mask.
        """
        causal, length = self.text.attn_mask, tokens.input_ids.shape[1]
        if causal is None:
            return None
        if self.preprocessing.tokenizer == "transformers":  # (B, 1, L, L)
            return causal[:length, :length].masked_fill(~tokens.mask[:, None, None], -torch.inf).to(dtype)
        lean = all(isinstance(block.attn, SelfAttention) for block in self.text.transformer.resblocks)
        return None if lean else causal[:length, :length].to(dtype)
