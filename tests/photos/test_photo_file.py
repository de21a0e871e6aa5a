from __future__ import annotations

import pytest
from PIL import Image

from diptych.photos.photo_file import decode_photo, photo_size, read_photo


@pytest.fixture
def turned(tmp_path):
    """400 x 300 pixels on the disk, left half red, to be turned by a quarter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.new("RGB", (400, 300), "blue")
    picture.paste("red", (0, 0, 200, 300))
    picture.save(tmp_path / "a.jpg", exif=exif, quality=95)
    return tmp_path / "a.jpg"


def test_photos_are_upright_and_small(turned):
    photo = read_photo(turned)
    assert (photo.mode, photo.size, photo_size(turned)) == ("RGB", (300, 400), (300, 400))
    assert photo.getpixel((150, 20))[0] > 200 and photo.getpixel((150, 380))[2] > 200
    assert read_photo(turned, 100).size == (75, 100)
    assert read_photo(turned, 4000).size == (300, 400)  # never enlarged


def test_bytes_are_decoded_as_their_file(turned):
    assert decode_photo(turned.read_bytes(), "a", 100).tobytes() == read_photo(turned, 100).tobytes()
    with pytest.raises(ValueError, match="image http://x is not a readable image"):
        decode_photo(b"no picture", "http://x")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_photo(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (8, 4)).save(tmp_path / "a.png", exif=exif)
    assert photo_size(tmp_path / "a.png") == read_photo(tmp_path / "a.png").size


def test_the_size_is_read_from_the_first_bytes(turned):
    turned.write_bytes(turned.read_bytes()[:1500])
    assert photo_size(turned) == (300, 400)
    with pytest.raises(ValueError, match=r"a\.jpg is truncated or damaged"):
        read_photo(turned)


def test_files_that_are_no_photo(tmp_path):
    path = tmp_path / "a.png"
    with pytest.raises(ValueError, match=r"a\.png cannot be read"):
        read_photo(path)
    path.touch()
    with pytest.raises(ValueError, match=r"a\.png is empty"):
        read_photo(path)
    path.write_bytes(b"no picture")
    for call in (read_photo, photo_size):
        with pytest.raises(ValueError, match=r"a\.png is not a readable image"):
            call(path)
