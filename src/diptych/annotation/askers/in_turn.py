"""What askers that answer in this process have in common: one question after the other, and its pictures."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Iterator

from PIL import Image

from diptych.annotation.fetching import download
from diptych.annotation.ledger.ledger import Ledger
from diptych.contracts.pipelines import Answer, Failure, Question
from diptych.photos.photo_file import decode_photo

_FETCH_S = 30.0  # for a remote picture


def ask_in_turn(
    questions: Iterable[Question], ledger: Ledger, result_of: Callable[[Question], Answer | Failure]
) -> Iterator[tuple[str, Answer | Failure]]:
    """The answers by key, or why there is none, in order; each is in the ledger before it is given. What cannot be
    claimed is left out.
    """
    for question in questions:
        if not ledger.claim(question.key):
            continue
        try:
            result = result_of(question)
        except BaseException:
            ledger.release([question.key], unpaid=True)
            raise
        if isinstance(result, Failure):
            ledger.failed(question.key, result)
        else:
            ledger.answered(question.key, result)
        yield question.key, result


def picture_of(url: str) -> Image.Image:
    """The picture of a data URL, or one that is fetched as `download` does, upright. Raises ValueError where there is
    none.
    """
    if url.startswith("data:"):
        return decode_photo(base64.b64decode(url.partition(",")[2]), url[:80])
    return decode_photo(download(url, time.monotonic() + _FETCH_S), url)
