import random

import numpy as np
import pytest

from diptych.synthetic.newsroom.casting import sample_events
from diptych.synthetic.newsroom.writing import write_article
from diptych.text.sentences import split_sentences


def texts(text: str) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text)]


@pytest.mark.parametrize(
    "sentences",
    [
        (
            "He lives in the U.S. government's care.",
            "It cost 3.5 million dollars.",
            "She moved to the U.S.",
            "He did not.",
        ),
        ("The U.S. Senate voted.", "Washington, D.C. is big.", "So are the U.K. and the E.U. together."),
        ("Mr. Roe, Mrs. Lee and Dr. A. B. Smith met Gen. Ray.", "J. K. Rowling wrote it.", "George W. Bush left."),
        ("Ms. Lee stayed.", "Mx. Roe flew to Ft. Lauderdale.", "“Good,” said Ms. Lee.", "It was approx. 5 miles."),
        (
            "It began at 5 p.m. Friday.",
            "It ended at 7 a.m. EST.",
            "At 9 p.m. he slept.",
            "He woke at 6 p.m.",
            "All left.",
        ),
        ('"I only wanted bread," said Lee.', '"You do not get this!" she said.', '"Really?" asked Roe.', "Then: no."),
        (
            'He asked, "Why? Who? When?" and left.',
            "“It is over.”",
            "The crowd cheered.",
            "'I know,' she said.",
            "Done.",
        ),
        (
            "(They really did.)",
            "And so on...",
            "[Note that.]",
            "Version 2.0 of www.example.com is out.",
            "A rise of $1.2bn.",
        ),
        (
            "On Jan. 5, 2020 he rose vs. the euro.",
            "Apple Inc. said so.",
            "St. Petersburg is old.",
            "No. 5 won.",
            "😀 won.",
        ),
    ],
)
def test_what_ends_a_sentence(sentences):
    assert texts(" ".join(sentences)) == list(sentences)
    assert texts("\n\n".join(sentences)) == list(sentences)


def test_line_breaks():
    assert texts("Hard wrapped\ntext goes on. Next\r\none. ") == ["Hard wrapped\ntext goes on.", "Next\r\none."]
    assert texts("A heading\n\nThe text. \n \n\tMore") == ["A heading", "The text.", "More"]
    assert texts("It ended.\nno capital here") == ["It ended.", "no capital here"]
    assert texts("") == texts(" \n\x0b \u2028") == []


def test_a_quotation_that_is_not_closed_ends_with_its_paragraph():
    # So are speeches of several paragraphs printed.
    text = "He said: “It began. Then it stopped.\n\n“It went on. Then it ended.” Over. Done."
    assert texts(text)[-3:] == ["“It went on. Then it ended.”", "Over.", "Done."]
    text = 'The 6" pipe broke.\nIt leaked. All left.'
    assert texts(text) == ['The 6" pipe broke.', "It leaked.", "All left."]


def test_a_long_quotation_falls_into_its_sentences():
    inside = ["It was a very long day and nobody came to see us at the gate."] * 9
    speech = f'He said: "{" ".join(inside)} It ended." Then "we left." "Yes." Done.'
    assert texts(speech) == [f'He said: "{inside[0]}', *inside[1:], 'It ended."', 'Then "we left."', '"Yes."', "Done."]
    assert len(texts(f'He said: "{" ".join(inside[:3])}" Done.')) == 2


def test_spans_hold_all_that_is_not_blank():
    rng = random.Random(0)
    parts = [
        ". ",
        "! ",
        '"',
        "“",
        "”",
        "(",
        ")",
        "\n",
        "\n\n",
        " ",
        "Ms.",
        "U.S.",
        "3.5",
        "He",
        "ran",
        "x",
        "…",
        "😀",
        "é",
    ]
    parts += ["\x00", "\x0b", "\u2028", "[1]", "'", "’", ":", "A.", "www.a.com", "\r", "\u00a0"]
    for _ in range(3000):
        text = "".join(rng.choices(parts, k=rng.randrange(40)))
        spans = split_sentences(text)
        assert all(text[start:end] == text[start:end].strip() != "" for start, end in spans)
        positions = [position for start, end in spans for position in range(start, end)]
        assert positions == sorted(set(positions))
        left = set(range(len(text))) - set(positions)
        assert "".join(text[position] for position in left).strip() == ""


def test_newsroom_articles_fall_into_the_sentences_they_were_written_in():
    written = found = 0
    for event in sample_events(0, {"train": 10, "val": 1, "test": 1}):
        article = write_article(event, (), np.random.default_rng(event.number))
        written += len(article.sentences)
        found += len(set(article.sentences) & set(texts(article.content)))
    assert found == written


LONG = [
    "It rained on Ms. Lee at 5 p.m. Eastern.",
    "“Never,” he said.",
    '"One. Two," she said.',
    "(It was late.)",
    "橋が開いた。",
]


@pytest.mark.parametrize("unclosed", ["", "“", '"'])
def test_a_long_paragraph_has_the_sentences_of_its_parts_and_is_read_in_bounded_pieces(monkeypatch, unclosed):
    import sentencex

    asked: list[int] = []
    split = sentencex.get_sentence_boundaries
    monkeypatch.setattr(sentencex, "get_sentence_boundaries", lambda *of: asked.append(len(of[1])) or split(*of))
    part = " ".join(LONG)
    text = " ".join([*[part] * 500, unclosed, "The end."])
    found = [text[start:end] for start, end in split_sentences(text)]
    expected = [part[start:end] for start, end in split_sentences(part)]
    assert found[: len(expected) * 380] == expected * 380
    assert max(asked) <= 10_000 and sum(asked) < 2 * len(text)


@pytest.mark.parametrize("text", ["x" * 30_000, "橋" * 30_000, '"' * 30_001, "a " * 30_000])
def test_a_long_paragraph_without_ends_is_whole_between_its_cuts(text):
    spans = split_sentences(text)
    assert [one for span in spans for one in text[slice(*span)] if one.strip()] == [one for one in text if one.strip()]
