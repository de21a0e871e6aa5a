"""Pictures of questions that are none: no file that can be read to its end."""

from __future__ import annotations

import os

import pytest

from diptych.annotation.images import PictureForm, content_hash

READERS = [content_hash, PictureForm().message_part, PictureForm().size]
NAMED = {
    "a pipe": os.mkfifo,
    "a link to a pipe": lambda path: (os.mkfifo(f"{path}.pipe"), path.symlink_to(f"{path}.pipe")),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": lambda path: path.mkdir(),
    "a link to itself": lambda path: path.symlink_to(path),
    "nothing": lambda path: None,
}


@pytest.mark.hostile("annotation")
@pytest.mark.parametrize("read", READERS, ids=["hash", "message", "size"])
@pytest.mark.parametrize("make", NAMED.values(), ids=NAMED)
def test_what_is_no_file_is_refused_by_name(tmp_path, make, read):
    path = tmp_path / "a.jpg"
    make(path)
    with pytest.raises(ValueError, match=r"a\.jpg"):
        read(str(path))
