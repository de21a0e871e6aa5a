"""Ways side by side: two annotations of a few pairs, one with a ledger."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diptych.annotation.cost import Prices
from diptych.annotation.ledger.ledger import Ledger
from diptych.contracts.pipelines import Answer, Question
from diptych.stages.annotation.compare_ways import CompareWays
from diptych.storage.json_files import write_json
from diptych.storage.record_log import RecordFile, RecordLog


@pytest.fixture
def ways(tmp_path: Path) -> dict[str, Path]:
    """Three stages of `m` with its ledger, about pairs 0 to 3; a file of unknown origin about 1 to 4."""
    work = tmp_path / "three" / "work" / "write_modifications"
    paths = {"three": work / "records.jsonl", "other": tmp_path / "other.jsonl"}
    for name, numbers in (("three", range(4)), ("other", range(1, 5))):
        RecordLog(paths[name], "pair_id").write(
            {"pair_id": f"p{number}", "sentences": [f"Make the {name} rug {number} blue."]} for number in numbers
        )
    write_json(work / "manifest.json", {"stage": "write_modifications", "settings": {"asking": {"model": "m"}}})
    with Ledger(tmp_path / "three" / "ledger.sqlite") as ledger:
        for stage in ("describe_reference", "describe_target", "write_modifications", "verify_sentences"):
            ledger.plan([Question(stage, stage, "p0", list, 10, 1000)], "m")
            ledger.claim(stage)
            ledger.answered(stage, Answer("x", "stop", {"prompt_tokens": 4_000, "completion_tokens": 400}, 1.0))
    return paths


def compared(stage: CompareWays, folder: Path) -> dict:
    sink = RecordFile(folder, "way")
    sink.append([record for record in stage.process(stage.ids()) if isinstance(record, dict)])
    stage.write_output(folder, [])
    return json.loads((folder / "ways.json").read_text())


def test_quality_diversity_and_cost_stand_side_by_side(ways, tmp_path, caplog):
    rate = {"rate": 0.25, "interval": [0.1, 0.4], "of": 4}
    rates = dict.fromkeys(("sentences_hallucinated", "sentences_wrong", "changes_missed"), rate)
    write_json(tmp_path / "audit.json", {"planted": {"hallucination": 0.1}, "ways": {"three": rates, "other": rates}})
    RecordLog(tmp_path / "verdicts.jsonl", "sentence_id").write(
        {"sentence_id": f"p{n}/0", "pair_id": f"p{n}", "sentence": "", "holds": n < 2} for n in range(4)
    )
    prices = Prices({"m": {"input": 2.5, "output": 10.0}})
    stage = CompareWays(ways, prices, audit=tmp_path / "audit.json", verified={"three": tmp_path / "verdicts.jsonl"})
    with caplog.at_level("INFO"):
        found = compared(stage, tmp_path / "compare")
    three, other = found["ways"]["three"], found["ways"]["other"]
    assert (three["pairs"], three["common_pairs"], three["diversity"]["records"]) == (4, 3, 3)
    assert three["model"] == "m" and three["cost"]["per_triplet"]["input_tokens"] == 3 * 4_000 / 4
    assert three["cost"]["usd"] == pytest.approx(3 * (4_000 * 2.5 + 400 * 10) / 1e6)  # the verification is not of it
    assert other["cost"] is None and "names no model" in other["no_cost"]
    assert (three["verified"]["rate"], three["verified"]["of"]) == (pytest.approx(1 / 3), 3)  # p1 to p3
    assert found["planted"] == {"hallucination": 0.1}
    for line in (
        "planted by the server that wrote the sentences: hallucination 0.1",
        "sentences hallucinated, percent",
        "25.0 [10.0, 40.0] of 4",
        "self-BLEU-4",
        "0.01050",
        "other: what it cost is not known",
    ):
        assert line in caplog.text


def test_a_way_may_name_its_ledger_and_mistakes_are_named(ways, tmp_path):
    (tmp_path / "three" / "ledger.sqlite").rename(tmp_path / "shared.sqlite")
    (record,) = [r for r in CompareWays(ways).process(["three"]) if isinstance(r, dict)]
    assert record["cost"] is None and "ledger.sqlite is not there" in record["no_cost"]
    stage = CompareWays(ways, ledgers={"three": tmp_path / "shared.sqlite"})
    (record,) = [r for r in stage.process(["three"]) if isinstance(r, dict)]
    assert record["cost"]["input_tokens"] == 12_000 and record["cost"]["usd"] is None  # no price
    with pytest.raises(ValueError, match="ledgers names four, which is none of the ways three, other"):
        CompareWays(ways, ledgers={"four": "x"})
    with pytest.raises(ValueError, match="ways is empty"):
        CompareWays({})
    RecordLog(ways["other"], "pair_id").write([{"pair_id": "p9", "sentences": ["Add it."]}])
    (failure,) = CompareWays(ways).process(["three"])
    assert failure.reason == "no_sentences"
