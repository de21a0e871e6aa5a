"""What questions cost: tokens by image size and text length, and money by a table of prices."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from diptych.annotation.images import PictureForm
from diptych.annotation.ledger.ledger import Tokens

_BYTES_PER_TOKEN = 3  # English has about four: an estimate is to be too high rather than too low
_MESSAGE_TOKENS = 10  # roles and separators
_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_SQUARE, _SHORT_SIDE, _TILE = 2048, 768, 512  # pixels
_MOST_SIZES = 20  # lines of sizes for people to read
_LARGEST = (1024, 2048)  # a picture of unknown size: none costs more than one of this shape


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """USD for a million tokens each, and the tokens of a picture: `image_base`, and `image_tile` for each of its tiles
    of 512 x 512 pixels.
    """

    input: float
    output: float
    image_base: int = 85
    image_tile: int = 170


class Prices:
    """Prices by model, each with the keys of `ModelPrice`. A dated version of a model (`gpt-4o-2024-08-06`) costs what
    the model does, unless it is named itself.

    Raises:
        ValueError: a model's entry has other keys, or a number that is no price.
    """

    def __init__(self, models: Mapping[str, Mapping[str, Any]]) -> None:
        self._prices: dict[str, ModelPrice] = {}
        for name, entry in models.items():
            try:
                price = ModelPrice(**entry)
            except TypeError as error:
                raise ValueError(f"prices.models.{name}: {error}; want input, output, image_base, image_tile") from None
            if not all(isinstance(value, (int, float)) and value >= 0 for value in entry.values()):
                raise ValueError(f"prices.models.{name}: {dict(entry)}: want numbers of at least 0")
            self._prices[name] = price

    def of(self, model: str) -> ModelPrice | None:
        """The model's prices; None where the table has none."""
        return self._prices.get(model) or self._prices.get(_DATE.sub("", model))

    def cost_usd(self, counted: Iterable[Tokens]) -> float:
        """What these tokens cost. What has the price factor 0 costs nothing, whether the table has its model or not.

        Raises:
            ValueError: the table has no price for a model.
        """
        total = 0.0
        for tokens in counted:
            if tokens.price_factor:
                price = self.of(tokens.model)
                if price is None:
                    raise ValueError(
                        f"there is no price for the model {tokens.model!r}; add it to prices.models, in USD for a"
                        f" million tokens: '+prices.models.{tokens.model}={{input: ..., output: ...}}'"
                    )
                millions = (price.input * tokens.num_input_tokens + price.output * tokens.num_output_tokens) / 1e6
                total += tokens.price_factor * millions
        return total

    def num_image_tokens(self, model: str, image: str, form: PictureForm) -> int:
        """An estimate for one picture; of a remote one, whose size is not known, the most that one can cost. Models
        that are not in the table are taken to count as gpt-4o does.

        Raises:
            ValueError: a local file is no image.
        """
        price = self.of(model) or ModelPrice(0, 0)
        if form.detail == "low":
            return price.image_base
        return num_image_tokens(form.size(image) or _LARGEST, price.image_base, price.image_tile)


def num_image_tokens(size: tuple[int, int], base: int = 85, tile: int = 170) -> int:
    """Tokens of a picture of (width, height) pixels at high detail: scaled down into a square of 2048, then to a short
    side of 768, it costs `tile` for each square of 512 that it takes, and `base` once.

    The rule is OpenAI's for gpt-4o: "Images and vision", section "Calculating costs", platform.openai.com/docs/guides.
    Pictures smaller than that are not scaled up.
    """
    width, height = size
    scale = min(1.0, _SQUARE / max(width, height))
    scale = min(scale, _SHORT_SIDE / min(width, height)) if min(width, height) * scale > _SHORT_SIDE else scale
    tiles = [math.ceil(round(side * scale, 6) / _TILE) for side in (width, height)]
    return base + tile * max(tiles[0], 1) * max(tiles[1], 1)


def num_text_tokens(text: str) -> int:
    """An estimate for a message, rather too high than too low."""
    return _MESSAGE_TOKENS + math.ceil(len(text.encode()) / _BYTES_PER_TOKEN)


@dataclass
class Estimate:
    """What a stage has yet to ask. `num_output_tokens` is what answers usually take, `most_output_tokens` their limit;
    `images` counts the pictures by size, and has their tokens. `assumed` where records of earlier stages are not there
    yet, and were made up.
    """

    requests: int = 0
    settled: int = 0
    failed: int = 0
    num_image_tokens: int = 0
    num_text_tokens: int = 0
    num_output_tokens: int = 0
    most_output_tokens: int = 0
    usual_usd: float | None = None
    most_usd: float | None = None
    assumed: bool = False
    images: Counter[tuple[str, int]] = field(default_factory=Counter)

    def lines(self, name: str) -> list[str]:
        """What is printed: a line for the stage, and one for each size of picture."""
        about = "about " if self.assumed else ""
        cost = "no price known" if self.usual_usd is None else f"{self.usual_usd:.2f} USD, at most {self.most_usd:.2f}"
        kept = f", {self.settled:,} answered already" if self.settled else ""
        failed = f", {self.failed:,} records cannot be asked about" if self.failed else ""
        tokens = f"{self.num_image_tokens:,} + {self.num_text_tokens:,} tokens of images and text"
        answers = f"{self.num_output_tokens:,} of answers (limit {self.most_output_tokens:,})"
        return [
            f"{name}: {about}{self.requests:,} requests{kept}{failed}; {about}{tokens}, {answers}; {cost}",
            *(
                f"    {number:,} images of {size}: {each:,} tokens each"
                for (size, each), number in self.images.most_common()
            ),
        ]
