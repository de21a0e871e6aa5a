"""An id of any text is the name of a file of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.storage.safe_names import safe_name

IDS = (
    "a" * 150,
    "a" * 151,
    "A",
    "../../etc/passwd",
    "/etc",
    "a/b",
    "a\0b",
    "..",
    ".",
    "",
    "é" * 90,
    "\ud83d",
    "con ",
    "a\n",
)


def test_plain_ids_are_their_own_names():
    assert [safe_name(text) for text in ("0a1b", "photo_1-2.x")] == ["0a1b", "photo_1-2.x"]


@pytest.mark.hostile("further doors")
@pytest.mark.parametrize("text", IDS)
def test_any_id_is_the_name_of_a_file(tmp_path, text):
    (tmp_path / f"lost_{safe_name(text)}_{safe_name(text)}.png").write_bytes(b"x")
    assert len(list(tmp_path.iterdir())) == 1


@given(texts=st.lists(st.text() | st.sampled_from(IDS), unique=True))
def test_different_ids_have_different_names_whatever_the_capitals(texts):
    assert len({safe_name(text).casefold() for text in texts}) == len(texts)
