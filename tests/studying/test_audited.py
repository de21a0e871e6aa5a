import json

import pytest

from diptych.annotation.audit import RATES
from diptych.storage.run_status import change_status
from diptych.studying.audited import audited_pairs
from diptych.studying.values import values_by_query
from diptych.sweeping.run_records import find_runs


def test_the_rate_is_the_mean_of_its_pairs(tmp_path):
    """Of 4 sentences 1, of 1 sentence 1, of 5 none: 2 of 10, though a third of the pairs is untrue throughout."""
    part, whole = RATES["sentences_hallucinated"]
    counted = {"p": (1, 4), "q": (1, 1), "r": (0, 5)}
    folder = tmp_path / "audit_triplets"
    folder.mkdir()
    lines = [
        {"pair_id": pair, "ways": {"one": {"counts": {part: bad, whole: of}}}} for pair, (bad, of) in counted.items()
    ]
    (folder / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rates = {"sentences_hallucinated": {"rate": 0.2, "interval": None, "of": 10}}
    (folder / "audit.json").write_text(json.dumps({"pairs": 3, "not_audited": 1, "ways": {"one": rates}}))
    change_status(tmp_path, state="done")
    (run,) = find_runs(tmp_path)
    assert run.meaning("one/sentences_hallucinated").better == "lower"
    assert run.result["queries"] == {"scored": 3, "expected": 4}
    values = values_by_query(run, ["one/sentences_hallucinated"])["one/sentences_hallucinated"]
    assert values == pytest.approx({"p": 0.2 + 0.2 * 0.3, "q": 0.2 + 0.8 * 0.3, "r": 0.2 - 1.0 * 0.3})
    assert sum(values.values()) / 3 == pytest.approx(0.2)
    assert audited_pairs(tmp_path, "one/recall_at_1") is None
