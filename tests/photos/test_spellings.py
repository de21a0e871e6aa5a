"""A missing file is told with what lies there under another spelling."""

from __future__ import annotations

import unicodedata

import pytest

from diptych.photos.image_faults import KeptVerdicts, find_faults
from diptych.photos.images import read_image
from diptych.photos.spellings import spelt_otherwise


def test_what_lies_there_is_named(tmp_path):
    decomposed = unicodedata.normalize("NFD", "é.jpg")
    for name in ("A.JPG", "a.jpeg", "STRASSE.png", decomposed):
        (tmp_path / name).touch()
    assert spelt_otherwise(tmp_path / "a.jpg") == "; there is 'A.JPG', spelt otherwise"
    assert spelt_otherwise(str(tmp_path / "straße.png")) == "; there is 'STRASSE.png', spelt otherwise"
    assert spelt_otherwise(tmp_path / "É.jpg") == f"; there is {decomposed!r}, spelt otherwise"
    for name in ("b.jpg", "none/a.jpg", "a\0.jpg", "x" * 5000):
        assert spelt_otherwise(tmp_path / name) == ""
    (tmp_path / "b.JPG").touch()  # the folder has changed
    assert "'b.JPG'" in spelt_otherwise(tmp_path / "b.jpg")


def test_readers_and_the_doctor_say_so(tmp_path):
    (tmp_path / "A.JPG").touch()
    with pytest.raises(ValueError, match=r"a\.jpg cannot be read: No such file or directory; there is 'A\.JPG'"):
        read_image(tmp_path / "a.jpg")
    with KeptVerdicts(tmp_path / "verdicts.jsonl") as kept:
        (fault,) = find_faults([tmp_path / "a.jpg"], kept, workers=1)
    assert fault.kind == "missing" and "there is 'A.JPG'" in fault.reason
