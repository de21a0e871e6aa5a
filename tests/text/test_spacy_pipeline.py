from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from diptych.text import spacy_pipeline
from diptych.text.spacy_pipeline import _starts


def test_texts_of_any_usual_length_are_one_piece():
    assert _starts("") == [0, 0] and _starts("a" * 100_000) == [0, 100_000]
    assert _starts("a" * 100_001) == [0, 100_000, 100_001]


def test_pieces_end_behind_paragraphs_lines_sentences_or_words():
    for end in ("\n\n", "\n", ". ", " "):
        text = ("word " * 3).strip().join([end] * 40_000)
        starts = _starts(text)
        assert len(starts) > 3 and all(text[:start].endswith(end) for start in starts[1:-1])


@given(st.text(alphabet="ab \n.", max_size=300), st.integers(1, 20))
def test_pieces_are_bounded_and_hold_all(text, longest):
    usual, spacy_pipeline._LONGEST = spacy_pipeline._LONGEST, longest
    try:
        starts = _starts(text)
    finally:
        spacy_pipeline._LONGEST = usual
    assert starts[0] == 0 and starts[-1] == len(text)
    assert all(0 < after - before <= longest for before, after in pairwise(starts)) or starts == [0, 0]
