"""A vision-language model that embeds: Qwen2-VL, Qwen2.5-VL and Qwen3-VL, frozen, with a trained LoRA adapter.

The embedding is the hidden state of the prompt's last token, as in GME (Zhang et al. 2024, arXiv 2412.16855,
https://huggingface.co/Alibaba-NLP/gme-Qwen2-VL-2B-Instruct), VLM2Vec (Jiang et al. 2024, arXiv 2410.05160,
https://github.com/TIGER-AI-Lab/VLM2Vec) and Qwen3-VL-Embedding (https://github.com/QwenLM/Qwen3-VL-Embedding).

Shape letters: B batch, S pixels a side, P tokens of a picture, L tokens of a prompt, D width, K layers that look again.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import torch
import transformers
from torch import Tensor, nn

from diptych.contracts.models import ImageFeatures, Preprocessing, TextFeatures, TextTokens
from diptych.models.backbones.vlm_adapter import Adapter, add_adapter, keep_adapter_alone
from diptych.models.backbones.vlm_facts import facts_of
from diptych.models.backbones.vlm_inputs import grids, last_tokens, patches, token_positions, without_pictures
from diptych.models.backbones.vlm_preprocessing import VLMPreprocessing
from diptych.models.fuser.base_model import BaseModel, keep_unpacked, quantization_config
from diptych.models.fuser.generation import DTYPES
from diptych.storage.model_files import load_model

POSITIONS = ("spatial", "sequential")
NOT_READ = -1  # a width, before the weights are there


class VLMBackbone(nn.Module):
    """A Backbone whose two towers are one network, for `VLMComposer` and the baselines; construction reads nothing.

    `name` is a model of the hub, a folder, or `package:NAME/PATH`, of the family that `preprocessing` names.
    `quantization` (`int8`, `nf4`, `none`), `dtype` and `attention` are as in `QLoRAFuser`; the vision tower is
    quantised too. `adapter` says what is trained; None: nothing. `positions` of a picture's tokens are `spatial`, as in
    the models themselves, or `sequential`: GME and VLM2Vec were trained so.

    Widths are -1 until the weights are read. What it saves, and reads from checkpoints, is the adapter alone.

    Raises:
        ValueError: a setting is unknown, or two cannot work together.
    """

    model_names: ClassVar[Mapping[str, str]] = {"name": "hub"}  # see config/model_names.py
    image_tokens = "patches"
    text_frozen = False

    def __init__(
        self,
        name: str,
        preprocessing: VLMPreprocessing,
        adapter: Adapter | None = None,
        quantization: str = "none",
        dtype: str = "bfloat16",
        attention: str = "sdpa",
        positions: str = "spatial",
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if positions not in POSITIONS:
            raise ValueError(f"positions={positions!r} is not one of {', '.join(POSITIONS)}")
        self._on_disk = BaseModel(name, quantization, attention, dtype)
        self.name, self.prompts, self.adapter = name, preprocessing, adapter
        self.preprocessing: Preprocessing = preprocessing
        self.facts, self.positions = facts_of(preprocessing.family), positions
        self.quantization, self.activation_checkpointing = quantization, activation_checkpointing
        self.vision_frozen = adapter is None or not adapter.vision
        self.vision_dim = self.text_dim = self.embedding_dim = NOT_READ
        self.vlm: Any = None
        keep_adapter_alone(self)

    # ------------------------------------------------------------------------------------------------ loading

    def load_pretrained(self) -> None:
        """Reads the weights onto the current GPU, or the CPU: see `load`."""
        on_gpu = torch.cuda.is_available()
        self.load(torch.device(f"cuda:{torch.cuda.current_device()}" if on_gpu else "cpu"))

    def load(self, device: torch.device) -> None:
        """Reads the model's weights onto `device`, freezes them, and adds a fresh adapter, which is drawn from torch's
        global generator and changes nothing before it is trained. Does nothing when that is done already.

        Raises:
            ValueError: the settings cannot work there, or the model cannot be read, is of another family, or lacks
                weights.
        """
        if self.vlm is not None:
            return
        self._on_disk.check_device(device)
        model = self._read(device)
        model.requires_grad_(False)
        if self.adapter is not None:
            add_adapter(model, self.adapter)
        if self.activation_checkpointing:
            enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
            enable({"use_reentrant": False})
        self.vlm = model.train(self.training)
        width = int(model.config.get_text_config().hidden_size)
        self.text_dim = self.embedding_dim = width
        self.vision_dim = width * (1 + len(getattr(model.config.vision_config, "deepstack_visual_indexes", ())))

    def _read(self, device: torch.device) -> Any:
        load = getattr(transformers, self.facts.model_class).from_pretrained
        whole, report = load_model(
            load,
            self.name,
            "vision-language model",
            "name a folder with the model's files, or download it once where there is a network",
            quantization_config=quantization_config(self.quantization),
            dtype=DTYPES[self._on_disk.dtype],
            attn_implementation=self._on_disk.attention,
            device_map={"": str(device)},
            output_loading_info=True,
        )
        missing = sorted(name for name in report["missing_keys"] if not name.startswith("lm_head"))
        if missing or report["mismatched_keys"]:
            raise ValueError(
                f"{self.name}: no {self.prompts.family} model; {len(missing)} of its weights are missing"
                f" ({', '.join(missing[:2])}), {len(report['mismatched_keys'])} of another shape"
            )
        vision = whole.config.vision_config
        if (vision.patch_size, vision.spatial_merge_size) != (self.facts.patch, self.facts.merge):
            raise ValueError(
                f"{self.name}: its patches are of {vision.patch_size} pixels, {vision.spatial_merge_size} a side to a"
                f" token; those of {self.prompts.family} are {self.facts.patch} and {self.facts.merge}"
            )
        keep_unpacked(whole)
        return whole.model  # nothing is written: the output layer goes

    @property
    def device(self) -> torch.device:
        """Where the weights are; the CPU before they are read."""
        return torch.device("cpu") if self.vlm is None else next(self.vlm.parameters()).device

    # ------------------------------------------------------------------------------------------------ running

    def look(self, pixels: Tensor) -> Tensor:
        """A picture's tokens as the language model reads them, of uint8 pixels (B, 3, S, S): (B, P, D), or (B, P, (1 +
        K) D) of a model whose first K layers each read features of their own ("deepstack").

        Raises:
            ValueError: the pictures are of another size than the preprocessing's, or the weights are not read.
        """
        size = self.prompts.image.size
        if pixels.shape[-2:] != (size, size):
            raise ValueError(f"pictures of {tuple(pixels.shape[-2:])} pixels, where {size} a side were expected")
        model, side = self._loaded(), self.prompts.grid
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.vision_frozen):
            rows = patches(pixels, self.prompts.image, self.facts).to(model.visual.dtype)
            found = model.visual(rows, grid_thw=grids(len(pixels), side, self.facts, pixels.device))
            parts = [found.pooler_output, *(getattr(found, "deepstack_features", None) or ())]
            return torch.cat(parts, dim=-1).unflatten(0, (len(pixels), -1))

    def embed(self, tokens: TextTokens, seen: Tensor | None) -> Tensor:
        """Hidden states of the last tokens (B, D) of prompts (B, L), not normalised. `seen` are the tokens of their
        pictures, as `look` gives them; None leaves the pictures out of the prompts.
        """
        hidden, mask = self._read_prompts(tokens, seen)
        return last_tokens(hidden, mask)

    def embed_pictures(self, seen: Tensor) -> Tensor:
        """Embeddings (B, D), not normalised, of the gallery's prompt around pictures, as `look` gives them."""
        prompt = self._target_prompt.to(seen.device)
        size = (len(seen), prompt.input_ids.shape[1])
        return self.embed(TextTokens(prompt.input_ids.expand(size), prompt.mask.expand(size)), seen)

    def encode_image(self, pixels: Tensor) -> ImageFeatures:
        """Tokens of uint8 pixels (B, 3, S, S) as `look` gives them, and their embedding, which is `pooled` as well."""
        seen = self.look(pixels)
        embedding = self.embed_pictures(seen)
        return ImageFeatures(seen, embedding, embedding)

    def encode_text(self, tokens: TextTokens) -> TextFeatures:
        """Features of texts alone, of prompts as `preprocessing.tokenize` makes them: without their pictures."""
        hidden, mask = self._read_prompts(tokens, None)
        return TextFeatures(hidden, mask, last_tokens(hidden, mask))

    def _read_prompts(self, tokens: TextTokens, seen: Tensor | None) -> tuple[Tensor, Tensor]:
        """Hidden states (B, L, D) and the mask of real tokens."""
        model, ids, mask = self._loaded(), tokens.input_ids, tokens.mask
        image_token = self.prompts.image_token
        if seen is None:
            left_out = torch.isin(ids, ids.new_tensor([image_token, *self.prompts.frame_tokens])) & mask
            ids, mask = without_pictures(ids, mask, left_out)
        is_picture = (ids == image_token) & mask
        embedded = model.language_model.embed_tokens(ids)
        deepstack: dict[str, Any] = {}
        if seen is not None:
            first, *others = seen.split(embedded.shape[-1], dim=-1)
            embedded = embedded.masked_scatter(is_picture[..., None], first.to(embedded.dtype))
            if others:
                deepstack = {
                    "visual_pos_masks": is_picture,
                    "deepstack_visual_embeds": [part.flatten(0, 1) for part in others],
                }
        read = model.language_model(
            inputs_embeds=embedded,
            attention_mask=mask.long(),
            position_ids=token_positions(mask, is_picture, self.prompts.grid, self.positions == "spatial"),
            use_cache=False,
            **deepstack,
        )
        return read.last_hidden_state, mask

    def _loaded(self) -> Any:
        if self.vlm is None:
            raise ValueError(f"the weights of {self.name} are not read yet: call load_pretrained() first")
        return self.vlm

    @cached_property
    def _target_prompt(self) -> TextTokens:
        return self.prompts.tokenize_target()

    def freeze_image_projection(self) -> None:
        """Nothing: there is no projection."""

    def freeze_text_projection(self) -> None:
        """Nothing: there is no projection."""

    def freeze_text_tower(self) -> None:
        """Nothing: pictures go through the same layers."""
