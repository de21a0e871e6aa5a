import random
from itertools import pairwise

import numpy as np
import pytest

from diptych.contracts.news import Chunk, KeyFacts
from diptych.data.news.evidence import EvidenceRequest, EvidenceSelector, evidence_queries
from diptych.text.sentences import split_sentences

WORDS = ["river", "bank", "flood", "mayor", "town", "bridge", "boat", "water", "people", "night", "school", "help"]


class WordEncoder:
    """Counts of words: texts that share words are near. Keeps what it was asked."""

    name = "words"

    def __init__(self):
        self.calls = []

    def encode(self, texts):
        self.calls.append(list(texts))
        counts = [[text.lower().replace(".", "").split().count(word) for word in WORDS] for text in texts]
        vectors = np.asarray(counts, np.float32) + np.float32(0.01)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def count_words(texts):
    return [len(text.split()) for text in texts]


def article(num_sentences: int, seed: int = 0) -> str:
    rng = random.Random(seed)
    sentences = (" ".join(rng.choices(WORDS, k=rng.randrange(3, 9))).capitalize() + "." for _ in range(num_sentences))
    return "".join(sentence + rng.choice((" ", "\n\n")) for sentence in sentences)


def numbered(num_sentences: int, **said: str) -> str:
    """Sentences without a known word, but for those `said`: s12="flood" is the thirteenth."""
    return " ".join(f"Sentence {i} says {said.get(f's{i}', 'nothing')}." for i in range(num_sentences))


def selected(text: str, chunks: tuple[Chunk, ...]) -> list[list[str]]:
    """The sentences of each chunk."""
    return [[text[a:b] for a, b in split_sentences(text) if chunk.start <= a and b <= chunk.end] for chunk in chunks]


def select(text, queries=("Flood",), max_tokens=10_000, whole=False, **settings):
    selector = EvidenceSelector(WordEncoder(), **settings)
    return selector.select([EvidenceRequest(text, queries, max_tokens, whole)], count_words)[0]


def expected_sentences(text, queries, num_sentences, stride, top_k, first, last, rule) -> set[int]:
    """The rule written plainly, a window at a time."""
    encoder, spans = WordEncoder(), split_sentences(text)
    scores = []
    for start in range(0, max(len(spans) - num_sentences, 0) + 1, stride):
        window = text[spans[start][0] : spans[min(start + num_sentences, len(spans)) - 1][1]]
        near = max(float(encoder.encode([window])[0] @ encoder.encode([query])[0]) for query in queries)
        scores.append((round(near, 5), -start))
    number = top_k if rule == "paper" else min(max(5, int(0.3 * len(scores))), 10)
    best = sorted(scores, reverse=True)[:number]
    chosen = {-start + i for _, start in best for i in range(num_sentences)}
    chosen |= set(range(first)) | set(range(len(spans) - last, len(spans)))
    return {i for i in chosen if 0 <= i < len(spans)}


@pytest.mark.parametrize("rule", ["paper", "published_code"])
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (1, 1), (2, 3)])
def test_equal_to_the_rule_written_plainly(rule, size, stride):
    for seed in range(25):
        text = article(seed * 3, seed)
        chunks = select(text, ("Flood mayor", "School night"), num_sentences=size, stride=stride, rule=rule)
        spans = split_sentences(text)
        kept = {i for i, (a, b) in enumerate(spans) if any(chunk.start <= a and b <= chunk.end for chunk in chunks)}
        assert kept == (
            expected_sentences(text, ("Flood mayor", "School night"), size, stride, 5, 3, 2, rule) if spans else set()
        )
        # Chunks are whole sentences in order, and never touch.
        starts, ends = {a: i for i, (a, _) in enumerate(spans)}, {b: i for i, (_, b) in enumerate(spans)}
        for before, after in pairwise(chunks):
            assert starts[after.start] > ends[before.end] + 1


def test_chunks_carry_the_best_score_of_their_windows():
    text = numbered(30, s12="flood", s20="flood flood water")
    chunks = select(text, top_k=1)
    # The best window begins as early as it can; the others are the first and the last sentences.
    assert [len(part) for part in selected(text, chunks)] == [3, 3, 2]
    assert chunks[1].start == text.index("Sentence 10")
    assert chunks[0].score is None and chunks[2].score is None
    assert chunks[1].score == 1.0
    merged = select(numbered(5, s2="flood"), top_k=1)
    assert [(chunk.start, chunk.score) for chunk in merged] == [(0, chunks[1].score)]


def test_the_published_number_of_windows():
    def windows(num_sentences: int) -> int:
        # One sentence a window, all different from each other: as many as there are chosen windows.
        chunks = select(
            numbered(num_sentences), num_sentences=1, first_sentences=0, last_sentences=0, rule="published_code"
        )
        return sum(map(len, selected(numbered(num_sentences), chunks)))

    assert [windows(n) for n in (3, 10, 19, 20, 23, 33, 34, 100)] == [3, 5, 5, 6, 6, 9, 10, 10]


def test_batched_is_one_by_one_with_a_single_call():
    encoder = WordEncoder()
    selector = EvidenceSelector(encoder)
    requests = [EvidenceRequest(article(n, n), (f"{WORDS[n % 9]} town", "Help"), 15 + 4 * n) for n in range(40)]
    requests += [
        requests[7],
        EvidenceRequest(requests[7].article_text, ("Boat",), 30),
        EvidenceRequest(" \n", ("a",), 9),
    ]
    together = selector.select(requests, count_words)
    (asked,) = encoder.calls
    assert len(asked) == len(set(asked))
    assert together == [selector.select([request], count_words)[0] for request in requests]
    assert together[7] == together[40] and together[-1] == ()


def test_the_budget_takes_sentences_by_their_scores_as_long_as_there_is_room():
    text = article(40, 3)
    everything = select(text, ("Flood mayor",))
    total = sum(count_words(text[c.start : c.end] for c in everything))
    spans = split_sentences(text)
    encoder, scores = WordEncoder(), np.full(len(spans), -np.inf)
    for start in range(len(spans) - 2):
        (window, query) = encoder.encode([text[spans[start][0] : spans[start + 2][1]], "Flood mayor"])
        scores[start : start + 3] = np.maximum(scores[start : start + 3], np.round(window @ query, 5))
    chosen = {i for i, (a, b) in enumerate(spans) if any(c.start <= a and b <= c.end for c in everything)}
    ranked = sorted(chosen, key=lambda i: (-scores[i], i))
    for budget in range(total + 1):
        chunks = select(text, ("Flood mayor",), budget)
        assert len(" ".join(text[c.start : c.end] for c in chunks).split()) <= budget
        kept = {i for i, (a, b) in enumerate(spans) if any(c.start <= a and b <= c.end for c in chunks)}
        expected, room = set(), budget
        for number in ranked:
            (words,) = count_words([text[slice(*spans[number])]])
            if words <= room:
                expected.add(number)
                room -= words
            elif not expected and number == ranked[0]:
                break  # the best is cut
        assert kept == expected
    assert chunks == everything
    only = select(numbered(30, s12="flood"), ("Flood",), 3 * 4)
    assert [part[0] for part in selected(numbered(30, s12="flood"), only)] == ["Sentence 10 says nothing."]


def test_as_many_sentences_as_fit_whatever_the_tokenizer_does():
    def letters(texts):
        return [len(text) for text in texts]

    text = article(40, 5)
    selector = EvidenceSelector(WordEncoder())
    for budget in range(50, 900, 50):
        (chunks,) = selector.select([EvidenceRequest(text, ("Flood",), budget)], letters)
        assert letters([" ".join(text[c.start : c.end] for c in chunks)])[0] <= budget
        (more,) = selector.select([EvidenceRequest(text, ("Flood",), budget + 60)], letters)
        assert sum(map(len, selected(text, more))) >= sum(map(len, selected(text, chunks)))


def test_a_sentence_longer_than_the_budget_is_cut_around_what_is_looked_for():
    text = "The flood took the bridge, the school and the boat. Nobody saw it."
    chunks = select(text, ("Flood bridge school",), 4, num_sentences=1)
    assert [text[chunk.start : chunk.end] for chunk in chunks] == ["flood took the bridge,"]
    assert chunks[0].score is not None
    published = select(text, ("Flood bridge school",), 4, num_sentences=1, rule="published_code")
    assert [text[chunk.start : chunk.end] for chunk in published] == ["The flood took the"]
    assert select(text, max_tokens=0) == select(text, max_tokens=-5) == ()
    assert [text[c.start : c.end] for c in select(text, max_tokens=3, whole=True)] == ["The flood took"]


def test_the_whole_article_goes_from_the_start_as_far_as_there_is_room():
    text = numbered(30, s20="flood")
    encoder = WordEncoder()
    requests = [EvidenceRequest(text, ("Flood",), budget, whole=True) for budget in (10_000, 41, 40)]
    everything, ten, exact = EvidenceSelector(encoder).select(requests, count_words)
    assert everything == (Chunk(0, len(text)),)
    assert ten == exact == (Chunk(0, text.index(" Sentence 10")),)
    assert encoder.calls == []


def test_without_queries_only_the_first_and_last_sentences():
    text = numbered(30)
    assert [len(part) for part in selected(text, select(text, ()))] == [3, 2]
    assert select(" \n ", ()) == select("") == ()


def test_queries():
    facts = KeyFacts(("A", "B", "C"), ("O",), (), ("E",), ("May",), ("12",))
    queries = evidence_queries("A man\nwaves. ", "Flood", facts)
    assert queries == ("A man waves.", "Flood", "People: A, B", "Organisations: O", "Events: E")
    assert evidence_queries(" ", "", KeyFacts()) == ()
    assert evidence_queries("Same", "Same", KeyFacts(places=("X", "Y"))) == ("Same", "Places: X, Y")


def test_settings_are_checked():
    for settings in ({"stride": 0}, {"num_sentences": 0}, {"top_k": 0}, {"last_sentences": -1}):
        (name,) = settings
        with pytest.raises(ValueError, match=f"{name}=-?[01] is too small"):
            EvidenceSelector(WordEncoder(), **settings)
    with pytest.raises(ValueError, match="rule='best' is not known; choose paper or published_code"):
        EvidenceSelector(WordEncoder(), rule="best")


LINES = [f"{hour}:00 The mayor opened bridge number {hour} of the town on Monday" for hour in range(80)]
LINES.insert(60, "The ceremony in the school was attended by many people")


@pytest.mark.parametrize(
    "end", ["\n", "\r\n", "\r", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "; ", "\t", ". ", " • "]
)
def test_what_is_looked_for_is_found_in_lists(end):
    text = end.join(LINES) + "."
    chunks = select(text, ("Many people at a school",), 200)
    assert any("attended by many people" in text[chunk.start : chunk.end] for chunk in chunks)
    assert len(chunks) > 1
    assert count_words([" ".join(text[chunk.start : chunk.end] for chunk in chunks)])[0] <= 200


@pytest.mark.parametrize(
    "text",
    ["橋の開通式が行われた" * 400, "สะพานเปิดในวันจันทร์" * 200, "TWFuIGlzIGRpc3Rpbmd1aXNoZWQ" * 300, "word " * 3000,
     "a\u0301" * 2000, "👩\u200d👩\u200d👧" * 300, "x" * 10_000],
    ids=["Japanese", "Thai", "base64", "no end", "accents", "families", "one word"],
)  # fmt: skip
def test_texts_without_ends_or_blanks_give_evidence(text):
    def letters(texts):
        return [len(text) for text in texts]

    selector = EvidenceSelector(WordEncoder())
    for budget in (40, 300, 1000):
        (chunks,) = selector.select([EvidenceRequest(text, ("flood",), budget)], letters)
        found = " ".join(text[chunk.start : chunk.end] for chunk in chunks)
        assert budget / 4 < len(found) <= budget
