from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from diptych.photos.image_urls import data_url, is_remote


def test_remote_images():
    assert is_remote("http://a") and is_remote("HTTPS://x.example/a.jpg")
    assert not is_remote("a.jpg") and not is_remote("/http://a") and not is_remote("httpx/a.jpg")


def test_photos_in_requests(tmp_path):
    Image.effect_noise((300, 200), 50).convert("RGB").save(tmp_path / "a.png")
    url = data_url(tmp_path / "a.png", 128)
    head, data = url.split(",")
    photo = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (head, photo.format, photo.size) == ("data:image/jpeg;base64", "JPEG", (128, 85))
    assert url == data_url(tmp_path / "a.png", 128)
    with pytest.raises(ValueError, match=r"none.png cannot be read"):
        data_url(tmp_path / "none.png")
