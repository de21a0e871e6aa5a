"""Part 1, captions: attention of packed examples, the loss, adapters over quantised weights, decoding, optimizers."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.contracts.news import FusionExample
from diptych.losses.causal_lm import ChunkedCausalLMLoss
from diptych.systems.decoding import Decoder, new_decoded
from gpu_parts.bench import Report, Setting, relative_error, worst_error
from gpu_parts.models import qwen
from gpu_parts.variants import Attend, attend_in_a_loop, attend_in_one_kernel

LENGTHS = (1, 7, 128, 129, 500)
HEADS, KEY_HEADS, WIDTH = 8, 2, 64


def run(setting: Setting, report: Report) -> None:
    """Every line that must hold."""
    expected = cache(partial(_plain_attention, setting))
    for name, attend in (("in a loop", attend_in_a_loop), ("in one kernel", attend_in_one_kernel)):
        found = cache(partial(_attention, setting, attend))
        for place, what in enumerate(("output", "gradients")):
            report.must(
                f"attention of packed examples {name}: {what}",
                lambda p=place, f=found: relative_error(f()[p], expected()[p]),
                1e-2,
            )
        report.must_be(f"attention {name} sees no other example", lambda a=attend: _is_apart(setting, a))
    report.must("loss in chunks and its gradient, bf16", lambda: _chunked_loss(setting), 1e-2)
    report.must("adapter over int8", lambda: _over_quantised(setting, "int8"), 3e-2)
    report.must("adapter over nf4, of its own dequantised weight", lambda: _over_quantised(setting, "nf4"), 1e-2)
    report.must_be("greedy decoding of 8 = each alone", lambda: _decodes_alone(setting))
    report.must("fused AdamW", lambda: _optimizer(setting, partial(torch.optim.AdamW, fused=True)), 1e-6)
    report.must("8-bit AdamW", lambda: _optimizer(setting, _adamw_8bit(setting)), 3e-2)


# ------------------------------------------------------------------------------------------------ attention


def _drawn() -> list[Tensor]:
    """Queries, keys, values and the gradient of the output, bfloat16."""
    torch.manual_seed(0)
    total = sum(LENGTHS)
    shapes = [(1, HEADS, total, WIDTH), (1, KEY_HEADS, total, WIDTH), (1, KEY_HEADS, total, WIDTH)]
    return [torch.randn(shape).bfloat16() for shape in (*shapes, (1, total, HEADS, WIDTH))]


def _attention(setting: Setting, attend: Attend) -> tuple[list[Tensor], list[Tensor]]:
    query, key, value, gradient = (part.to(setting.device) for part in _drawn())
    inputs = [part.requires_grad_() for part in (query, key, value)]
    output = attend(setting, *inputs, LENGTHS)
    return [output], list(torch.autograd.grad(output, inputs, gradient))


def _plain_attention(setting: Setting) -> tuple[list[Tensor], list[Tensor]]:
    """As the definition has it, in float64 on the CPU."""
    query, key, value, gradient = (part.double() for part in _drawn())
    inputs = [part.requires_grad_() for part in (query, key, value)]
    outputs = []
    for q, k, v in zip(*(part.split(LENGTHS, dim=2) for part in inputs), strict=True):
        k, v = (part.repeat_interleave(HEADS // KEY_HEADS, dim=1) for part in (k, v))
        unseen = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).triu(1)
        scores = (q @ k.mT * WIDTH**-0.5).masked_fill(unseen, -torch.inf)
        outputs.append(scores.softmax(-1) @ v)
    output = torch.cat(outputs, dim=2).transpose(1, 2)
    return [output], list(torch.autograd.grad(output, inputs, gradient))


def _is_apart(setting: Setting, attend: Attend) -> bool:
    """Whether the other examples' outputs have the same bits when the first long one is another."""
    start, stop = sum(LENGTHS[:2]), sum(LENGTHS[:3])
    outputs = []
    for scale in (1.0, -2.0):
        query, key, value, _ = (part.to(setting.device) for part in _drawn())
        for part in (query, key, value):
            part[:, :, start:stop] *= scale
        outputs.append(attend(setting, query, key, value, LENGTHS))
    return all(torch.equal(*(output[:, rows] for output in outputs)) for rows in (slice(0, start), slice(stop, None)))


def _chunked_loss(setting: Setting) -> Tensor:
    """With the head's weights and the hidden states in bfloat16, two chunks."""
    vocabulary, width, tokens = setting.of(32_000, 500), setting.of(1024, 64), 400
    torch.manual_seed(0)
    hidden, weight = torch.randn(1, tokens, width).bfloat16(), (torch.randn(vocabulary, width) * 0.05).bfloat16()
    with setting.host():
        labels = torch.randint(vocabulary, (1, tokens))
    found = []
    for device, dtype in ((setting.device, torch.bfloat16), (torch.device("cpu"), torch.float64)):
        head = nn.Linear(width, vocabulary, bias=False, device=device, dtype=dtype).requires_grad_(False)
        head.weight.copy_(weight)
        states = hidden.detach().to(device, dtype).requires_grad_()
        if dtype == torch.float64:
            value = F.cross_entropy(head(states)[0, :-1], labels[0, 1:])
        else:
            value = ChunkedCausalLMLoss()(states, head, labels)["loss"]
        found.append([value, *torch.autograd.grad(value, states)])
    return worst_error(*found)


# ------------------------------------------------------------------------------------------------ quantised layers


class _Alone(nn.Module):
    """One layer, for PEFT to find."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden: Tensor) -> Tensor:
        return self.layer(hidden)


def _over_quantised(setting: Setting, kind: str) -> Tensor:
    """Output, gradient of the input and gradients of the adapter of one adapted layer, with training's autocast."""
    setting.needs_values("bitsandbytes' kernels")
    from gpu_parts.variants import adapted, dequantised, quantised_linear

    rows, width, out = 64, setting.of(2048, 128), setting.of(3072, 192)
    torch.manual_seed(0)
    plain = nn.Linear(width, out, bias=False).bfloat16()
    hidden, gradient = torch.randn(rows, width), torch.randn(rows, out)
    layer = quantised_linear(plain, kind, setting.device)
    weight = plain.weight.double() if kind == "int8" else dequantised(layer).cpu().double()
    a, b = torch.randn(16, width) * width**-0.5, torch.randn(out, 16) * 0.05
    model = adapted(_Alone(layer), ["layer"], rank=16, quantization=kind)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = (a if "lora_A" in name else b).to(parameter.device)
    states = hidden.clone().to(setting.device).requires_grad_()
    with setting.autocast():
        output = model(states)
    output.float().backward(gradient.to(setting.device))
    trained = [parameter.grad for name, parameter in model.named_parameters() if "lora_" in name]
    found = [output, states.grad, *trained]
    inputs = [part.detach().double().requires_grad_() for part in (hidden, a, b)]
    expected = inputs[0] @ weight.T + inputs[0] @ inputs[1].T @ inputs[2].T
    expected.backward(gradient.double())
    theirs = [expected, *(part.grad for part in inputs)]
    return worst_error(found, theirs)


# ------------------------------------------------------------------------------------------------ decoding


def _decodes_alone(setting: Setting) -> bool:
    """Whether each of 8 prompts of many lengths gets the same tokens in the batch as by itself, in float32."""
    setting.needs_values("decoding decides by values")
    model = qwen(setting, 2, torch.float32, 512, tiny=True).eval()
    draws = random.Random(0)
    lengths = (1, 3, 9, 17, 30, 31, 64, 100)
    prompts = [FusionExample(str(n), tuple(draws.choices(range(1, 512), k=length))) for n, length in enumerate(lengths)]
    decoder = Decoder((0,), 0, setting.of(32, 8), None, 0.0, lambda answer: False)
    together = [new_decoded(prompt, 0, 0) for prompt in prompts]
    alone = [new_decoded(prompt, 0, 0) for prompt in prompts]
    decoder.complete(model, together)
    for answer in alone:
        decoder.complete(model, [answer])
    return [answer.token_ids for answer in together] == [answer.token_ids for answer in alone]


# ------------------------------------------------------------------------------------------------ optimizers


def _adamw_8bit(setting: Setting) -> Callable[..., Any]:
    def make(parameters: list[Tensor], **settings: Any) -> Any:
        setting.needs_values("bitsandbytes' optimizers")
        import bitsandbytes

        return bitsandbytes.optim.AdamW8bit(parameters, **settings)

    return make


def _optimizer(setting: Setting, make: Callable[..., Any]) -> Tensor:
    """Weights after ten steps, against plain AdamW in float64; the steps move them by as much as they are."""
    torch.manual_seed(0)
    start = torch.randn(setting.of(1000, 64), 256) * 0.1
    gradients = [torch.randn_like(start) for _ in range(10)]
    ends = []
    for optimizer_of, device, dtype in (
        (make, setting.device, torch.float32),
        (torch.optim.AdamW, torch.device("cpu"), torch.float64),
    ):
        weight = nn.Parameter(start.clone().to(device, dtype))
        optimizer = optimizer_of([weight], lr=0.02, weight_decay=0.01)
        for gradient in gradients:
            weight.grad = gradient.to(device, dtype)
            optimizer.step()
        ends.append([weight])
    return relative_error(*ends)
