"""Any text in any field of what users bring is read, written, and read again as the same, and results are written."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from diptych.data.news.captions_file import read_captions
from diptych.data.triplets.triplet_jsonl import TripletJSONL
from diptych.loggers.metrics_csv import MetricsCSV
from diptych.ranking.predictions_file import read_rankings
from diptych.results.record import EvaluationRecord
from diptych.storage.json_files import read_json, read_json_lines
from diptych.storage.json_values import encodable
from diptych.storage.record_log import RecordLog

# Halves of surrogate pairs, control characters, separators, bidirectional marks; and all else.
TEXTS = st.text(st.characters() | st.sampled_from("\ud83d\ude00\0\x07\x1b\x0c\x7f\x85\u2028\u202e\u200b\ufeff\\\"'<,"))


@given(TEXTS, TEXTS, TEXTS)
def test_own_triplets(tmp_path_factory, query_id, text, other):
    folder = tmp_path_factory.mktemp("own")
    record = {"query_id": f"q{query_id}", "reference_image": "a.png", "modification_texts": [f"x{text}", other]}
    (folder / "train.jsonl").write_text(json.dumps({**record, "target_image": "b.png"}))
    (first,) = TripletJSONL(folder).triplets("train")
    assert first.query_id == encodable(f"q{query_id}")
    assert first.modification_texts[0] == encodable(f"x{text}")
    again = {**record, "query_id": first.query_id, "modification_texts": list(first.modification_texts)}
    RecordLog(folder / "train.jsonl").write([{**again, "target_image": "b.png"}])
    assert TripletJSONL(folder).triplets("train") == [first]


@given(TEXTS, TEXTS)
def test_captions_and_predictions(tmp_path_factory, query_id, text):
    folder = tmp_path_factory.mktemp("predictions")
    (folder / "a.json").write_text(json.dumps({query_id: text}))
    (folder / "b.json").write_text(json.dumps({query_id: [text, 3]}))
    assert read_captions(folder / "a.json") == {encodable(query_id): encodable(text)}
    assert read_rankings(folder / "b.json").lists == {encodable(query_id): [encodable(text), "3"]}


@given(TEXTS, TEXTS, st.booleans())
def test_results_and_logs_are_written_whatever_their_texts_hold(tmp_path_factory, name, text, captions):
    """Also where a text did not come in through a reader."""
    folder: Path = tmp_path_factory.mktemp("results")
    record = EvaluationRecord(
        {"experiment": text, "data": [name], "split": "val"},
        1,
        1,
        {name: 1.0},
        {},
        lines={name: text} if captions else None,
        values=[{"query_id": text, name: 1.0}] if name != "query_id" else [],
        predictions=[{"query_id": text, "caption": name}],
        signatures=[text],
        versions={},
    )
    record.write(folder)
    assert read_json(folder / "metrics.json")["experiment"] == encodable(text)
    assert read_json_lines(folder / "predictions.jsonl") == [{"query_id": encodable(text), "caption": encodable(name)}]
    MetricsCSV(str(folder)).log_metrics({f"val/{name}": 1.0}, step=0)
    MetricsCSV(str(folder)).resume_from(1)
