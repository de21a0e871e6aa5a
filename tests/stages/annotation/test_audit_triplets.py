"""The audit against known scenes, and the verdicts of a second model, on a few generated rooms."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from diptych.annotation.cost import Prices
from diptych.annotation.images import PictureForm
from diptych.annotation.task import VerificationTask
from diptych.annotation.verification_question import VerificationPrompt
from diptych.contracts.pipelines import Answer, Failure
from diptych.stages.annotation.asking import Asking
from diptych.stages.annotation.audit_triplets import AuditTriplets
from diptych.stages.annotation.verify_sentences import VerifySentences
from diptych.storage.record_log import RecordFile, RecordLog
from diptych.synthetic.rooms.generate import RoomsSettings, generate_rooms
from diptych.synthetic.server.rooms_answers import Asked, RoomsAnswers, Untruth
from diptych.synthetic.server.rooms_images import RoomsFolder


@pytest.fixture(scope="module")
def rooms(tmp_path_factory) -> Path:
    return generate_rooms(tmp_path_factory.mktemp("r") / "rooms", RoomsSettings(0, 2, 1, 1, 4, 6), num_workers=1)


@pytest.fixture
def written(rooms: Path, tmp_path: Path) -> tuple[Path, dict[str, Path], list[dict[str, Any]]]:
    """Pairs, and the set's own sentences as one way of annotating; those of the way back as another."""
    records = json.loads((rooms / "captions" / "hotel_train_data.json").read_text())
    folder = rooms / "images" / "train"
    pairs = [
        {
            "pair_id": f"p{place}",
            "reference_image": str(folder / record["query_image"]),
            "target_image": str(folder / record["result_image"]),
        }
        for place, record in enumerate(records)
    ]
    RecordLog(tmp_path / "pairs.jsonl", "pair_id").write(pairs)
    ways = {"true": tmp_path / "true.jsonl", "invented": tmp_path / "invented.jsonl"}
    sentences = [{"pair_id": f"p{place}", "sentences": [record["difference"]]} for place, record in enumerate(records)]
    RecordLog(ways["true"], "pair_id").write(sentences)
    invented = [{**record, "sentences": ["Add a mirror.", "Make the sofa pink."]} for record in sentences]
    RecordLog(ways["invented"], "pair_id").write(invented)
    return tmp_path / "pairs.jsonl", ways, records


def finished(stage: Any, folder: Path) -> tuple[list[dict[str, Any]], list[Failure]]:
    """What the runner would leave."""
    sink, failures = RecordFile(folder, stage.record_key), []
    for result in stage.process(stage.ids()):
        if isinstance(result, Failure):
            failures.append(result)
        else:
            sink.append([result])
    stage.write_output(folder, failures)
    return list(sink.records().values()), failures


def test_true_sentences_are_right_and_invented_ones_are_not(written, tmp_path, caplog):
    pairs, ways, records = written
    with caplog.at_level("INFO"):
        done, failures = finished(AuditTriplets(pairs, ways), tmp_path / "audit")
    assert not failures and len(done) == len(records) == 8
    for made, record in zip(done, records, strict=True):
        changes = [[change["object"], change["attribute"]] for change in record["changes"]]
        assert made["changes"] == changes and made["ways"]["invented"]["missed"] == changes
        assert made["ways"]["true"]["verdicts"] == ["right"]
    audit = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert audit["pairs"] == 8 and audit["ways"]["true"]["sentences_right"]["rate"] == 1.0
    assert audit["ways"]["true"]["changes_missed"]["rate"] == 0.0
    hallucinated = audit["ways"]["invented"]["sentences_hallucinated"]
    assert (hallucinated["rate"], hallucinated["of"]) == (1.0, 16)
    assert hallucinated["interval"] == pytest.approx([0.6756, 1.0], abs=1e-4)  # of 8 pairs, not of 16 sentences
    assert "100.0 [67.6, 100.0] of 16" in caplog.text


def test_breakdowns_and_differences_stand_beside_the_rates(written, tmp_path, caplog):
    pairs, ways, records = written
    with caplog.at_level("INFO"):
        done, _ = finished(AuditTriplets(pairs, ways), tmp_path / "audit")
    audit = json.loads((tmp_path / "audit" / "audit.json").read_text())
    for name, number_of in (("by_changes", lambda r: len(r["changes"])), ("by_objects", lambda r: r["objects"])):
        assert {key: part["pairs"] for key, part in audit[name].items()} == Counter(str(number_of(r)) for r in done)
        sentences = [part["ways"]["invented"]["sentences_hallucinated"]["of"] for part in audit[name].values()]
        assert sum(sentences) == 16
    kinds = Counter(change["attribute"] for record in records for change in record["changes"])
    missed = {kind: part["ways"]["invented"]["changes_missed"]["of"] for kind, part in audit["by_kind"].items()}
    assert missed == {**kinds, "presence": kinds["presence"]}  # added mirrors are claims of presence
    assert audit["by_kind"]["presence"]["ways"]["invented"]["claims_hallucinated"]["rate"] == 1.0
    assert audit["differences"]["from"] == "true"
    difference = audit["differences"]["ways"]["invented"]["sentences_right"]
    assert difference["difference"] == -1.0 and difference["p"] == 2 / 2**8
    assert "colour (8 pairs), claims hallucinated" in caplog.text and "invented - true" in caplog.text


def test_records_of_an_earlier_version_are_not_mixed_in(written, tmp_path):
    pairs, ways, _ = written
    stage = AuditTriplets(pairs, ways)
    RecordFile(tmp_path / "audit", "pair_id").append([{"pair_id": "p0", "changes": [], "ways": {}}])
    with pytest.raises(ValueError, match="audit was begun by an earlier version, .* remove it and give the"):
        stage.write_output(tmp_path / "audit", [])


@pytest.mark.parametrize("misdescribed", [0.0, 0.5])
def test_descriptions_that_keep_their_words_are_told_from_those_that_do_not(written, rooms, tmp_path, misdescribed):
    """The imitated annotator repeats what is the same word for word, but for objects that it sees wrongly."""
    pairs, ways, _ = written
    folder, answers = RoomsFolder(rooms), RoomsAnswers(RoomsFolder(rooms), Untruth(objects=misdescribed))
    work, references, targets = tmp_path / "work", {}, []
    for pair in RecordLog(pairs, "pair_id").read().values():
        reference, target = (folder.recognise(f"file://{pair[f'{side}_image']}") for side in ("reference", "target"))
        objects = answers.answer(Asked("describe_reference", (reference,)))["objects"]
        references[pair["reference_image"]] = {"image": pair["reference_image"], "objects": objects}
        again = answers.answer(Asked("describe_target", (target,), (objects,)))["objects"]
        targets.append({"pair_id": pair["pair_id"], "objects": again})
    RecordLog(work / "describe_reference/records.jsonl", "image").write(references.values())
    RecordLog(work / "describe_target/records.jsonl", "pair_id").write(targets)
    (work / "write_modifications").mkdir()
    ways = {"three_stage": ways["true"].rename(work / "write_modifications/records.jsonl"), "other": ways["invented"]}
    finished(AuditTriplets(pairs, ways), tmp_path / "audit")
    found = json.loads((tmp_path / "audit/audit.json").read_text())["descriptors"]
    assert list(found) == ["three_stage"] and found["three_stage"]["pairs"] == 8
    rates = {name: entry["rate"] for name, entry in found["three_stage"]["rates"].items()}
    assert found["three_stage"]["rates"]["unchanged_objects_alike"]["of"] > 40
    assert rates["unchanged_objects_left_out"] == 0
    if misdescribed:
        assert rates["unchanged_objects_alike"] < 0.9 and rates["unchanged_descriptors_repeated"] < 0.95
    else:
        assert rates["unchanged_objects_alike"] == rates["unchanged_descriptors_repeated"] == 1.0
        assert rates["changed_objects_alike"] == 0.0


def test_planted_rates_are_no_finding(written, tmp_path, caplog):
    pairs, ways, _ = written
    with caplog.at_level("INFO"):
        finished(AuditTriplets(pairs, ways, planted={"hallucination": 0.1}), tmp_path / "audit")
    assert json.loads((tmp_path / "audit" / "audit.json").read_text())["planted"] == {"hallucination": 0.1}
    assert "planted by the server that wrote the sentences: hallucination 0.1\nin percent" in caplog.text


def test_what_cannot_be_audited_is_counted_by_reason(written, tmp_path):
    pairs, ways, _ = written
    lines = list(RecordLog(pairs, "pair_id").read().values())
    lines[0]["target_image"] = str(tmp_path / "elsewhere.jpg")
    lines[1]["target_image"] = lines[-1]["target_image"]
    RecordLog(pairs, "pair_id").write(lines)
    kept = list(RecordLog(ways["true"], "pair_id").read().values())
    RecordLog(ways["true"], "pair_id").write([*kept[:2], *kept[3:]])
    done, failures = finished(AuditTriplets(pairs, ways), tmp_path / "audit")
    assert [(f.record_id, f.reason) for f in failures] == [
        ("p0", "no_scene"),
        ("p1", "different_hotels"),
        ("p2", "no_sentences"),
    ]
    assert len(done) == 5 and json.loads((tmp_path / "audit" / "audit.json").read_text())["not_audited"] == 3
    with pytest.raises(ValueError, match="ways is empty"):
        AuditTriplets(pairs, {})


def test_silence_misses_what_changed(written, tmp_path):
    """Of 8 pairs one way is silent about two; all count, and so do their changes."""
    pairs, ways, records = written
    RecordLog(ways["true"], "pair_id").write(list(RecordLog(ways["true"], "pair_id").read().values())[2:])
    done, failures = finished(AuditTriplets(pairs, ways, silence=True), tmp_path / "audit")
    assert not failures and len(done) == 8 and done[0]["ways"]["true"]["sentences"] == []
    found = json.loads((tmp_path / "audit" / "audit.json").read_text())["ways"]
    silent, every = (sum(len(record["changes"]) for record in some) for some in (records[:2], records))
    missed = {way: (of["changes_missed"]["part"], of["changes_missed"]["of"]) for way, of in found.items()}
    assert missed == {"true": (silent, every), "invented": (every, every)}
    assert found["true"]["claims_hallucinated"]["rate"] == found["true"]["claims_wrong"]["rate"] == 0


class Decided:
    """An asker that says yes to sentences of one kind; the first answer to each question is no JSON."""

    model, price_factor = "second", 0.0

    def __init__(self) -> None:
        self.asked: list[str] = []

    def ask(self, questions: Sequence[Any], ledger: Any) -> Any:
        for question in questions:
            assert ledger.claim(question.key)
            content = question.messages()[0]["content"]
            assert [part["type"] for part in content] == ["text", "image_url", "image_url"]
            sentence = content[0]["text"].splitlines()[-1]
            first = sentence not in self.asked
            self.asked.append(sentence)
            text = "Hm." if first else json.dumps({"holds": "sofa" not in sentence})
            answer = Answer(text, "stop", {}, 0.1)
            ledger.answered(question.key, answer)
            yield question.key, answer


def test_a_second_model_says_which_sentences_hold(written, tmp_path):
    pairs, ways, _ = written
    asker = Decided()
    asking = Asking(asker, str(tmp_path / "ledger.sqlite"), Prices({}), "second", PictureForm(None))
    prompt = VerificationPrompt("Does it hold?\n{sentence}")
    stage = VerifySentences(asking, VerificationTask(prompt, pairs), ways["invented"])
    assert stage.ids()[:3] == ["p0/0", "p0/1", "p1/0"]
    done, failures = finished(stage, tmp_path / "verify")
    assert not failures and len(done) == 16 and len(asker.asked) == 18  # two were asked again
    assert all(record["holds"] == ("mirror" in record["sentence"]) for record in done)
    agreement = json.loads((tmp_path / "verify" / "agreement.json").read_text())
    assert agreement["share"] == 0.5 and agreement["pairs"]["p0"] == {"holds": 1, "verified": 2}
    assert agreement["interval"] == pytest.approx([0.2800, 0.7200], abs=1e-4)
    assert agreement["model"] == "second" and agreement["unverified"] == 0
