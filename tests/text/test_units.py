import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.text.sentences import split_sentences
from diptych.text.units import _LONGEST, _weight, split_units, word_spans


def units(text: str) -> list[str]:
    return [text[start:end] for start, end in split_units(text)]


LINE_ENDS = ["\n", "\r\n", "\r", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"]
SHORT = ["The mayor opened the bridge on Monday, and all came to see it.", "It rained.", "“Never,” said Ms. Lee."]


def test_sentences_that_an_encoder_reads_whole_stay():
    text = " ".join(SHORT) + "\n\nA heading\n\n" + "\n".join(SHORT)
    assert split_units(text) == split_sentences(text)
    assert units("a short list\nof two lines") == ["a short list\nof two lines"]


@pytest.mark.parametrize("end", [*LINE_ENDS, "; ", "；", "\t", " • "])
def test_lines_clauses_and_cells_of_long_texts(end):
    lines = [f"{number} the name of one entry of the list, without an end" for number in range(30)]
    assert [unit.strip(";；• ") for unit in units(end.join(lines))] == lines


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\n"])
def test_other_line_ends_end_lines(end):
    assert units(f"It ended.{end}no capital here") == ["It ended.", "no capital here"]
    assert units(f"A heading{end}{end}The text.") == ["A heading", "The text."]


def test_long_lines_fall_into_as_many_words_as_an_encoder_reads():
    text = "word " * 1000
    found = units(text)
    assert len(set(found[:-1])) == 1 and len(found[0].split()) == 102 and " ".join(found) == text.strip()


PARTS = [
    "word " * 60,
    "x" * 700,
    "橋" * 300,
    "\n",
    "; ",
    "\u2028",
    ". ",
    "a\u0301" * 90,
    "👩\u200d👧" * 80,
    '"',
    "\r\n",
]


@given(st.lists(st.one_of(st.text(), st.sampled_from(PARTS)), max_size=20))
def test_units_are_bounded_and_hold_all_that_is_not_blank(parts):
    text = "".join(parts)
    place = 0
    for start, end in split_units(text):
        assert place <= start < end and not text[place:start].strip()
        assert text[start:end] == text[start:end].strip()
        assert _weight(text, start, end) <= _LONGEST or len(word_spans(text, start, end)) == 1
        place = end
    assert not text[place:].strip()


@pytest.mark.hostile("limits")
@pytest.mark.parametrize(
    "text", ["x" * 200_000, "橋" * 100_000, "a b " * 100_000, ";" * 100_000, '"' * 100_000, " " * 200_000,
             "\n" * 100_000, "( " * 50_000, "Ms. " * 20_000, "\u0301" * 100_000, "\u200d" * 100_000],
    ids=lambda text: ascii(text[:4]),
)  # fmt: skip
def test_long_texts_are_cut_in_time(text):
    split_units(text)
