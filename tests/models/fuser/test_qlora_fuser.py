from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from diptych.contracts.news import FusionBatch
from diptych.models.fuser.base_model import BaseModel
from diptych.models.fuser.qlora_fuser import QLoRAFuser

pytestmark = pytest.mark.models

VOCABULARY = 96
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    "eos_token_id": 0,
    "bos_token_id": 1,
}
FAMILIES = {
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=5)),
}
PLAIN = {"quantization": "none", "dtype": "float32", "rank": 4, "alpha": 8, "recompute": 0}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """A tiny model of each family, saved."""
    root = tmp_path_factory.mktemp("models")
    for name, build in FAMILIES.items():
        torch.manual_seed(0)
        build().save_pretrained(root / name)
    return {name: root / name for name in FAMILIES}


@pytest.fixture
def load(folders):
    """`load("qwen3", quantization="nf4")`: a loaded fuser whose adapter already does something."""

    def build(family: str, **settings: Any) -> QLoRAFuser:
        fuser = QLoRAFuser(str(folders[family]), **(PLAIN | settings))
        torch.manual_seed(1)
        fuser.load("cpu")
        with torch.no_grad():
            for name, parameter in fuser.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.1)
        return fuser

    return build


def examples(seed: int = 0) -> list[tuple[list[int], list[int]]]:
    generator = torch.Generator().manual_seed(seed)
    lengths = [(9, 6), (3, 2), (14, 5), (1, 8), (6, 1)]
    return [tuple(torch.randint(2, VOCABULARY, (n,), generator=generator).tolist() for n in pair) for pair in lengths]


def batch_of(rows: list[list[tuple[list[int], list[int]]]]) -> FusionBatch:
    length = max(sum(len(p) + len(c) for p, c in row) for row in rows)
    fields = {"input_ids": 0, "position_ids": 0, "labels": -100, "segments": 0}
    tensors = {name: torch.full((len(rows), length), fill) for name, fill in fields.items()}
    for number, row in enumerate(rows):
        start = 0
        for segment, (prompt, completion) in enumerate(row, start=1):
            span = (number, slice(start, start + len(prompt) + len(completion)))
            tensors["input_ids"][span] = torch.tensor(prompt + completion)
            tensors["position_ids"][span] = torch.arange(len(prompt) + len(completion))
            tensors["labels"][span] = torch.tensor([-100] * len(prompt) + completion)
            tensors["segments"][span] = segment
            start += len(prompt) + len(completion)
    return FusionBatch(("q",), **tensors)


PACKED = batch_of([examples()[:3], examples()[3:]])
PADDED = batch_of([[example] for example in examples()])


def summed_loss(fuser: QLoRAFuser, batch: FusionBatch) -> Tensor:
    logits = fuser.head()(fuser(batch))[:, :-1].float()
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch.labels[:, 1:].flatten(), ignore_index=-100, reduction="sum"
    )


def train_step(fuser: QLoRAFuser, batch: FusionBatch) -> tuple[Tensor, dict[str, Tensor]]:
    fuser.train().zero_grad()
    loss = summed_loss(fuser, batch)
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in fuser.named_parameters() if p.requires_grad}


# ------------------------------------------------------------------------------------------- rows and examples


@pytest.mark.parametrize("family", FAMILIES)
def test_it_computes_what_transformers_computes_of_each_example_alone(load, family):
    fuser = load(family).eval()
    hidden = fuser(PADDED)
    for row, (prompt, completion) in enumerate(examples()):
        alone = fuser.model(input_ids=torch.tensor([prompt + completion])).logits
        ours = fuser.head()(hidden[row, : len(prompt) + len(completion)])
        torch.testing.assert_close(ours, alone[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_loss_and_gradients_are_the_padded_ones(load, family):
    fuser = load(family)
    packed_loss, packed = train_step(fuser, PACKED)
    padded_loss, padded = train_step(fuser, PADDED)
    torch.testing.assert_close(packed_loss, padded_loss, rtol=1e-5, atol=0)
    for name, gradient in padded.items():
        assert (packed[name] - gradient).norm() <= 1e-5 * gradient.norm(), name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("recompute", [0, 1, "auto"])
def test_gradients_are_those_of_transformers_own_attention(load, family, recompute):
    fuser = load(family, recompute=recompute)
    _, ours = train_step(fuser, PACKED)
    fuser.model.zero_grad()
    for prompt, completion in examples():
        ids = torch.tensor([prompt + completion])
        labels = torch.tensor([[-100] * len(prompt) + completion])
        (fuser.model(input_ids=ids, labels=labels).loss * len(completion)).backward()
    for name, parameter in fuser.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_under_autocast_gradients_are_nearly_those_of_float32(load, dtype):
    _, precise = train_step(load("qwen3"), PACKED)
    with torch.autocast("cpu", torch.bfloat16):
        _, rounded = train_step(load("qwen3", dtype=dtype), PACKED)
    for name, gradient in precise.items():
        assert (rounded[name] - gradient).norm() < 0.1 * gradient.norm(), name


@pytest.mark.parametrize("quantization", ["none", "int8", "nf4"])
def test_gradients_are_those_of_peft_s_own_layers(load, quantization):
    fuser = load("qwen3", quantization=quantization, recompute="auto")
    layers = [module for module in fuser.modules() if isinstance(module, LoraLayer)]
    loss, gradients = train_step(fuser, PACKED)
    for layer in layers:
        del layer.forward
    peft_loss, peft_gradients = train_step(fuser, PACKED)
    torch.testing.assert_close(loss, peft_loss, rtol=1e-6, atol=0)
    for name, gradient in peft_gradients.items():
        assert (gradients[name] - gradient).norm() <= 1e-5 * gradient.norm(), name


def test_without_autocast_adapters_of_a_model_in_half_precision_work(load):
    fuser = load("qwen3", dtype="bfloat16")
    with torch.autocast("cpu", torch.bfloat16):
        fuser(PACKED)
    train_step(fuser, PACKED)
    assert all(module.cast_input_dtype_enabled for module in fuser.modules() if isinstance(module, LoraLayer))


@pytest.mark.parametrize("block", [1, 4, 5])
def test_attention_in_blocks_is_attention_at_once(load, monkeypatch, block):
    fuser = load("qwen3")
    _, at_once = train_step(fuser, PACKED)
    monkeypatch.setattr("diptych.models.fuser.example_attention._BLOCK", block)
    _, in_blocks = train_step(fuser, PACKED)
    for name, gradient in at_once.items():
        assert (in_blocks[name] - gradient).norm() <= 1e-5 * gradient.norm(), name


@pytest.mark.parametrize("family", FAMILIES)
def test_no_example_sees_another(load, family):
    fuser = load(family).eval()
    first, *others = examples()[:3]
    changed = ([(token + 1) % VOCABULARY for token in first[0]], first[1])
    before, after = (fuser(batch_of([[one, *others]])) for one in (first, changed))
    end = len(first[0]) + len(first[1])
    assert torch.equal(before[:, end:], after[:, end:])
    assert not torch.allclose(before[:, :end], after[:, :end])


def test_no_token_sees_a_later_one(load):
    fuser = load("qwen3").eval()
    prompt, completion = examples()[0]
    before, after = (fuser(batch_of([[(prompt, [*completion[:-1], last])]])) for last in (5, 6))
    assert torch.equal(before[:, :-1], after[:, :-1])


def test_pads_are_zero_and_change_nothing(load):
    fuser = load("qwen3").eval()
    hidden = fuser(PADDED)
    assert not hidden[PADDED.segments == 0].any()
    other_pads = FusionBatch(
        ("q",),
        PADDED.input_ids.masked_fill(PADDED.segments == 0, 7),
        PADDED.position_ids,
        PADDED.labels,
        PADDED.segments,
    )
    assert torch.equal(fuser(other_pads), hidden)


# ------------------------------------------------------------------------------------------- training and saving


@pytest.mark.parametrize("quantization", ["int8", "nf4", "none"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_quantisation_trains_and_saves_its_adapter(load, quantization, dtype):
    settings = {"quantization": quantization, "dtype": dtype, "recompute": "auto", "rank": 8}
    fuser = load("qwen3", **settings)
    trained = {name for name, p in fuser.named_parameters() if p.requires_grad}
    assert len(trained) == 2 * 7 * 2 and all("lora_" in name for name in trained)
    assert {p.dtype for p in fuser.parameters() if p.requires_grad} == {torch.float32}
    kinds = {type(module).__name__ for name, module in fuser.named_modules() if name.endswith("q_proj.base_layer")}
    assert kinds == {{"int8": "Linear8bitLt", "nf4": "Linear4bit", "none": "Linear"}[quantization]}
    assert type(fuser.head()) is torch.nn.Linear

    optimizer = torch.optim.AdamW([p for p in fuser.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(8):
        losses.append(float(train_step(fuser, PACKED)[0]))
        fuser.check_gradients()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]

    state = {name: tensor.clone() for name, tensor in fuser.adapter_state_dict().items()}
    assert len(state) == len(trained)
    other = load("qwen3", **settings)
    assert not torch.equal(other.eval()(PACKED), fuser.eval()(PACKED))
    other.load_adapter_state_dict(state)
    assert torch.equal(other(PACKED), fuser(PACKED))


def test_the_step_is_the_same_however_many_layers_are_computed_again(load):
    none, *others = [train_step(load("qwen3", recompute=number), PACKED)[1] for number in (0, 1, 2, "auto")]
    for gradients in others:
        assert all(map(torch.equal, gradients.values(), none.values()))


def test_the_first_layers_are_computed_again_and_no_more(load):
    for number, expected in ((0, [1, 1]), (1, [2, 1]), (2, [2, 2]), ("auto", [2, 2])):
        fuser, passes = load("qwen3", recompute=number), Counter()
        for layer in fuser._layers:
            layer.input_layernorm.register_forward_hook(lambda norm, *_, passes=passes: passes.update([norm]))
        train_step(fuser, PACKED)
        assert [passes[layer.input_layernorm] for layer in fuser._layers] == expected


def test_more_layers_than_there_are_cannot_be_computed_again(load):
    with pytest.raises(ValueError, match=r"recompute=3: .* has 2 layers; want 0 to 2, or auto"):
        load("qwen3", recompute=3)


def test_a_fresh_adapter_changes_nothing_and_can_be_switched_off(load, folders):
    fuser = QLoRAFuser(str(folders["llama"]), **PLAIN)
    fuser.load("cpu")
    fresh = fuser.eval()(PACKED)
    with fuser.disable_adapter():
        assert torch.equal(fuser(PACKED), fresh)
    tuned = load("llama").eval()
    assert not torch.allclose(tuned(PACKED), fresh)
    with tuned.disable_adapter():
        assert torch.equal(tuned(PACKED), fresh)


def test_loading_twice_keeps_the_adapter(load):
    fuser = load("qwen3").eval()
    before = fuser(PACKED)
    fuser.load("cpu")
    assert torch.equal(fuser(PACKED), before)


def test_an_adapter_that_does_not_fit_is_refused_by_name(load):
    fuser = load("qwen3")
    state = fuser.adapter_state_dict()
    name = next(iter(state))
    with pytest.raises(ValueError, match=rf"missing \['{name}'\] \(1 in all\), unexpected \['other'\] \(1\)"):
        fuser.load_adapter_state_dict({**{n: t for n, t in state.items() if n != name}, "other": state[name]})
    with pytest.raises(ValueError, match=r"at rank 4: missing \[\] .*of another shape \['base_model.*\(28\)"):
        fuser.load_adapter_state_dict(load("qwen3", rank=2).adapter_state_dict())


def test_adapter_tensors_without_gradient_are_named(load):
    fuser = load("qwen3")
    train_step(fuser, PACKED)
    fuser.check_gradients()
    name, parameter = next((n, p) for n, p in fuser.model.named_parameters() if "lora_A" in n)
    parameter.grad = None
    with pytest.raises(ValueError, match=f"1 adapter tensors got no gradient in the first step, for example {name}"):
        fuser.check_gradients()


@pytest.mark.parametrize("recompute", [0, 1, "auto"])
def test_generation_with_left_padding_and_cache_is_that_of_one_prompt_alone(load, recompute):
    fuser = load("qwen3", recompute=recompute).eval()
    prompts = [prompt for prompt, _ in examples()[:2]]
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    settings = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    together = fuser.model.generate(input_ids=ids, attention_mask=mask, **settings)[:, width:]
    for prompt, answer in zip(prompts, together, strict=True):
        alone = fuser.model.generate(input_ids=torch.tensor([prompt]), use_cache=False, **settings)[0, len(prompt) :]
        assert torch.equal(alone, answer)


# ------------------------------------------------------------------------------------------- refusals


def test_the_scale_follows_the_rank_unless_it_is_given():
    scales = [
        (fuser.alpha, fuser.rank)
        for fuser in (
            QLoRAFuser(rank=8),
            QLoRAFuser(rank=64, alpha_over_rank=2.0),
            QLoRAFuser(rank=64, alpha=16, alpha_over_rank=2.0),
        )
    ]
    assert scales == [(8, 8), (128, 64), (16, 64)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "half"}, r"dtype='half' is not one of"),
        ({"rank": 0}, r"rank=0"),
        ({"alpha": 0}, r"alpha=0"),
        ({"dropout": 1.0}, r"dropout=1\.0"),
        ({"recompute": -1}, r"recompute=-1: want auto, or a number of layers"),
        ({"recompute": True}, r"recompute=True: want auto, or a number of layers"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_construction(settings, message):
    with pytest.raises(ValueError, match=message):
        QLoRAFuser(**settings)


def test_what_the_device_cannot_do_is_refused_before_weights_are_read(monkeypatch):
    monkeypatch.setattr(BaseModel, "read", lambda *_: pytest.fail("weights read"))
    with pytest.raises(ValueError, match=r"dtype=float16 is for GPUs"):
        QLoRAFuser(dtype="float16", quantization="none").load("cpu")


def test_use_before_loading_is_refused():
    with pytest.raises(ValueError, match=r"call load\(\) first"):
        QLoRAFuser().forward(PACKED)


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_an_evaluation_between_steps_leaves_the_gradients_as_they_were(tiny_chat_model, quantization):
    fuser = QLoRAFuser(str(tiny_chat_model), **(PLAIN | {"quantization": quantization, "dtype": "bfloat16"}))
    fuser.load("cpu")
    _, before = train_step(fuser, PACKED)
    with torch.inference_mode():
        fuser.eval()(PACKED)
    _, after = train_step(fuser, PACKED)
    assert all(torch.equal(before[name], after[name]) for name in before)


def logits(fuser: QLoRAFuser) -> torch.Tensor:
    with torch.no_grad():
        return fuser.model(torch.arange(2, 20)[None]).logits.float()


def weights(fuser: QLoRAFuser) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in fuser.model.state_dict().items() if "lora_" not in name}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.02)])
def test_merged_it_says_the_same_and_gives_the_base_model_back(load, dtype, tolerance):
    fuser = load("qwen3", dtype=dtype).eval()
    expected, before, trained = logits(fuser), weights(fuser), fuser(PACKED).detach()
    with fuser.disable_adapter():
        alone = logits(fuser)
    assert (expected - alone).norm() > 0.1 * expected.norm()
    fuser.merge()
    assert all(layer.merged for layer in fuser.model.modules() if isinstance(layer, LoraLayer))
    assert (logits(fuser) - expected).norm() < tolerance * expected.norm()
    assert torch.equal(fuser(PACKED), trained)  # what is trained goes through the weights as they were
    assert all(torch.equal(value, before[name]) for name, value in weights(fuser).items())
    fuser.merge()
    with fuser.disable_adapter():
        assert torch.equal(logits(fuser), alone)
    assert torch.equal(logits(fuser), expected)


def test_an_adapter_goes_in_after_another_was_merged(load):
    fuser = load("qwen3", dtype="float32").eval()
    state = {name: tensor.clone() for name, tensor in fuser.adapter_state_dict().items()}
    expected = logits(fuser)
    fuser.load_adapter_state_dict({name: tensor * 2 for name, tensor in state.items()})
    fuser.merge()
    assert not torch.allclose(logits(fuser), expected)
    fuser.load_adapter_state_dict(state)
    assert torch.equal(logits(fuser), expected)


def test_what_rounding_would_lose_is_not_merged(load):
    """A product of less than half a step of bfloat16 would be rounded away, all of it."""
    fuser = load("qwen3", dtype="bfloat16").eval()
    layers = [module for module in fuser.model.modules() if isinstance(module, LoraLayer)]
    with torch.no_grad():
        layers[0].lora_B["default"].weight.mul_(1e-3)
    before = layers[0].get_base_layer().weight.clone()
    fuser.merge()
    assert [layer.merged for layer in layers] == [False] + [True] * (len(layers) - 1)
    assert torch.equal(layers[0].get_base_layer().weight, before)


def test_quantised_models_are_not_merged(load):
    fuser = load("qwen3", quantization="int8", dtype="bfloat16").eval()
    fuser.merge()
    assert not any(layer.merged for layer in fuser.model.modules() if isinstance(layer, LoraLayer))
