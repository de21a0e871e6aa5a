"""The fuser: a frozen, quantised causal language model with a trained LoRA adapter on every linear layer.

Shape letters: B rows, L tokens of a row, T real tokens of all rows, D width.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from typing import ClassVar, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from diptych.contracts.news import FusionBatch
from diptych.models.fuser.base_model import BaseModel
from diptych.models.fuser.example_attention import ends_of_examples, lengths_as_mask
from diptych.models.fuser.fused_lora import fuse_lora
from diptych.models.fuser.fused_norm import fuse_norms
from diptych.models.fuser.merging import merge_adapter, restore_weights
from diptych.models.fuser.recomputation import LayerWidths, layers_of, layers_to_recompute, recompute_first
from diptych.parallel.devices import free_memory, sent

log = logging.getLogger(__name__)


class QLoRAFuser(nn.Module):
    """A causal language model, frozen and by default quantised, with LoRA on all linear layers but the output layer.

    `name` is a model on the hub, a folder, or a GGUF file (`package:NAME/PATH` for one that came in a package).
    `quantization` is `int8` (LLM.int8, outliers over 6), `nf4` (double quantisation, bf16 products) or `none`. `dtype`
    is that of everything not quantised; adapter weights are float32 always. `attention` is `sdpa`, or
    `flash_attention_2` where it is installed and the model is on CUDA.

    The adapter's product is scaled by alpha / rank (Hu et al. 2021, section 4.1). `alpha` follows the rank, so that
    another rank is not another scale too, unless it is given.

    `recompute` is how many layers are computed again in the backward pass, for the memory that their inner results
    would take, with the same gradients: a number, or `auto`, which is all of them, or on a GPU as many as
    `plan_recompute` finds necessary.

    Construction checks the settings and reads nothing; `load` reads the weights. Pads never reach the model: the rows
    of a batch are strung together without them, and every example attends to itself alone.

    Dettmers et al. 2023 (QLoRA), Hu et al. 2021 (LoRA).

    Raises:
        ValueError: a setting is unknown, or two cannot work together.
    """

    adapter_format = "peft"  # whose folders its adapter can be exported to
    model_names: ClassVar[Mapping[str, str]] = {"name": "hub"}  # see config/model_names.py

    def __init__(
        self,
        name: str = "deepseek-ai/DeepSeek-R1-0528-Qwen3-8B",
        quantization: str = "int8",
        rank: int = 256,
        alpha: float | None = None,
        alpha_over_rank: float = 1.0,
        dropout: float = 0.0,
        recompute: int | str = "auto",
        attention: str = "sdpa",
        dtype: str = "bfloat16",
    ) -> None:
        super().__init__()
        self._on_disk = BaseModel(name, quantization, attention, dtype)
        if alpha is None:
            alpha = alpha_over_rank * rank
        if rank < 1 or alpha <= 0 or not 0 <= dropout < 1:
            raise ValueError(
                f"rank={rank}, alpha={alpha:g} (alpha_over_rank={alpha_over_rank:g} times the rank unless set), "
                f"dropout={dropout}: want at least 1, above 0, 0 to 1"
            )
        self.name, self.quantization, self.rank, self.alpha, self.dropout = name, quantization, rank, alpha, dropout
        if recompute != "auto" and (type(recompute) is not int or recompute < 0):
            raise ValueError(f"recompute={recompute!r}: want auto, or a number of layers, 0 for none")
        self.recompute, self.attention, self.dtype = recompute, attention, dtype
        self._model: PeftModel | None = None
        self._is_merged = False

    # ------------------------------------------------------------------------------------------------ loading

    def load(self, device: torch.device | str | None = None) -> None:
        """Reads the base model onto `device` (by default the current GPU, or the CPU), quantises and freezes it, and
        adds a fresh adapter, which is drawn from torch's global generator. Does nothing when it is loaded already.

        Raises:
            ValueError: before any weights are read, where the settings cannot work on that device; afterwards, where
                the model's attention cannot be kept within examples.
        """
        if self._model is not None:
            return
        if device is None:
            device = f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
        device = torch.device(device)
        self._on_disk.check_device(device)
        self._adapt(self._on_disk.read(device))

    def _adapt(self, base: PreTrainedModel) -> None:
        """Freezes the base model and adds a fresh adapter."""
        base.requires_grad_(False)
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            bias="none",
            task_type="CAUSAL_LM",
            target_modules="all-linear",
        )
        self._model = get_peft_model(base, config)
        for parameter in self._adapter_parameters().values():
            parameter.data = parameter.data.float()
        self._model.train(self.training)
        fuse_lora(base)
        fuse_norms(base)
        self._recompute(len(self._layers) if self.recompute == "auto" else int(self.recompute))

    def plan_recompute(self, tokens: int, bytes_of_state: int) -> None:
        """To be called before training: with `recompute=auto` on a GPU, has as few layers computed again as its free
        memory allows, for batches of so many tokens and an optimizer of so many bytes for each trained number.
        """
        widths = LayerWidths.of(self._layers[0], self.rank, self.dropout) if self._layers else None
        free = free_memory(next(self.model.parameters()).device)
        if self.recompute != "auto" or free is None or self.dtype == "float32" or widths is None:
            return
        trained = sum(parameter.numel() for parameter in self._adapter_parameters().values())
        free -= trained * (torch.float32.itemsize + bytes_of_state)  # the gradient, and the state
        number = layers_to_recompute(widths, len(self._layers), tokens, free, self.quantization)
        self._recompute(number)
        log.info(
            "%d of %d layers are computed again in the backward pass: %.0f GiB are free for %d tokens "
            "(system.model.recompute)",
            *(number, len(self._layers), free / 2**30, tokens),
        )

    def _recompute(self, number: int) -> None:
        layers = self._layers
        if number > len(layers):
            raise ValueError(
                f"recompute={number}: {self.name} has {len(layers)} layers; want 0 to {len(layers)}, or auto"
            )
        if number > 0:
            # Not re-entrant: the adapters inside a layer get gradients whether or not the layer's input needs one.
            base = self._base
            enable = getattr(base, "activation_checkpointing_enable", None) or base.gradient_checkpointing_enable
            enable({"use_reentrant": False})
            base.disable_input_require_grads()
        recompute_first(layers, number)

    @property
    def _layers(self) -> list[GradientCheckpointingLayer]:
        return layers_of(self._base.get_decoder())

    # ------------------------------------------------------------------------------------------------ running

    @property
    def model(self) -> PeftModel:
        """The language model with its adapter, ready for `generate` in evaluation mode."""
        if self._model is None:
            raise ValueError("the fuser's weights are not loaded; call load() first")
        return self._model

    @property
    def _base(self) -> PreTrainedModel:
        return cast(PreTrainedModel, self.model.get_base_model())  # PEFT's types know it as any module

    def head(self) -> nn.Module:
        """The output layer, from hidden states to logits; it is frozen and has no adapter."""
        return self._base.get_output_embeddings()

    def forward(self, batch: FusionBatch) -> Tensor:
        """Hidden states (B, L, D) after the last layer's norm, zero on pads; `head` turns them into logits.

        No example sees another, and none sees pads.
        """
        self._unmerge()
        shape, device = batch.segments.shape, batch.input_ids.device
        real = sent(batch.segments.flatten().nonzero()[:, 0], device)  # (T,), counted on the host
        lengths = _example_lengths(batch.segments)
        mask = lengths_as_mask(lengths) if self.attention == "sdpa" else None  # flash attention goes by the positions
        ends = ends_of_examples(lengths, device) if self.attention == "sdpa" else {}
        decoder = self._base.get_decoder()
        packed = decoder(
            input_ids=batch.input_ids.flatten()[real][None],
            position_ids=batch.position_ids.flatten()[real][None],
            attention_mask=mask,
            use_cache=False,
            **ends,
        ).last_hidden_state[0]
        hidden = packed.new_zeros(shape.numel(), packed.shape[-1])
        return hidden.index_copy(0, real, packed).view(*shape, -1)

    def disable_adapter(self) -> contextlib.AbstractContextManager[None]:
        """A context in which the base model answers alone: the untuned baseline."""
        self._unmerge()
        return self.model.disable_adapter()

    def merge(self) -> None:
        """Makes the adapter part of an unquantised base model's weights, for answers: the same to rounding, in a third
        of the time a token. A layer of which rounding would lose a part of the adapter keeps it beside it. Who then
        trains on, or wants the base model alone, has it as it was: it is read again.
        """
        if self.quantization != "none" or self._is_merged:
            return
        if left := merge_adapter(self._base):
            log.info("%d layers keep the adapter beside them: %s would lose a part of it", len(left), self.dtype)
        self._is_merged = True

    def _unmerge(self) -> None:
        """The base model's weights to the last bit."""
        if self._is_merged:
            restore_weights(self._base, self._on_disk.read(torch.device("cpu")))
            self._is_merged = False

    # ------------------------------------------------------------------------------------------------ adapter

    def adapter_state_dict(self) -> dict[str, Tensor]:
        """The adapter's weights under PEFT's names; nothing of the base model."""
        return {name: tensor.detach() for name, tensor in get_peft_model_state_dict(self.model).items()}

    def load_adapter_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Puts in the adapter's weights.

        Raises:
            ValueError: names are missing or unknown, or a tensor has another shape (another rank or base model).
        """
        own = self.adapter_state_dict()
        missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        reshaped = [name for name in own.keys() & state.keys() if own[name].shape != state[name].shape]
        if missing or unexpected or reshaped:
            raise ValueError(
                f"the adapter does not fit {self.name} at rank {self.rank}: missing {missing[:3]} ({len(missing)} in "
                f"all), unexpected {unexpected[:3]} ({len(unexpected)}), of another shape {sorted(reshaped)[:3]} "
                f"({len(reshaped)})"
            )
        self._unmerge()
        set_peft_model_state_dict(self.model, dict(state))

    def check_gradients(self) -> None:
        """To be called after the first backward pass.

        Raises:
            ValueError: adapter tensors that the pass did not reach, by name. B starts at zero, so that A's first
                gradient is zero; B's is not, unless nothing flows.
        """
        without = [
            name
            for name, parameter in self._adapter_parameters().items()
            if parameter.grad is None or ("lora_B" in name and not parameter.grad.any())
        ]
        if without:
            raise ValueError(
                f"{len(without)} adapter tensors got no gradient in the first step, for example {without[0]}; they "
                "would stay untrained"
            )

    def _adapter_parameters(self) -> dict[str, nn.Parameter]:
        return {name: parameter for name, parameter in self.model.named_parameters() if "lora_" in name}


def _example_lengths(segments: Tensor) -> list[int]:
    """Lengths of all examples of segments (B, L), row after row."""
    rows = torch.arange(len(segments), device=segments.device)[:, None] * (segments.shape[1] + 1)
    keys = (rows + segments)[segments != 0]
    return torch.unique_consecutive(keys, return_counts=True)[1].tolist()
