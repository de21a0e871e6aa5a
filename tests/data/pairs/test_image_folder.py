from __future__ import annotations

import json
import unicodedata

import pytest

from diptych.data.pairs.image_folder import ImageFolder


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos/x").mkdir(parents=True)
    for name in ("x/a.jpg", unicodedata.normalize("NFD", "x/é.jpg")):
        (tmp_path / "photos" / name).write_bytes(b"x")
    return tmp_path / "photos"


def test_ids_have_one_spelling_and_files_keep_theirs(folder):
    first, second = ImageFolder(folder).gallery()
    assert (first.image_id, second.image_id) == ("x/a.jpg", unicodedata.normalize("NFC", "x/é.jpg"))
    assert second.path.is_file()


def test_labels_may_spell_paths_in_their_own_way(folder):
    labels = folder.parent / "labels.json"
    labels.write_text(json.dumps({"./x//a.jpg": "one", unicodedata.normalize("NFD", "x/é.jpg"): "two"}))
    pictures = ImageFolder(folder, str(labels))
    assert list(pictures.group_of([image.image_id for image in pictures.gallery()]).values()) == ["one", "two"]


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"x/a.jpg": "one", "./x/a.jpg": "two"}, "labels.json names 'x/a.jpg' twice, in two spellings"),
        ({"../a.jpg": "one"}, r"labels.json: image path '\.\./a.jpg' is refused"),
        ({"a": "one"}, "no label for 1 of 1 images, first 'x/a.jpg'; it has one for 'a', for example"),
    ],
)
def test_labels_of_no_use_are_refused(folder, labels, message):
    path = folder.parent / "labels.json"
    path.write_text(json.dumps(labels))
    with pytest.raises(ValueError, match=message):
        ImageFolder(folder, str(path)).group_of(["x/a.jpg"])


def test_two_files_of_one_id_are_refused(folder):
    (folder / unicodedata.normalize("NFC", "x/é.jpg")).write_bytes(b"x")
    if len(list((folder / "x").iterdir())) < 3:
        pytest.skip("this file system takes both forms for one name")
    with pytest.raises(ValueError, match="photos names 'x/é.jpg' twice"):
        ImageFolder(folder).gallery()
