"""Which files of a folder are its images, and what they are called."""

from __future__ import annotations

import json
import os
import socket
import unicodedata

import pytest

from diptych.data.pairs.image_folder import ImageFolder


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "photos"
    (root / "sub").mkdir(parents=True)
    (root / "b.jpg").write_bytes(b"x")
    (root / "sub/a.PNG").write_bytes(b"x")
    (root / ".hidden.jpg").write_bytes(b"x")
    (root / "notes.txt").write_bytes(b"x")
    (root / "folder.jpg").mkdir()
    return root


def ids(folder):
    return [image.image_id for image in ImageFolder(folder).gallery()]


def test_images_by_their_paths_and_nothing_said_where_all_is_well(folder, caplog):
    assert ids(folder) == ["b.jpg", "sub/a.PNG"]
    assert caplog.records == []


def _outside(folder):
    (folder.parent / "secret.jpg").write_bytes(b"x")
    return folder.parent / "secret.jpg"


ODD = {
    "a link to a photo elsewhere": lambda folder, path: path.symlink_to(_outside(folder)),
    "a relative link out": lambda folder, path: path.symlink_to(f"../{_outside(folder).name}"),
    "a link to a link out": lambda folder, path: (
        (folder / ".x").symlink_to(_outside(folder)),
        path.symlink_to(".x"),
    ),
    "a link to nothing": lambda folder, path: path.symlink_to("gone"),
    "a link to itself": lambda folder, path: path.symlink_to(path.name),
    "endless zeros": lambda folder, path: path.symlink_to("/dev/zero"),
    "a pipe": lambda folder, path: os.mkfifo(path),
    "a link to a pipe": lambda folder, path: (os.mkfifo(folder / "p"), path.symlink_to("p")),
    "a socket": lambda folder, path: socket.socket(socket.AF_UNIX).bind(path.name),
}


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize("kind", ODD)
def test_what_leads_out_or_is_no_file_is_passed_over_aloud(folder, monkeypatch, caplog, kind):
    monkeypatch.chdir(folder)  # a socket's name is short
    ODD[kind](folder, folder / "odd.jpg")
    assert ids(folder) == ["b.jpg", "sub/a.PNG"]
    assert "1 entries are passed over, first 'odd.jpg'" in caplog.text


@pytest.mark.hostile("hostile files")
def test_a_name_that_is_no_text_is_passed_over_aloud(folder, caplog):
    with open(os.fsencode(folder) + b"/\xff.jpg", "wb"):  # noqa: PTH123
        pass
    assert ids(folder) == ["b.jpg", "sub/a.PNG"]
    assert "passed over" in caplog.text


@pytest.mark.hostile("hostile files")
def test_a_linked_folder_is_not_entered(folder, tmp_path, caplog):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/secret.jpg").write_bytes(b"x")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    assert ids(folder) == ["b.jpg", "sub/a.PNG"]


def test_links_within_the_folder_are_images(folder, caplog):
    (folder / "again.jpg").symlink_to("b.jpg")
    assert ids(folder) == ["again.jpg", "b.jpg", "sub/a.PNG"]
    assert caplog.records == []


def test_nothing_but_links_out_is_no_image(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (tmp_path / "photos/a.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(ValueError, match="holds no image"):
        ids(tmp_path / "photos")


@pytest.fixture
def spelled(tmp_path):
    (tmp_path / "photos/x").mkdir(parents=True)
    for name in ("x/a.jpg", unicodedata.normalize("NFD", "x/é.jpg")):
        (tmp_path / "photos" / name).write_bytes(b"x")
    return tmp_path / "photos"


def test_ids_have_one_spelling_and_files_keep_theirs(spelled):
    first, second = ImageFolder(spelled).gallery()
    assert (first.image_id, second.image_id) == ("x/a.jpg", unicodedata.normalize("NFC", "x/é.jpg"))
    assert second.path.is_file()


def test_labels_may_spell_paths_in_their_own_way(spelled):
    labels = spelled.parent / "labels.json"
    labels.write_text(json.dumps({"./x//a.jpg": "one", unicodedata.normalize("NFD", "x/é.jpg"): "two"}))
    pictures = ImageFolder(spelled, str(labels))
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
def test_labels_of_no_use_are_refused(spelled, labels, message):
    path = spelled.parent / "labels.json"
    path.write_text(json.dumps(labels))
    with pytest.raises(ValueError, match=message):
        ImageFolder(spelled, str(path)).group_of(["x/a.jpg"])


def test_two_files_of_one_id_are_refused(spelled):
    (spelled / unicodedata.normalize("NFC", "x/é.jpg")).write_bytes(b"x")
    if len(list((spelled / "x").iterdir())) < 3:
        pytest.skip("this file system takes both forms for one name")
    with pytest.raises(ValueError, match="photos names 'x/é.jpg' twice"):
        ImageFolder(spelled).gallery()
