"""The released rules one by one, on articles made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from diptych.contracts.news import Article, KeyFacts
from diptych.data.news.evidence import EvidenceRequest, EvidenceSelector
from diptych.data.news.published_evidence import PublishedRules, key_terms

OFF = {"whole_article": 0, "shortest_sentence": 0, "evidence": 0, "key_terms": 0, "topic": False}
FACTS = KeyFacts(("Ada Holm", "Bo Lund", "Cy Berg"), (), ("Nesnes",), ("Cup",), ("May",), ("12",))


class FloodEncoder:
    """Texts are near each other by how often they say flood. Keeps what it was asked."""

    name = "flood"

    def __init__(self):
        self.texts = []

    def encode(self, texts):
        self.texts += texts
        angles = np.asarray([0.1 * min(text.lower().count("flood"), 5) for text in texts], np.float32)
        return np.stack([np.sin(angles), np.cos(angles)], axis=1)


def select(text: str, encoder=None, queries=("Flood flood flood flood flood",), max_tokens=10_000, **rules):
    selector = EvidenceSelector(
        encoder or FloodEncoder(), stride=2, rule="published_code", published=PublishedRules(**(OFF | rules))
    )
    request = EvidenceRequest(text, queries, max_tokens)
    (chunks,) = selector.select([request], lambda texts: [len(text.split()) for text in texts])
    return [text[chunk.start : chunk.end] for chunk in chunks], chunks


def numbered(number: int, **said: str) -> str:
    return " ".join(f"Sentence {i:02} says {said.get(f's{i}', 'nothing')}." for i in range(number))


def test_short_articles_are_kept_as_they_are():
    text = numbered(40, s20="flood")
    encoder = FloodEncoder()
    kept, (chunk,) = select(text, encoder, whole_article=len(text), shortest_sentence=40, evidence=10)
    assert kept == [text] and chunk.score is None and encoder.texts == []
    parts, _ = select(text, whole_article=len(text) - 1)
    assert len(parts) > 1 and len(" ".join(parts)) < len(text)


def test_the_budget_of_tokens_holds_for_short_articles_too():
    text = numbered(10)
    assert select(text, whole_article=3000, max_tokens=8)[0] == ["Sentence 00 says nothing. Sentence 01 says nothing."]


def test_short_sentences_are_in_no_window_and_never_kept():
    # "Never!" has 6 characters, "Why so late?" 12, the others 15 or more.
    text = "Ada came first. Never! Bo came second. It was too late. " + numbered(30, s14="flood") + " Why so late?"
    encoder = FloodEncoder()
    kept, _ = select(text, encoder, shortest_sentence=15)
    assert kept[0] == "Ada came first." and kept[1].startswith("Bo came second. It was too late.")
    assert kept[-1] == "Sentence 28 says nothing. Sentence 29 says nothing."
    assert "Ada came first. Bo came second. It was too late." in encoder.texts
    assert not any("Never" in text or "Why" in text for text in encoder.texts)
    # Fifteen characters are enough, fourteen are not.
    assert select("Ada came first. " + numbered(30), shortest_sentence=15)[0][0].startswith("Ada came first.")
    assert select("Ada came last. " + numbered(30), shortest_sentence=15)[0][0].startswith("Sentence 00")


def test_an_article_of_short_sentences_alone_keeps_them():
    text = "No. Yes. Why? So. Then. Now."
    assert select(text, shortest_sentence=15)[0] == [text]


def test_the_evidence_ends_at_the_last_full_stop_of_its_characters():
    text = "Alpha one is here. Beta two stands there! Gamma three left at 5 p.m. in the dark. Delta four came. Five."
    whole = len(text)
    assert select(text, evidence=whole)[0] == [text]
    for limit, end in (
        (whole - 1, "Delta four came."),
        (60, "Alpha one is here."),  # in the third sentence, before any full stop of it; the second has none
        (66, "Gamma three left at 5 p."),  # a full stop that ends no sentence is one too, as released
        (18, "Alpha one is here."),
        (10, "Alpha one "),  # none at all
    ):
        ((kept,), _) = select(text, evidence=limit)
        assert kept == text[: text.index(end) + len(end)], limit
        assert len(kept) <= limit


def test_characters_are_counted_over_the_chosen_sentences_with_a_blank_between_them():
    text = numbered(60, s30="flood flood")
    parts, chunks = select(text)
    joined = " ".join(parts)
    cut, _ = select(text, evidence=len(joined))
    assert cut == parts
    cut, _ = select(text, evidence=len(joined) - 1)
    assert " ".join(cut) == joined[: joined[:-1].rindex(".") + 1]
    assert len(cut) == len(chunks) and cut[:-1] == parts[:-1] and parts[-1].startswith(cut[-1])


def test_the_queries_have_the_released_form():
    text = "The Birchwood Bridge opened. Rain fell on the Birchwood Bridge."
    queries = PublishedRules(**(OFF | {"key_terms": 3})).queries("A man\nwaves.", "Bridge opens", text, FACTS)
    assert queries == (
        "A man waves.",
        "Title context: Bridge opens",
        # bridge 3 + 2, Birchwood Bridge 2 x 2, opens 3: of equal ones the earlier
        "Key terms: bridge, Birchwood Bridge, opens",
        "People involved: Ada Holm, Bo Lund",
        "Locations: Nesnes",
    )
    assert PublishedRules(**OFF).queries(" ", "", "", KeyFacts()) == ()
    assert not any("Key" in query for query in PublishedRules(**OFF).queries("A", "B", text, FACTS))


def test_key_terms_by_hand():
    assert key_terms("", "Storm hits. A storm, the STORM and rain.", 2) == ["storm", "hits"]
    assert key_terms("Rain", "storm storm", 5) == ["rain", "storm"]
    # A name weighs two each time; what begins it is no part of it when it is a common word.
    assert key_terms("", "The Silver Harp won. Then Silver Harp sang.\nSilver\nHarp", 2) == ["Silver Harp", "silver"]
    assert key_terms("", "It was as it was.", 3) == key_terms("A title", "b", 0) == []


def test_a_selector_uses_them_when_they_are_asked_for():
    article = Article("a", "", "Storm", "A hurricane and a flood.", "")
    plain = EvidenceSelector(FloodEncoder())
    assert plain.queries("A boat.", article, FACTS)[:2] == ("A boat.", "Storm") and plain.topic(article) == ""
    ruled = EvidenceSelector(FloodEncoder(), published=PublishedRules())
    assert ruled.queries("A boat.", article, FACTS)[1] == "Title context: Storm"
    assert ruled.topic(article) == "environment"
    assert EvidenceSelector(FloodEncoder(), published=PublishedRules(topic=False)).topic(article) == ""


def test_numbers_below_nothing_are_refused():
    with pytest.raises(ValueError, match=r"published\.evidence=-1 must be 0 \(no such rule\) or more"):
        PublishedRules(evidence=-1)
