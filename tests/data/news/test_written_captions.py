"""Captions of a model that are trained on: those whose claims are all supported."""

from __future__ import annotations

import json
import logging

import pytest

from diptych.contracts.news import Evidence, NewsQuery
from diptych.data.news.fusion_cache import PreparedQuery
from diptych.data.news.prompt import evidence_text
from diptych.data.news.written_captions import WrittenCaptions

EVIDENCE = Evidence("a", "A bridge", "", "Anna Brown opened it.")
QUERIES = [NewsQuery(f"q{place}", ("A reference.", "Another.")) for place in range(5)]
CLAIMS = {"q0": (0, 2), "q1": (1, 2), "q2": (0, 0), "q3": (0, 1)}  # unsupported, all; q4 was not written of


def written(path, **changes) -> WrittenCaptions:
    records = [
        {"query_id": name, "caption": f"Caption {name}.", "evidence": evidence_text(EVIDENCE)}
        | {"unsupported_claims": wrong, "claims": number}
        | changes
        for name, (wrong, number) in CLAIMS.items()
    ]
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return WrittenCaptions(path)


def test_supported_captions_stand_in_the_place_of_the_references(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    kept = written(tmp_path / "p.jsonl").of(QUERIES)
    assert {one.query_id: one.reference_captions for one in kept} == {"q0": ("Caption q0.",), "q3": ("Caption q3.",)}
    assert "2 of 5 photos are trained on" in caplog.text


def test_where_none_is_supported_there_is_nothing_to_train_on(tmp_path):
    with pytest.raises(ValueError, match="no caption of these photos is supported by its evidence"):
        written(tmp_path / "p.jsonl", caption=" ").of(QUERIES)


def test_captions_that_were_not_chosen_by_support_are_refused(tmp_path):
    (tmp_path / "p.jsonl").write_text(json.dumps({"query_id": "q0", "caption": "A.", "evidence": ""}) + "\n")
    with pytest.raises(ValueError, match=r"p\.jsonl.*generation\.choice=support"):
        WrittenCaptions(tmp_path / "p.jsonl").of(QUERIES)


def test_other_evidence_than_the_caption_was_written_from_names_the_photo(tmp_path):
    captions = written(tmp_path / "p.jsonl")
    captions.check_evidence([PreparedQuery("q0", "", EVIDENCE, ("Caption q0.",), (1,), ((1,),))])
    other = Evidence("a", "A bridge", "", "It was late.")
    with pytest.raises(ValueError, match=r"photo 'q0' was written from other evidence"):
        captions.check_evidence([PreparedQuery("q0", "", other, ("Caption q0.",), (1,), ((1,),))])
