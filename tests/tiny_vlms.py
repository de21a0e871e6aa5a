"""Qwen's vision-language models of two narrow layers with random weights, and a tokenizer of bytes beside them."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers

from diptych.models.backbones.vlm import VLMBackbone
from diptych.models.backbones.vlm_adapter import Adapter
from diptych.models.backbones.vlm_preprocessing import VLMPreprocessing

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
TEMPLATE = (
    "<|im_start|>system\n{instruction}<|im_end|>\n<|im_start|>user\n"
    "<|vision_start|><|image_pad|><|vision_end|>{text}<|im_end|>\n<|im_start|>assistant\n<|endoftext|>"
)
SIZES = {"qwen2_vl": 56, "qwen2_5_vl": 56, "qwen3_vl": 64}  # 2 x 2 tokens
_CLASSES = {"qwen2_vl": "Qwen2VL", "qwen2_5_vl": "Qwen2_5_VL", "qwen3_vl": "Qwen3VL"}
_SIGNS = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]


def save_tiny_vlm(folder: Path, tokenizer_folder: Path, family: str) -> Path:
    """A model of the family in `folder`, with a tokenizer like the one in `tokenizer_folder`."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_folder)
    others = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": [*_SIGNS, *others]})
    tokenizer.save_pretrained(folder)
    start, end, image, video = tokenizer.convert_tokens_to_ids(_SIGNS)
    vision = {"depth": 2, "num_heads": 2}
    if family == "qwen2_vl":
        vision |= {"embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2}
    else:
        vision |= {"hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 64}
    if family == "qwen2_5_vl":
        vision |= {"fullatt_block_indexes": [1], "window_size": 28}
    if family == "qwen3_vl":
        vision |= {"deepstack_visual_indexes": [0], "num_position_embeddings": 64}
    torch.manual_seed(0)
    config = getattr(transformers, f"{_CLASSES[family]}Config")(
        text_config={
            "hidden_size": 64,  # bitsandbytes' 4-bit kernels for the CPU want multiples of 64
            "intermediate_size": 128,
            "vocab_size": len(tokenizer),
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0},
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config=vision,
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    model = getattr(transformers, f"{_CLASSES[family]}ForConditionalGeneration")(config)
    for parameter in model.parameters():  # as initialised, the picture would be lost on the way
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    return folder


def tiny_preprocessing(folder: Path, family: str, **settings: object) -> VLMPreprocessing:
    """Prompts of a model in `folder`."""
    given = {
        "template": TEMPLATE,
        "instruction": "Find it.",
        "target_instruction": "Look.",
        "image_size": SIZES.get(family),
    }
    return VLMPreprocessing(str(folder), family, **{**given, **settings})  # type: ignore[arg-type]


def tiny_vlm(folder: Path, family: str, adapter: Adapter | None = None, **settings: object) -> VLMBackbone:
    """A loaded backbone of a model in `folder`, in float32."""
    given = {"preprocessing": tiny_preprocessing(folder, family), "adapter": adapter, "dtype": "float32"}
    backbone = VLMBackbone(str(folder), **{**given, **settings})  # type: ignore[arg-type]
    torch.manual_seed(1)
    backbone.load(torch.device("cpu"))
    return backbone.eval()


def pictures(number: int, size: int, seed: int = 0) -> torch.Tensor:
    """Random uint8 pixels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (number, 3, size, size), dtype=torch.uint8, generator=generator)
