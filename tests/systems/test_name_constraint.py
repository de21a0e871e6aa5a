"""Captions that may name what their evidence names: whatever a model's logits are, in whatever tokens it writes."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from diptych.contracts.news import FusionExample
from diptych.systems import decoding
from diptych.systems.caption_generation import CaptionGenerator, GenerationSettings
from diptych.systems.name_constraint import NameConstraint
from diptych.text.name_words import AllowedNames, Place
from toy_language_model import Cache, Letters

pytestmark = pytest.mark.models

EVIDENCE = (
    "Anna Brown said 3,000 people fled. On Monday José Muñoz of Harbour Town spoke to Anna Brown’s firefighters.",
    "Rain fell in Riga, the AFP said: 12 people, 3.5 metres.",
)
HOSTILE = (
    "Annabel Brown, Anna Harbour and José Riga of Annapolis said that 12,000 of 35 people fled. London. Annabel. "
    "people water town firefighters the Monday in Monday They Élan ÉLAN “Stuttgart” 3 30 300 spoke people Browning"
)
ENDS = 1
SAMPLED = GenerationSettings(max_new_tokens=40, names="evidence", batch_size=4, min_p=0.0, temperature=2.0)
GREEDY = replace(SAMPLED, do_sample=False)


def trained(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens cut hostile words wherever it helps: byte-level BPE, or one of sentence pieces."""
    special = ["<pad>", "<end>"]
    if kind == "bytes":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=special, initial_alphabet=alphabet)
    else:
        tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<pad>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        byte_level = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        tokenizer.decoder = decoders.Sequence(byte_level)
        special += [f"<0x{byte:02X}>" for byte in range(256)]
        alphabet = sorted(set("▁" + HOSTILE + EVIDENCE[1]) - {" ", "É", "ñ"})
        trainer = trainers.BpeTrainer(vocab_size=520, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator([HOSTILE, *EVIDENCE] * 3, trainer)
    if kind != "bytes":  # only what is asked for so is special to the library
        content = tokenizer.to_str().replace('"special":true', '"special":false')
        tokenizer = Tokenizer.from_str(content)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<pad>")


@pytest.fixture(scope="module", params=["bytes", "pieces", "single bytes"])
def tokenizer(request):
    if request.param == "single bytes":
        return AutoTokenizer.from_pretrained(request.getfixturevalue("tiny_chat_model"))
    return trained(request.param)


class RandomLogits(nn.Module):
    """Logits that depend on all tokens before; what looks like a name is the likeliest."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        super().__init__()
        table = torch.randn(211, len(tokenizer), generator=torch.Generator().manual_seed(seed)) * 3
        named = [
            any(sign.isupper() or sign.isdigit() for sign in tokenizer.decode([token]))
            for token in range(len(tokenizer))
        ]
        self.table = nn.Parameter(table + 4 * torch.tensor(named))

    def forward(self, input_ids, attention_mask, past_key_values, **_) -> SimpleNamespace:
        cache = past_key_values or Cache(torch.zeros(len(input_ids), dtype=torch.long))
        for tokens, real in zip(input_ids.T, attention_mask[:, -input_ids.shape[1] :].T, strict=True):
            cache.state = torch.where(real == 1, (cache.state * 5 + tokens + 1) % 211, cache.state)
        return SimpleNamespace(logits=self.table[cache.state][:, None], past_key_values=cache)


def prompts(number: int = 8) -> list[FusionExample]:
    numbers = random.Random(0)
    return [
        FusionExample(
            f"q{place}",
            tuple(numbers.randrange(200) for _ in range(numbers.randrange(3, 30))),
            evidence=EVIDENCE[place % 2],
            base_caption="A man by the Daugava" if place % 3 == 0 else "",
        )
        for place in range(number)
    ]


def named_words(text: str) -> list[str]:
    """Written plainly: numbers with what joins their digits, and words with a capital letter or a digit."""
    found = re.findall(r"\d+(?:[.,:]\d+)*[^\W_]*|[^\W_]+", text)
    return [word for word in found if re.search(r"\d", word) or word != word.lower()]


def unsupported(caption: str, example: FusionExample, constraint: NameConstraint) -> list[str]:
    """The caption's names that stand nowhere in its texts, but for words that may open a sentence."""
    texts = f"{example.evidence} {example.base_caption}"
    allowed = {*named_words(texts), "3000", "Afp"} | {word.capitalize() for word in re.findall(r"[^\W\d_]+", texts)}
    return [word for word in named_words(caption) if word not in allowed and word.lower() not in constraint.openers]


@pytest.mark.parametrize("settings", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_whatever_the_logits_no_other_name_is_written(tokenizer, settings):
    constraint, named, cut = NameConstraint(tokenizer, [tokenizer.eos_token_id]), [], 0
    for seed in range(3):
        generator, model = CaptionGenerator(replace(settings, seed=seed)), RandomLogits(tokenizer, seed)
        records = generator.answer(model, tokenizer, prompts())
        for record, example in zip(records, prompts(), strict=True):
            assert unsupported(record["caption"], example, constraint) == [], record["caption"]
            named += named_words(record["caption"])
            cut += record["stop_reason"] == "max_new_tokens"
        free = CaptionGenerator(replace(settings, seed=seed, names="any")).answer(model, tokenizer, prompts())
        assert any(unsupported(one["caption"], two, constraint) for one, two in zip(free, prompts(), strict=True))
    assert len(named) > 20  # it was allowed to name, and did
    assert cut > 5  # what the limit would have cut off


@pytest.mark.parametrize("settings", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_batches_change_nothing(tokenizer, settings, tiny_chat_model):
    toy = RandomLogits(tokenizer, 0)
    found = [
        CaptionGenerator(replace(settings, batch_size=size)).answer(toy, tokenizer, prompts()) for size in (1, 3, 8)
    ]
    assert found[0] == found[1] == found[2]
    assert len({record["caption"] for record in found[0]}) > 5


def test_a_real_architecture_in_batches(tiny_chat_model):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(tiny_chat_model, dtype=torch.float32).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    tokenizer = AutoTokenizer.from_pretrained(tiny_chat_model)
    one, many = (
        CaptionGenerator(replace(GREEDY, batch_size=size)).answer(model, tokenizer, prompts()) for size in (1, 8)
    )
    assert one == many
    constraint = NameConstraint(tokenizer, [tokenizer.eos_token_id])
    assert not any(unsupported(record["caption"], two, constraint) for record, two in zip(one, prompts(), strict=True))


# -------------------------------------------------------------------------------------------------- what may follow


class Insisting(nn.Module):
    """Wants to write given tokens, and the end of turn behind them."""

    def __init__(self, script: list[int], width: int) -> None:
        super().__init__()
        self.script, self.width, self.weight = script, width, nn.Parameter(torch.zeros(1))

    def forward(self, input_ids, past_key_values, **_) -> SimpleNamespace:
        step = past_key_values or 0
        logits = torch.zeros(len(input_ids), 1, self.width)
        logits[..., self.script[min(step, len(self.script) - 1)]] = 9
        return SimpleNamespace(logits=logits, past_key_values=step + 1)


ALLOWED = (
    "On Monday Anna Brown’s firefighters spoke: “José Muñoz, of Harbour Town, fled”. 3,000 — or 3000 — people. They!",
    "the firefighters of Anna Brown fled",
)


@pytest.mark.parametrize("caption", ALLOWED)
def test_a_caption_of_allowed_names_is_written_as_it_is(tokenizer, caption):
    example = replace(prompts(1)[0], base_caption="They were two")
    for width in (len(tokenizer), len(tokenizer) + 7):  # a model may know more tokens than its tokenizer
        ids = [*tokenizer.encode(caption, add_special_tokens=False), tokenizer.eos_token_id]
        settings = replace(GREEDY, max_new_tokens=len(ids) + 5)
        (record,) = CaptionGenerator(settings).answer(Insisting(ids, width), tokenizer, [example])
        assert record["caption"] == caption
        assert (record["stop_reason"], record["completion_tokens"]) == ("end_of_turn", len(ids))


@pytest.mark.parametrize(
    ("wanted", "written"),
    [("he saw Annabel", "he saw Anna"), ("he saw Anna Harbour", "he saw Anna "), ("it is 3,500", "it is 3,")],
)
def test_where_a_name_leaves_the_allowed_ones_something_else_follows(tiny_chat_model, wanted, written):
    tokenizer = AutoTokenizer.from_pretrained(tiny_chat_model)
    ids = [*tokenizer.encode(wanted, add_special_tokens=False), tokenizer.eos_token_id]
    model = Insisting(ids, len(tokenizer))
    (record,) = CaptionGenerator(GREEDY).answer(model, tokenizer, prompts(1))
    assert record["caption"].startswith(written) and not record["caption"].startswith(written + wanted[len(written)])


def test_a_name_that_the_limit_would_cut_off_is_left_out(tiny_chat_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_chat_model)
    ids = tokenizer.encode("he saw Harbour Town", add_special_tokens=False)
    model = Insisting(ids, len(tokenizer))
    for number, caption in ((len("he saw Harb"), "he saw"), (len("he saw Harbour"), "he saw Harbour")):
        settings = replace(GREEDY, max_new_tokens=number)
        (record,) = CaptionGenerator(settings).answer(model, tokenizer, prompts(1))
        assert (record["caption"], record["stop_reason"]) == (caption, "max_new_tokens")
        assert record["completion_tokens"] == number


def test_what_may_follow_is_all_that_may(tokenizer):
    """The tokens found by their beginnings are those that a look at every token finds."""
    constraint, numbers = NameConstraint(tokenizer, [tokenizer.eos_token_id]), random.Random(1)
    (path,) = constraint.paths(prompts(1))
    names = AllowedNames([prompts(1)[0].evidence, prompts(1)[0].base_caption], constraint.openers)
    logits, at, visited = torch.zeros(1, len(tokenizer)), Place(), 0
    for _ in range(300):
        (allowed,) = constraint.allowed([path], logits).tolist()
        assert any(allowed)
        texts = constraint.tokens.texts
        if not path._position.part:
            visited += 1
            for token, text in enumerate(texts):
                if not text:
                    continue
                found = names.walk(at, text)
                leads_on = found is not None and (names.is_whole(found) or any(True for _ in names.rests(found)))
                assert allowed[token] == leads_on, (at, text)
            assert allowed[tokenizer.eos_token_id] == names.is_whole(at)
        ends = {tokenizer.eos_token_id}
        choices = [token for token, may in enumerate(allowed) if may and token not in ends and texts[token] != ""]
        path.take(numbers.choice(choices))
        at = path._position.place
    assert visited > 150


class Wordy(Letters):
    """Has no list of its tokens."""


def test_a_tokenizer_that_does_not_list_its_tokens_is_refused():
    with pytest.raises(ValueError, match="Wordy does not list its tokens, as transformers' tokenizers do"):
        NameConstraint(Wordy(), [1])


def test_a_vocabulary_that_cannot_finish_a_name_never_begins_it():
    words = {"<end>": 0, "a": 1, " ": 2, "A": 3, "n": 4, "na": 5, "Bro": 6, "b": 7}
    own = Tokenizer(models.BPE(vocab=words, merges=[("n", "a")]))
    own.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=own, eos_token="<end>", clean_up_tokenization_spaces=False)
    constraint = NameConstraint(tokenizer, [0])
    (path,) = constraint.paths([FusionExample("q", (1,), evidence="b Anna b Brown")])

    def may(*written: int) -> list[int]:
        for token in written:
            path.take(token)
        return constraint.allowed([path], torch.zeros(1, 8))[0].nonzero().flatten().tolist()

    assert may(1, 2) == [0, 1, 2, 3, 4, 5, 7]  # not "Bro", of which "wn" could not be written
    assert may(3) == [4]
    assert may(4) == [4, 5]
    assert may(5) == [0, 2]


# -------------------------------------------------------------------------------------------------- settings


def test_beams_and_unknown_limits_are_refused():
    with pytest.raises(ValueError, match="names='all' is not one of any, evidence"):
        GenerationSettings(names="all")
    with pytest.raises(ValueError, match="num_beams=2: beams are not limited to names"):
        GenerationSettings(names="evidence", num_beams=2, do_sample=False)


def test_tokens_are_read_at_once(tokenizer, monkeypatch):
    expected = CaptionGenerator(GREEDY).answer(RandomLogits(tokenizer, 0), tokenizer, prompts())
    monkeypatch.setattr(decoding, "tokens_late", lambda device: 1)
    assert CaptionGenerator(GREEDY).answer(RandomLogits(tokenizer, 0), tokenizer, prompts()) == expected
