from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.storage.relative_paths import safe_relative

COMPOSED, APART = (unicodedata.normalize(form, "images/café.jpg") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    "spelling",
    ["images/a.jpg", "./images/a.jpg", "images//a.jpg", "images/./a.jpg", ".//images/a.jpg", "images/a.jpg/"],
)
def test_one_picture_has_one_spelling(spelling):
    assert safe_relative(spelling) == "images/a.jpg"


def test_both_forms_of_unicode_are_one_spelling_and_case_stays():
    assert COMPOSED != APART
    assert safe_relative(COMPOSED) == safe_relative(APART) == COMPOSED
    assert safe_relative("Images/A.JPG") == "Images/A.JPG"


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize(
    "path",
    [
        "",
        " ",
        ".",
        "./",
        "././.",
        "./ ",
        "/a",
        "//a",
        "..",
        "a/../b",
        "./..",
        "C:/a",
        "./C:/a",
        "\u212a:/a",
        "a\\b",
        "a\0",
    ],
)
def test_what_leads_out_or_names_nothing_is_refused(path):
    with pytest.raises(ValueError, match="is refused"):
        safe_relative(path)


_PARTS = st.one_of(st.sampled_from(["", ".", "..", "a", "a.jpg", " ", "C:", "\u212a:", "e\u0301", "\u00e9"]), st.text())


@given(st.lists(_PARTS, max_size=6).map("/".join))
def test_any_path_is_spelt_in_one_way_inside_or_refused(path):
    try:
        spelt = safe_relative(path)
    except ValueError as error:
        assert "is refused" in str(error)
        return
    assert safe_relative(spelt) == spelt
    normal = os.path.normpath(path)  # the system's own view of which file it is
    assert spelt == unicodedata.normalize("NFC", normal)
    assert os.path.normpath(f"/data/{spelt}") == f"/data/{spelt}"


@given(st.lists(st.text("ab", min_size=1, max_size=2), min_size=1, max_size=4), st.data())
def test_equal_files_are_equal_spellings_and_others_are_not(parts, data):
    def respelt(names):
        return "".join(data.draw(st.sampled_from(["", "./", ".//", "././"])) + name + "/" for name in names)

    path = "/".join(parts)
    assert safe_relative(respelt(parts)) == safe_relative(path) == path
    other = data.draw(st.lists(st.text("ab", min_size=1, max_size=2), min_size=1, max_size=4))
    assert (safe_relative(respelt(other)) == path) == (other == parts)
