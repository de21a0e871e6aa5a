"""Photos of some kinds of event alone."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from diptych.contracts.news import NewsQuery
from diptych.data.news.openevents import OpenEvents
from diptych.synthetic.newsroom import layout
from diptych.synthetic.newsroom.source import Newsroom


def test_queries_are_those_of_the_kinds(tmp_path, monkeypatch):
    event = {"split": "val", "article_id": "a", "sentences": [], "fact_sentences": {}}
    events = [{**event, "query_id": name, "kind": kind} for name, kind in (("p", "flood"), ("q", "cup_final"))]
    (tmp_path / layout.FACTS).write_text(json.dumps({"events": events}))
    queries = [NewsQuery("p"), NewsQuery("q")]
    monkeypatch.setattr(OpenEvents, "queries", lambda self, split: queries)
    assert Newsroom(tmp_path).queries("val") == queries
    assert Newsroom(tmp_path, kinds=["flood"]).queries("val") == queries[:1]
    monkeypatch.setattr(OpenEvents, "articles", lambda self: {"a": SimpleNamespace(text="", article_id="a")})
    assert Newsroom(tmp_path, kinds=["flood"]).facts("val") == {"p": []}
    assert Newsroom(tmp_path).kinds_of_event("val") == {"p": "flood", "q": "cup_final"}
    assert Newsroom(tmp_path, kinds=["flood"]).kinds_of_event("val") == {"p": "flood"}


def test_a_kind_that_is_none_is_said(tmp_path):
    with pytest.raises(ValueError, match="kinds: there is no kind of event 'floods'; there are bridge_opening"):
        Newsroom(tmp_path, kinds=["floods"])
    with pytest.raises(ValueError, match="kinds is empty"):
        Newsroom(tmp_path, kinds=[])
