"""Every reader of the house agrees on what a picture is, and how it stands."""

from __future__ import annotations

import ast
import os
import socket
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from odd_pictures import (
    HEIGHT,
    PIXELS,
    READERS,
    SIZES,
    TURNED_PICTURES,
    UPRIGHT,
    WIDTH,
    chunk,
    colours,
    in_jpeg,
    in_png,
    saved,
    segment,
)
from PIL import Image

import diptych
from diptych.photos import picture_data
from diptych.photos.image_faults import KeptVerdicts, find_faults
from diptych.photos.images import read_image
from diptych.photos.photo_file import photo_size, read_photo
from diptych.photos.picture_data import UnreadablePicture, read_bytes
from each_once import each_once

hostile = pytest.mark.hostile("hostile files")


# ---------------------------------------------------------------------------------------------------- odd, but whole


@hostile
@pytest.mark.parametrize(("kind", "reader"), each_once([*UPRIGHT, *TURNED_PICTURES], list(READERS)))
def test_metadata_and_what_lies_behind_decide_nothing(tmp_path, kind, reader):
    path = tmp_path / "a.picture"
    turned = kind in TURNED_PICTURES
    path.write_bytes((TURNED_PICTURES if turned else UPRIGHT)[kind]())
    found = READERS[reader](path)
    if reader in SIZES:
        assert found == ((HEIGHT, WIDTH) if turned else (WIDTH, HEIGHT))
    elif reader in PIXELS:
        expected = np.asarray(colours().transpose(Image.Transpose.ROTATE_270) if turned else colours())
        assert found.shape == expected.shape
        assert np.abs(found.astype(int) - expected).mean() < 4  # JPEG's own loss


@hostile
@pytest.mark.parametrize("reader", [*PIXELS, *SIZES])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_gray_of_16_bits_is_scaled_by_all(tmp_path, kind, reader):
    values = (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * 13).astype(np.uint16)
    (tmp_path / "a").write_bytes(saved(kind, Image.fromarray(values)))
    found = READERS[reader](tmp_path / "a")
    if reader in SIZES:
        assert found == (WIDTH, HEIGHT)
    else:
        assert np.abs(found[:, :, 1].astype(int) - values // 257).max() < 12  # JPEG's own loss
        assert found[:, :, 1].max() > 200


def test_fast_and_exact_are_the_same_pixels_of_odd_jpegs(tmp_path):
    for kind, made in {**UPRIGHT, **TURNED_PICTURES}.items():
        (tmp_path / "a").write_bytes(made())
        fast, exact = read_image(tmp_path / "a"), read_image(tmp_path / "a", "exact")
        assert fast.equal(exact), kind


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_all_stand_upright(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "a").write_bytes(saved(kind, exif=exif, quality=95))
    shapes = {name: read(tmp_path / "a").shape[:2] for name, read in PIXELS.items()}
    assert {shape[::-1] for shape in shapes.values()} == {read(tmp_path / "a") for read in SIZES.values()}
    (first, *others) = (read(tmp_path / "a").astype(int) for name, read in PIXELS.items() if name != "data_url")
    assert all(np.abs(first - other).max() <= 2 for other in others)


# ---------------------------------------------------------------------------------------------------- refused


def _scans(number: int) -> bytes:
    data = saved("JPEG", progressive=True)
    begin = data.rfind(b"\xff\xda")
    return data[:begin] + data[begin:-2] * number + data[-2:]


REFUSED = {
    "empty": lambda: b"",
    "text": lambda: b"<html>404</html>",
    "a jpeg that stops early": lambda: saved("JPEG")[:-200],
    "a jpeg that stops early, zeros behind it": lambda: saved("JPEG")[:-200] + bytes(5000),
    "a jpeg that stops early, another picture behind it": lambda: saved("JPEG")[:-200] + saved("JPEG"),
    "a jpeg that stops within a segment": lambda: in_jpeg(segment(0xE1, bytes(60_000)))[:30_000] + b"\xff\xd9",
    "a jpeg of 200 scans": lambda: _scans(200),
    "an eps": lambda: saved("EPS"),
    "a png that stops early": lambda: saved("PNG")[:-900],
    "a png with damaged pixels": lambda: saved("PNG")[:60] + b"xx" + saved("PNG")[62:],
    "a png, the length of a text goes beyond it": lambda: in_png(struct.pack(">I", 2**31 - 1) + b"tEXtabc"),
    "a png that is a bomb": lambda: (
        saved("PNG")[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)) + saved("PNG")[33:]
    ),
    "a bomb": lambda: b"P5\n70000 70000\n255\n",
    "gray without a defined white": lambda: saved("TIFF", Image.fromarray(np.array([[0.0, 0.5]], np.float32))),
}


@hostile
@pytest.mark.parametrize(("kind", "reader"), each_once(list(REFUSED), [name for name in READERS if name not in SIZES]))
def test_what_is_no_picture_is_refused_by_all_in_the_same_words(tmp_path, kind, reader):
    path = tmp_path / "a.picture"
    path.write_bytes(REFUSED[kind]())
    with pytest.raises(ValueError, match=r"a\.picture"):
        READERS[reader](path)


def test_a_jpeg_is_searched_for_its_end_in_no_time(tmp_path):
    """Each 0xFF of the coded pixels and each segment is looked at once."""
    data = saved("JPEG")
    (tmp_path / "a").write_bytes(data[:-2] + b"\xff\x00" * 4_000_000 + b"\xff\xd9" + bytes(50_000_000))
    assert photo_size(tmp_path / "a") == (WIDTH, HEIGHT)


# ---------------------------------------------------------------------------------------------------- no files


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.write(saved("JPEG"))
        file.truncate(2**40)


SPECIAL = {
    "a pipe": (_pipe, "it is a pipe; name a file"),
    "a link to a pipe": (lambda path: (_pipe(path.with_name("p")), path.symlink_to("p")), "it is a pipe"),
    "a socket": (_socket, "it is a socket"),
    "endless zeros": (lambda path: path.symlink_to("/dev/zero"), "it is a device"),
    "nothing": (lambda path: path.symlink_to("/dev/null"), "it is a device"),
    "a folder": (Path.mkdir, "it is a folder"),
    "a terabyte of zeros": (_huge, "has more than 256 MiB; make it smaller"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "cannot be read: Too many levels"),
    "a link to nothing": (lambda path: path.symlink_to("gone"), "cannot be read: No such file"),
}


@hostile
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, monkeypatch, kind, reader):
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    make, message = SPECIAL[kind]
    path = Path("a.jpg")
    make(path)
    with pytest.raises(ValueError, match=r"a\.jpg") as raised:
        READERS[reader](path)
    if reader != "thumbnails":
        assert message in str(raised.value)


@hostile
@pytest.mark.parametrize("name", ["a\0b.jpg", "x" * 5000])
def test_names_that_no_file_has(name):
    with pytest.raises(UnreadablePicture, match="cannot be read"):
        read_bytes(name)


def test_a_file_that_grows_while_it_is_read_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_data, "MOST_BYTES", 10)
    (tmp_path / "a").write_bytes(bytes(11))
    monkeypatch.setattr(os, "fstat", lambda _: os.stat_result([0] * 10))
    with pytest.raises(UnreadablePicture, match="more than 0 MiB"):
        read_bytes(tmp_path / "a")


@hostile
def test_the_doctor_names_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with KeptVerdicts(tmp_path / "verdicts.jsonl") as kept:
        (fault,) = find_faults([tmp_path / "a.jpg"], kept, workers=1)
    assert fault.kind == "unreadable" and "a pipe" in fault.reason


def test_verdicts_under_earlier_rules_do_not_count(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(UPRIGHT["png, a long packed text"]())
    status = path.stat()
    old = f'["{path}",{status.st_size},{status.st_mtime_ns},"truncated or damaged"]\n'
    (tmp_path / "verdicts.jsonl").write_text(old)
    for _ in range(2):
        with KeptVerdicts(tmp_path / "verdicts.jsonl") as kept:
            assert find_faults([path], kept, workers=1) == []
    assert (tmp_path / "verdicts.jsonl").read_text().count("\n") == 2


# ---------------------------------------------------------------------------------------------------- one door


# These decode what they have just encoded themselves.
_OWN = {"synthetic/server/rooms_images.py", "synthetic/newsroom/query_photos.py", "synthetic/reader/lessons.py"}


def test_pictures_are_opened_in_one_place():
    package = Path(diptych.__file__).parent
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name in (
                    "Image.open",
                    "cv2.imread",
                    "cv2.imdecode",
                    "decode_jpeg",
                    "decode_image_file",
                    "iio.imread",
                ):
                    found.add(path.relative_to(package).as_posix())
    assert found == {"photos/picture.py", "photos/images.py", *_OWN}


# ---------------------------------------------------------------------------------------------------- anything


_WHOLE = [saved(kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM")]
_WHOLE += [made() for kind, made in {**UPRIGHT, **TURNED_PICTURES}.items() if "MB" not in kind and "long" not in kind]
_WHOLE = [data for data in _WHOLE if len(data) < 60_000]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A picture with bytes changed, taken out or put in, mostly near its beginning; or anything."""
    data = bytearray(draw(st.sampled_from(_WHOLE) | st.binary(max_size=200)))
    for _ in range(draw(st.integers(1, 6))):
        near = draw(st.sampled_from([64, 1024, len(data)]))
        place = draw(st.integers(0, max(0, min(near, len(data)) - 1)))
        what = draw(st.sampled_from(["change", "cut", "insert", "end"]))
        if what == "end":
            del data[place:]
        elif what == "cut":
            del data[place : place + draw(st.integers(1, 8))]
        else:
            new = draw(st.binary(min_size=1, max_size=4) | st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\xff\xd9"]))
            data[place : place + (len(new) if what == "change" else 0)] = new
    return bytes(data)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("any") / "any.picture"


@hostile
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
@given(data=mutated())
def test_any_bytes_are_a_picture_for_all_or_for_none(place, data):
    place.write_bytes(data)
    outcomes = {}
    for name, read in READERS.items():
        if name == "data_url":
            continue  # of what may be too large for a JPEG
        try:
            outcomes[name] = read(place)
        except ValueError as error:
            assert "any.picture" in str(error), name
    read_by = {name for name in READERS if name in outcomes} - {*SIZES}
    assert read_by in (set(), set(READERS) - {*SIZES, "data_url"}), read_by
    if read_by:
        reference = outcomes["read_image"]
        for name in SIZES:
            assert outcomes[name] == reference.shape[1::-1], name
        for name in read_by - {"decoding_error"}:
            assert outcomes[name].shape == reference.shape, name
            assert np.abs(outcomes[name].astype(int) - reference).max() <= 2, name


def test_small_photos_of_odd_files_are_small(tmp_path):
    (tmp_path / "a").write_bytes(TURNED_PICTURES["jpeg, turned, a film behind it"]())
    assert read_photo(tmp_path / "a", 20).size == (15, 20)
