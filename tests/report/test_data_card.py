"""The data card, from the folder of a small run."""

from __future__ import annotations

import json
import re
import runpy

import pytest

from diptych.annotation.audit import audit_pair, summarise
from diptych.annotation.audit_breakdown import breakdowns
from diptych.annotation.cost import Prices
from diptych.annotation.descriptor_consistency import descriptor_counts, descriptor_summaries
from diptych.annotation.ledger.ledger import Ledger
from diptych.contracts.pipelines import Answer, Question
from diptych.report.data_card import write_data_card
from diptych.storage.json_files import write_json
from diptych.storage.record_log import RecordLog


def test_the_data_card_says_what_stands_behind_the_set(out):
    with pytest.raises(ValueError, match=r"summary\.json is not there"):
        write_data_card(out, Prices({}))
    (out / "train.jsonl").write_text(
        '{"query_id": "one", "reference_image": "images/a.png", "modification_texts": ["Make | it."],'
        ' "target_image": "images/b.png"}\n'
    )
    summary = {"triplets": 1, "texts": 1, "images": 2, "pairs": 3, "duplicate_pairs": 1}
    summary |= {"not_exported": {"no_texts": 2}, "dropped_texts": {}, "reviews": {"decisions": 4, "unknown": 0}}
    (out / "summary.json").write_text(json.dumps(summary))
    manifest = {"settings": {"asking": {"model": "m"}, "prompt": {"text": "See"}, "domain": "hotel"}, "done": 2}
    manifest["failed"] = {"cut": 1}
    (out / "work" / "write_modifications" / "manifest.json").write_text(json.dumps(manifest))
    question = Question("k", "write_modifications", "one", list, 10, 1000)
    with Ledger(out / "ledger.sqlite") as ledger:
        ledger.plan([question], "m", 0.5)
        ledger.claim("k")
        ledger.answered("k", Answer("x", "stop", {"prompt_tokens": 1_000_000, "completion_tokens": 100_000}, 1.0))
    card = write_data_card(out, Prices({"m": {"input": 2.0, "output": 10.0}})).read_text()
    assert "1 triplets with 1 texts over 2 images" in card
    assert re.search(r"\| write_modifications \| m \| [0-9a-f]{16} \| hotel \|", card)
    assert "| write_modifications | 2 | cut 1 |" in card and "no_texts 2" in card
    assert "| write_modifications | 1 | 1,000,000 | 100,000 | 1.50 |" in card and "In all 1.50 USD" in card
    assert "`images/a.png` to `images/b.png`: Make | it." in card
    task = {name: manifest["settings"].pop(name) for name in ("prompt", "domain")}
    manifest["settings"]["task"] = task  # where this version has them; 0.1 had them among the stage's own settings
    (out / "work" / "write_modifications" / "manifest.json").write_text(json.dumps(manifest))
    assert write_data_card(out, Prices({"m": {"input": 2.0, "output": 10.0}})).read_text() == card
    assert "no price" in write_data_card(out, Prices({})).read_text()
    assert "| commonest first two words | make it 100.0 % |" in card and "| distinct-1 | 1.000 of 1 texts |" in card


def test_the_audit_comes_with_its_breakdowns_and_what_was_planted(out):
    summary = dict.fromkeys(("triplets", "texts", "images", "pairs", "duplicate_pairs"), 0)
    summary |= {"not_exported": {}, "dropped_texts": {}, "reviews": {"decisions": 0}}
    (out / "summary.json").write_text(json.dumps(summary))
    pair = audit_pair(["Make the rug blue."], {"rug": {"colour": "red"}}, {"rug": {"colour": "blue"}})
    way = {"counts": pair.counts, "kinds": pair.kinds}
    record = {"changes": [["rug", "colour"]], "objects": 1, "ways": {"three": way, "one": way}}
    audit = {"pairs": 1, "ways": {name: summarise([pair.counts]) for name in ("three", "one")}}
    described = [{"name": "walls", "descriptors": ["white"]}]
    white = {"walls": {"colour": "white"}}
    way["descriptors"] = descriptor_counts(described, described, white, white)
    parts = {**breakdowns([record], ["three", "one"]), "descriptors": descriptor_summaries([record], ["three"])}
    for version in ({}, {"planted": {"hallucination": 0.1}, **parts}):  # and of 0.1
        write_json(out / "work" / "audit_triplets" / "audit.json", {**audit, **version})
        card = write_data_card(out, Prices({})).read_text()
        assert "| sentences right | 100.0 % [20.7, 100.0] of 1 | 100.0 % [20.7, 100.0] of 1 |" in card
        assert ("hallucination 0.1. These rates were put in, and are no finding." in card) == bool(version)
        for heading in ("kind of change", "number of objects", "number of changes"):
            assert (f"## Audit: by {heading}\n" in card) == bool(version)
        assert ("## Audit: descriptions of objects\n" in card) == bool(version)
    assert "| unchanged objects alike | 100.0 % [20.7, 100.0] of 1 |\n" in card
    assert "| colour (1 pairs), changes missed | 0.0 % [0.0, 79.3] of 1 | 0.0 % [0.0, 79.3] of 1 |" in card
    assert "\n\n\n" not in card and not re.search(r"[^\n]\n## ", card), "one empty line before a heading"


def test_a_set_in_another_layout_has_its_examples_too(out):
    summary = dict.fromkeys(("triplets", "texts", "images", "pairs", "duplicate_pairs"), 1)
    write_json(out / "summary.json", {**summary, "not_exported": {}, "dropped_texts": {}, "reviews": {"decisions": 0}})
    record = {"query_id": "1", "reference_image": "dev-1", "modification_texts": ["Turn it."], "target_image": "dev-2"}
    RecordLog(out / "work/export/records.jsonl").write([record])
    assert "- `dev-1` to `dev-2`: Turn it.\n" in write_data_card(out, Prices({})).read_text()


@pytest.mark.filterwarnings("ignore:'diptych:RuntimeWarning")
@pytest.mark.parametrize("command", ["diptych.commands.data_card", "diptych.report.data_card"])
def test_the_command_takes_the_prices_of_the_configuration(out, command, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["data_card", str(out)])
    with pytest.raises(SystemExit):
        runpy.run_module(command, run_name="__main__")
    assert "summary.json is not there" in capsys.readouterr().err
    summary = dict.fromkeys(("triplets", "texts", "images", "pairs", "duplicate_pairs"), 0)
    summary |= {"not_exported": {}, "dropped_texts": {}, "reviews": {"decisions": 0}}
    (out / "summary.json").write_text(json.dumps(summary))
    with Ledger(out / "ledger.sqlite") as ledger:
        ledger.plan([Question("k", "one_stage", "one", list, 10, 1000)], "gpt-4o", 1.0)
        ledger.claim("k")
        ledger.answered("k", Answer("x", "stop", {"prompt_tokens": 1_000_000, "completion_tokens": 100_000}, 1.0))
    with pytest.raises(SystemExit) as end:
        runpy.run_module(command, run_name="__main__")
    assert end.value.code == 0
    assert capsys.readouterr().out.strip() == str(out / "DATA_CARD.md")
    assert "In all 3.50 USD" in (out / "DATA_CARD.md").read_text()
