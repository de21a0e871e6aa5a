import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from diptych.contracts.news import FusionExample
from diptych.systems import caption_generation
from diptych.systems.answer_writer import AnswerWriter
from diptych.systems.caption_generation import CaptionGenerator, GenerationSettings
from diptych.systems.caption_records import count_outcomes
from toy_language_model import GREEDY, SAMPLED, Letters, Scripted, ToyLanguageModel, make_prompts, run


@pytest.fixture
def toy():
    return ToyLanguageModel()


def write(tmp_path, script: list[int], prompt: tuple[int, ...] = (10,), **settings) -> dict:
    settings = replace(GREEDY, **settings)
    return run(Scripted(script), tmp_path / "predictions.jsonl", settings, [FusionExample("q", prompt)])[0]


def test_several_candidates(toy, tmp_path):
    settings = replace(SAMPLED, num_candidates=3)
    found = run(toy, tmp_path / "predictions.jsonl", settings, describe=lambda query_id: {"article": query_id[1:]})
    first = run(toy, tmp_path / "one.jsonl", SAMPLED)
    for record, alone in zip(found, first, strict=True):
        assert len(record["candidates"]) == 3
        assert record["candidates"][0]["caption"] == alone["caption"]
        assert record["caption"] == record["candidates"][record["chosen"]]["caption"]
        assert record["article"] == record["query_id"][1:]
    assert len({record["chosen"] for record in found}) > 1
    for size in (1, 2, 32):
        path = tmp_path / f"{size}.jsonl"
        run(toy, path, replace(settings, batch_size=size), describe=lambda query_id: {"article": query_id[1:]})
        assert path.read_bytes() == (tmp_path / "predictions.jsonl").read_bytes()


@pytest.mark.parametrize("settings", [SAMPLED, replace(SAMPLED, num_candidates=3, batch_size=2)])
def test_answers_without_a_file_are_the_same(toy, tmp_path, settings):
    expected = run(toy, tmp_path / "predictions.jsonl", settings)
    toy.train()
    assert CaptionGenerator(settings).answer(toy, Letters(), make_prompts()) == expected
    assert toy.training
    with pytest.raises(ValueError, match="there are no prompts to answer"):
        CaptionGenerator(settings).answer(toy, Letters(), [])


# -------------------------------------------------------------------------------------------------- restarts


class Killed(BaseException):
    pass


def kill_at(number: int):
    calls = []

    def describe(query_id: str) -> dict:
        calls.append(query_id)
        if len(calls) == number:
            raise Killed
        return {"evidence": {"article_id": f"é{query_id}", "chunks": [[0, 5]]}}

    return describe


@pytest.mark.parametrize("candidates", [1, 2])
def test_a_killed_run_goes_on(toy, tmp_path, candidates):
    settings = replace(SAMPLED, num_candidates=candidates)
    expected, output = tmp_path / "undisturbed.jsonl", tmp_path / "predictions.jsonl"
    run(toy, expected, settings, describe=kill_at(-1))
    with pytest.raises(Killed):
        run(toy, output, settings, describe=kill_at(9))
    kept = output.read_bytes()
    assert kept.count(b"\n") == 8
    assert ("caption" in json.loads(kept.splitlines()[0])) == (candidates == 1)
    output.write_bytes(kept[:-9])
    calls = []
    again = kill_at(-1)
    run(toy, output, settings, describe=lambda query_id: calls.append(query_id) or again(query_id))
    assert output.read_bytes() == expected.read_bytes()
    assert len(calls) == 4  # the three that were never written and the one of which half was
    run(toy, output, settings, describe=kill_at(1))
    assert output.read_bytes() == expected.read_bytes()


def test_batches_go_on_in_the_size_that_there_was_room_for_when_they_were_begun(toy, tmp_path, monkeypatch):
    output, lengths = tmp_path / "predictions.jsonl", []
    monkeypatch.setattr(AnswerWriter, "write", _noted(AnswerWriter.write, lengths))
    for room, describe in ((3, kill_at(5)), (4, kill_at(-1))):  # less memory was free the first time
        monkeypatch.setattr(caption_generation, "answers_at_a_time", lambda *_, room=room: room)
        with suppress(Killed):
            run(toy, output, replace(SAMPLED, batch_size="auto"), describe=describe)
    assert lengths == [3, 3, 3, 3, 2]  # the second batch again: it was not kept
    records = run(toy, output, replace(SAMPLED, batch_size=2), describe=kill_at(-1))
    assert records == run(toy, tmp_path / "whole.jsonl", SAMPLED, describe=kill_at(-1))


def _noted(write, lengths):
    def noting(self, asked):
        lengths.append(len(asked))
        return write(self, asked)

    return noting


def test_a_smaller_batch_may_go_on_but_nothing_else(toy, tmp_path):
    output = tmp_path / "predictions.jsonl"
    with pytest.raises(Killed):
        run(toy, output, SAMPLED, describe=kill_at(6))
    with pytest.raises(ValueError, match=r"settings.seed \(was 7, is 8\).*delete .*predictions.jsonl"):
        run(toy, output, replace(SAMPLED, seed=8))
    with pytest.raises(ValueError, match=r"model \(was 'tiny', is 'other'\)"):
        run(toy, output, SAMPLED, model_fingerprint="other")
    with pytest.raises(ValueError, match="prompts"):
        run(toy, output, SAMPLED, make_prompts(10))
    records = run(toy, output, replace(SAMPLED, batch_size=2), describe=kill_at(-1))
    assert records == run(toy, tmp_path / "whole.jsonl", SAMPLED, describe=kill_at(-1))


# -------------------------------------------------------------------------------------------------- answers


def test_stop_reasons(tmp_path):
    ended = write(tmp_path / "1", [10, 11, 12])
    assert ended == {
        "query_id": "q",
        "caption": "ABC",
        "stop_reason": "end_of_turn",
        "completion_tokens": 4,
        "think_removed": False,
        "prompt_tokens": 1,
    }
    cut = write(tmp_path / "2", [10, 11, 12], max_new_tokens=2)
    assert (cut["caption"], cut["stop_reason"], cut["completion_tokens"]) == ("AB", "max_new_tokens", 2)
    empty = write(tmp_path / "3", [])
    assert (empty["caption"], empty["stop_reason"], empty["completion_tokens"]) == ("", "end_of_turn", 1)
    assert count_outcomes([ended, cut, empty]) == {
        "empty_captions": 1,
        "stopped_by_end_of_turn": 2,
        "stopped_by_max_new_tokens": 1,
        "think_removed": 0,
    }


def test_other_tokens_may_end_a_turn(tmp_path):
    found = run(Scripted([10, 11, 12]), tmp_path / "p.jsonl", GREEDY, [FusionExample("q", (10,))], end_of_turn=[12])
    assert (found[0]["caption"], found[0]["stop_reason"]) == ("AB", "end_of_turn")


def test_thoughts_are_removed_and_counted(tmp_path):
    think, answer = 7, 6
    closed = write(tmp_path / "1", [think, 10, answer, 11])
    assert (closed["caption"], closed["think_removed"]) == ("B", True)
    endless = write(tmp_path / "2", [think, 10, 11, 12], max_new_tokens=3)
    assert (endless["caption"], endless["stop_reason"], endless["think_removed"]) == ("", "max_new_tokens", True)
    begun = write(tmp_path / "3", [10, 11, 12], prompt=(10, think))
    assert (begun["caption"], begun["think_removed"]) == ("", True)
    over = write(tmp_path / "4", [10, 11, 12], prompt=(10, think, answer))
    assert (over["caption"], over["think_removed"]) == ("ABC", False)


def test_target_words(tmp_path):
    words = [10, 4, 4, 3, 8, 4, 5, 3, 8, 4, 4, 3]  # "A A A. It A an. It A A."
    found = write(tmp_path / "1", words, target_words=4)
    assert (found["caption"], found["stop_reason"]) == ("A A A. It A", "target_words")  # a quarter more
    found = write(tmp_path / "2", words, target_words=5)
    assert (found["caption"], found["stop_reason"]) == ("A A A. It A an.", "target_words")
    assert found["completion_tokens"] == 9  # the next sentence's first word shows that this one has ended
    found = write(tmp_path / "3", words, target_words=9)
    assert (found["caption"], found["stop_reason"]) == ("A A A. It A an. It A A.", "end_of_turn")
    found = write(tmp_path / "4", [7, *words, 6, *words], target_words=3)
    assert (found["caption"], found["stop_reason"]) == ("A A A.", "target_words")  # thoughts do not count


# -------------------------------------------------------------------------------------------------- faults


def test_prompts_that_cannot_be_answered_are_refused(toy, tmp_path):
    toy.config = SimpleNamespace(max_position_embeddings=120)
    long = FusionExample("long", (10,) * 99)
    for examples, message in (
        ([FusionExample("q", ())], "query 'q' has an empty prompt"),
        ([make_prompts()[0], make_prompts()[0]], "query 'q0' occurs twice"),
        ([long], "query 'long': its prompt of 99 tokens leaves no room.*=24 in the model's 120"),
    ):
        with pytest.raises(ValueError, match=message):
            run(toy, tmp_path / "predictions.jsonl", GREEDY, examples)
    with pytest.raises(ValueError, match="no prompts"):
        CaptionGenerator(GREEDY).generate(toy, Letters(), [], tmp_path / "p.jsonl", model_fingerprint="")
    with pytest.raises(ValueError, match="set generation.consensus=embedding"):
        run(toy, tmp_path / "p.jsonl", replace(SAMPLED, num_candidates=2), make_prompts(1))
    assert list(tmp_path.iterdir()) == []


def test_a_broken_model_is_refused(tmp_path):
    model = Scripted([10])
    forward = model.forward
    model.forward = lambda **inputs: SimpleNamespace(
        **{**vars(forward(**inputs)), "logits": torch.full((1, 1, 9), torch.nan)}
    )
    with pytest.raises(ValueError, match="NaN"):
        run(model, tmp_path / "p.jsonl", GREEDY, [FusionExample("q", (10,))])


def test_added_fields_may_not_replace_others(toy, tmp_path):
    with pytest.raises(ValueError, match="may not be named"):
        run(toy, tmp_path / "predictions.jsonl", GREEDY, make_prompts(2), describe=lambda _: {"caption": ""})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens=0 must be at least 1"),
        ({"target_words": 0}, "target_words=0"),
        ({"batch_size": "many"}, "batch_size=many must be at least 1, or auto"),
        ({"temperature": 0.0}, "temperature=0.0 must be above 0.*do_sample=false"),
        ({"min_p": 1.5}, "min_p=1.5"),
        ({"num_candidates": 2, "do_sample": False}, "all candidates would be the same"),
        ({"consensus": "bleu"}, "consensus='bleu' is not one of cider, embedding"),
        ({"num_beams": 4}, "num_beams=4 looks for the likeliest answer: set do_sample=false"),
        ({"num_beams": 0, "do_sample": False}, "num_beams=0 must be at least 1"),
        ({"choice": "best"}, "choice='best' is not one of consensus, support"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        GenerationSettings(**settings)


class Letter:
    """Counts how often a letter stands in a caption and not in the evidence."""

    name = "letter"

    def unsupported(self, captions, evidence):
        counts = [caption.count("A") - text.count("A") for caption, text in zip(captions, evidence, strict=True)]
        return [(count, len(caption)) for count, caption in zip(counts, captions, strict=True)]


def test_support_decides_before_consensus(toy, tmp_path):
    settings = replace(SAMPLED, num_candidates=3)
    by_consensus = run(toy, tmp_path / "consensus.jsonl", settings)
    by_support = replace(settings, choice="support")
    prompts = [replace(example, evidence="B") for example in make_prompts()]
    generator = CaptionGenerator(by_support, claim_checker=Letter())
    options = {"model_fingerprint": "tiny", "show_progress": False}
    found = generator.generate(toy, Letters(), prompts, tmp_path / "support.jsonl", **options)
    for one, other in zip(found, by_consensus, strict=True):
        captions = [candidate["caption"] for candidate in one["candidates"]]
        assert captions == [candidate["caption"] for candidate in other["candidates"]]  # the same samples
        assert [candidate["unsupported_claims"] for candidate in one["candidates"]] == [
            caption.count("A") for caption in captions
        ]
        assert one["unsupported_claims"] == min(caption.count("A") for caption in captions if caption)
    assert [one["chosen"] for one in found] != [one["chosen"] for one in by_consensus]
    assert generator.answer(toy, Letters(), prompts) == found
    before = (tmp_path / "support.jsonl").read_bytes()
    generator.generate(toy, Letters(), prompts, tmp_path / "support.jsonl", **options)
    assert (tmp_path / "support.jsonl").read_bytes() == before


def test_one_candidate_is_what_it_was_whatever_the_choice(toy, tmp_path):
    found = run(toy, tmp_path / "a.jsonl", replace(SAMPLED, choice="support"))
    assert found == run(toy, tmp_path / "b.jsonl", SAMPLED)
    with pytest.raises(ValueError, match=r"choice=support needs a checker of claims: claim_checker=null"):
        CaptionGenerator(replace(SAMPLED, num_candidates=2, choice="support"))


def test_files_of_versions_without_a_choice_go_on(toy, tmp_path):
    run(toy, tmp_path / "predictions.jsonl", SAMPLED)
    settings = json.loads((tmp_path / "predictions.settings.json").read_text())["settings"]
    assert not {"choice", "names"} & settings.keys()
    with pytest.raises(ValueError, match=r"settings.choice \(was None, is 'support'\)"):
        run(toy, tmp_path / "predictions.jsonl", replace(SAMPLED, choice="support"))


def test_an_encoder_is_needed_for_its_consensus():
    with pytest.raises(ValueError, match="needs a sentence encoder"):
        CaptionGenerator(replace(SAMPLED, num_candidates=2, consensus="embedding"))


def test_the_configured_settings_are_the_published_ones():
    folder = Path(__file__).parents[2] / "conf" / "system" / "generation"
    greedy = GenerationSettings(do_sample=False)
    configured = {"published": GenerationSettings(), "greedy": greedy, "constrained": replace(greedy, names="evidence")}
    assert sorted(configured) == sorted(path.stem for path in folder.glob("*.yaml"))
    for name, expected in configured.items():
        settings = yaml.safe_load((folder / f"{name}.yaml").read_text())
        assert settings.pop("_target_") == "diptych.systems.caption_generation.GenerationSettings"
        assert GenerationSettings(**settings) == expected
