from __future__ import annotations

import base64
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from diptych.annotation.budget import Budget
from diptych.annotation.cost import Prices, num_image_tokens, num_text_tokens
from diptych.annotation.images import PictureForm, content_hash
from diptych.annotation.ledger.ledger import Tokens

TABLE = {
    "gpt-4o": {"input": 2.5, "output": 10.0},
    "small": {"input": 1, "output": 2, "image_base": 10, "image_tile": 20},
}


# The first three are worked out in OpenAI's guide; the rest by its rule.
@pytest.mark.parametrize(
    ("size", "tokens"),
    [
        ((1024, 1024), 765),
        ((2048, 4096), 1105),
        ((4096, 2048), 1105),
        ((512, 512), 255),
        ((513, 512), 425),
        ((1, 1), 255),
        ((1024, 768), 765),
        ((4096, 64), 85 + 4 * 170),
    ],
)
def test_tokens_of_a_picture(size, tokens):
    assert num_image_tokens(size) == tokens


def test_tokens_of_files_and_urls(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (4096, 4096)).save(path)
    prices = Prices(TABLE)
    assert prices.num_image_tokens("gpt-4o", str(path), PictureForm(max_side=None)) == 765
    assert prices.num_image_tokens("gpt-4o", str(path), PictureForm(max_side=512)) == 255
    assert prices.num_image_tokens("unknown", str(path), PictureForm(max_side=512)) == 255
    assert prices.num_image_tokens("small", str(path), PictureForm(max_side=512)) == 30
    assert prices.num_image_tokens("gpt-4o", str(path), PictureForm(detail="low")) == 85
    assert prices.num_image_tokens("gpt-4o", "https://x.example/a.jpg", PictureForm()) == 1105  # the most there is
    assert max(num_image_tokens((w, h)) for w in (256, 1024, 2048, 9000) for h in (256, 1024, 2048, 9000)) == 1105


def test_tokens_of_text_are_not_too_few():
    assert num_text_tokens("") == 10
    assert num_text_tokens("tufted dark green velvet") >= 10 + 6


def test_money():
    prices = Prices(TABLE)
    million = Tokens("gpt-4o", 1.0, 1_000_000, 1_000_000)
    assert prices.cost_usd([million]) == 12.5
    assert prices.cost_usd([Tokens("gpt-4o-2024-08-06", 0.5, 1_000_000, 0), million]) == 13.75
    assert prices.cost_usd([Tokens("unknown", 0.0, 10, 10)]) == 0.0
    assert prices.of("gpt-4o-audio") is None
    with pytest.raises(ValueError, match=r"no price for the model 'unknown'.*prices\.models"):
        prices.cost_usd([Tokens("unknown", 1.0, 1, 1)])
    with pytest.raises(ValueError, match=r"prices\.models\.m"):
        Prices({"m": {"input": 1.0}})
    with pytest.raises(ValueError, match=r"prices\.models\.m.*at least 0"):
        Prices({"m": {"input": -1.0, "output": 0}})


class Spending:
    def __init__(self) -> None:
        self.charged: list[Tokens] = []
        self.sent: list[Tokens] = []

    def spent(self) -> list[Tokens]:
        return self.charged

    def in_flight(self) -> list[Tokens]:
        return self.sent


def test_the_budget_counts_what_is_spent_and_what_is_in_flight():
    spending, request = Spending(), Tokens("gpt-4o", 1.0, 400_000, 0)  # one dollar
    budget = Budget(spending, Prices(TABLE), 3.0)
    for _ in range(3):
        assert budget.allows(request)
        spending.sent.append(request)
    assert not budget.allows(request)
    spending.sent.pop()
    spending.charged.append(Tokens("gpt-4o", 1.0, 100_000, 0))  # cheaper than feared, but not by enough
    assert not budget.allows(request)
    assert budget.allows(Tokens("gpt-4o", 1.0, 300_000, 0))
    assert budget.allows(Tokens("gpt-4o", 0.0, 300_000_000, 0))
    assert "0.2500 USD are spent, and the next request may cost up to 1.0000" in str(budget.exhausted(request))
    assert Budget(spending, Prices({}), None).allows(request)


def test_content_hashes(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    assert content_hash(str(tmp_path / "a")) == hashlib.sha256(b"x" * 3_000_000).hexdigest()
    assert content_hash("HTTPS://x.example/a.jpg") == "HTTPS://x.example/a.jpg"
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="empty is empty"):
        content_hash(str(tmp_path / "empty"))
    with pytest.raises(ValueError, match="missing cannot be read"):
        content_hash(str(tmp_path / "missing"))


def decoded(part: dict[str, Any]) -> Image.Image:
    assert part["type"] == "image_url"
    return Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].partition(",")[2])))


def test_pictures_are_sent_upright_and_small(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    path = str(tmp_path / "a.jpg")
    Image.new("RGB", (400, 300), "red").save(path, exif=exif)
    form = PictureForm(max_side=200, detail="low")
    picture = decoded(form.message_part(path))
    assert picture.format == "JPEG" and picture.size == form.size(path) == (150, 200)
    assert (
        form.message_part(path) == form.message_part(path) and form.message_part(path)["image_url"]["detail"] == "low"
    )
    assert decoded(PictureForm(None).message_part(path)).size == (300, 400)
    assert form.message_part("https://x.example/a.jpg")["image_url"]["url"] == "https://x.example/a.jpg"
    assert form.size("https://x.example/a.jpg") is None
    json.dumps(form.message_part(path))


def test_pictures_that_cannot_be_sent(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"no picture")
    for call in (PictureForm().message_part, PictureForm().size):
        with pytest.raises(ValueError, match=r"a\.png is not a readable image"):
            call(str(path))
    with pytest.raises(ValueError, match="detail='best'"):
        PictureForm(detail="best")
