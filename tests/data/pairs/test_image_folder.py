"""Which files of a folder are its images."""

from __future__ import annotations

import os
import socket

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
