"""The captioning system on a tiny language model: what it trains, keeps and writes."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from diptych.contracts.news import FusionExample
from diptych.data.news.packing import PackedCollator
from diptych.losses.causal_lm import ChunkedCausalLMLoss
from diptych.models.fuser.chat_tokenizer import ChatTokenizer
from diptych.models.fuser.qlora_fuser import QLoRAFuser
from diptych.systems.caption_fuser import CaptionFuserSystem, CaptionJob, job_loader
from diptych.systems.caption_generation import CaptionGenerator, GenerationSettings


@pytest.fixture
def system(tiny_chat_model):
    def build(on="completion", **settings):
        arguments = {"quantization": "none", "rank": 4, "alpha": 8, "recompute": 0, "dtype": "float32"}
        model = QLoRAFuser(str(tiny_chat_model), **{**arguments, **settings})
        generator = CaptionGenerator(GenerationSettings(max_new_tokens=5, do_sample=False, batch_size=2))
        system = CaptionFuserSystem(
            model, ChunkedCausalLMLoss(16, on), generator, {}, lambda p: torch.optim.SGD(p, lr=0.1), seed=1
        )
        torch.manual_seed(0)
        system.load_pretrained(torch.device("cpu"))
        return system

    return build


@pytest.fixture
def examples(tiny_chat_model):
    tokenizer = ChatTokenizer(str(tiny_chat_model))
    prompts = tokenizer.encode_prompts(["Who?", "A longer question, about what?", "Where?"])
    completions = tokenizer.encode_completions(["Ada.", "The bridge in Nesnes.", "There, by the river."])
    return [
        FusionExample(f"q{n}", tuple(p), tuple(c)) for n, (p, c) in enumerate(zip(prompts, completions, strict=True))
    ]


class Trainer(SimpleNamespace):
    """What a system asks of the trainer in one step."""


def attach(system, divisor):
    system.log = system.log_dict = lambda *args, **kwargs: None
    datamodule = SimpleNamespace(labelled_tokens_per_batch=lambda index: divisor)
    type(system).trainer = property(lambda self: Trainer(datamodule=datamodule, sanity_checking=False))
    return system


@pytest.fixture(autouse=True)
def trainer_property():
    original = CaptionFuserSystem.trainer
    yield
    CaptionFuserSystem.trainer = original


def gradients(system):
    return {name: p.grad.clone() for name, p in system.named_parameters() if p.requires_grad and p.grad is not None}


def test_only_the_adapter_is_trained_and_kept(system, examples):
    built = system()
    (group,) = built.configure_optimizers()["optimizer"].param_groups
    assert sum(p.numel() for p in group["params"]) == sum(v.numel() for v in built.state_dict().values())
    assert all("lora_" in name for name in built.state_dict())
    assert not any("lora_" not in name for name, p in built.named_parameters() if p.requires_grad)


def test_an_adapter_goes_into_another_system_and_a_foreign_one_does_not(system):
    first, second = system(), system()
    with torch.no_grad():
        for name, parameter in first.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    second.load_state_dict(first.state_dict())
    assert all(torch.equal(first.state_dict()[name], value) for name, value in second.state_dict().items())
    with pytest.raises(ValueError, match="does not fit"):
        system(rank=2).load_state_dict(first.state_dict())


def num_labelled(examples, on):
    return sum(len(e.completion_ids) + (len(e.prompt_ids) - 1 if on == "all" else 0) for e in examples)


@pytest.mark.parametrize("on", ["completion", "all"])
def test_a_step_in_pieces_has_the_gradient_of_the_step_as_a_whole(system, examples, on):
    collate = PackedCollator(500, pad_token_id=0, prompt_labels=on == "all")
    whole = attach(system(on), divisor=num_labelled(examples, on))
    loss = whole.training_step(collate([examples]), 0)  # packed into one row
    loss.backward()
    padded = whole.training_step(collate([[example] for example in examples]), 0)
    torch.testing.assert_close(padded, loss, rtol=1e-5, atol=1e-6)
    # Three micro-batches: Lightning divides each loss by their number, the divisor is the mean of their labels.
    pieces = attach(system(on), divisor=num_labelled(examples, on) / 3)
    for index, example in enumerate(examples):
        (pieces.training_step(collate([[example]]), index) / 3).backward()
    expected = gradients(whole)
    assert expected.keys() == gradients(pieces).keys()
    for name, gradient in gradients(pieces).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6)


def test_on_all_tokens_the_loss_is_the_language_models_own(system, examples):
    built = attach(system("all"), divisor=num_labelled(examples, "all"))
    assert built.wants == {"prompt_labels"} and system().wants == frozenset()
    ours = built.training_step(PackedCollator(500, 0, prompt_labels=True)([examples]), 0)
    total = 0.0
    for example in examples:
        ids = torch.tensor([example.prompt_ids + example.completion_ids])
        total += float(built.model.model(input_ids=ids, labels=ids).loss.detach()) * (ids.shape[1] - 1)
    assert float(ours.detach()) == pytest.approx(total / num_labelled(examples, "all"), rel=1e-5)


def test_the_first_step_sees_that_gradients_flow(system, examples):
    built = attach(system(), divisor=10)
    with pytest.raises(ValueError, match="adapter tensors got no gradient in the first step"):
        built.on_after_backward()
    built.training_step(PackedCollator(500, 0)([examples]), 0).backward()
    built.on_after_backward()


def test_a_loss_that_is_not_finite_names_the_photos(system, examples):
    built = attach(system(), divisor=0.0)
    with pytest.raises(ValueError, match=r"the loss is .* photos of the batch: q0, q1, q2"):
        built.training_step(PackedCollator(500, 0)([examples]), 0)


def test_jobs_are_written_with_and_without_the_adapter(system, examples, tmp_path, tiny_chat_model):
    built = system()
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    tokenizer = ChatTokenizer(str(tiny_chat_model)).hf
    jobs = [
        CaptionJob("tuned", examples, tokenizer, tmp_path / "a.jsonl", lambda query_id: {"about": query_id}),
        CaptionJob("base", examples, tokenizer, tmp_path / "b.jsonl", lambda query_id: {}, tuned=False),
    ]
    in_order = list(job_loader(jobs))
    assert [job.model for job in in_order] == ["base", "tuned"]
    for index, job in enumerate(in_order):
        built.test_step(job.to("cpu"), index)
    tuned, base = ([json.loads(line) for line in (tmp_path / f"{n}.jsonl").read_text().splitlines()] for n in "ab")
    assert [record["query_id"] for record in tuned] == ["q0", "q1", "q2"] == [record["about"] for record in tuned]
    assert [record["caption"] for record in tuned] != [record["caption"] for record in base]
    untouched = system()
    job = CaptionJob("base", examples, tokenizer, tmp_path / "c.jsonl", lambda query_id: {})
    untouched.test_step(job, 0)  # a new adapter adds nothing
    assert (tmp_path / "c.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
