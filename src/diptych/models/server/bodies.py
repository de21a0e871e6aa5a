"""Bodies of HTTP answers, unpacked as they come and bounded: a few kilobytes can unpack to gigabytes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

LARGEST_ANSWER = 16 * 2**20  # bytes, unpacked; an answer of a model has some kilobytes
_BLOCK = 2**16
_GZIP = 16 + zlib.MAX_WBITS
_MOST_PACKINGS = 3


class UnreadableBody(ValueError):
    """A body that is packed in a way that is not read, or damaged."""


class TooLargeBody(ValueError):
    """A body of more bytes than are read."""


def unpacked(blocks: Iterable[bytes], encoding: str, most: int) -> Iterator[bytes]:
    """The body in small blocks, as `encoding` (the field Content-Encoding) says it was packed: `gzip` and `deflate`,
    several times if need be. What is read ahead is small too.

    Raises:
        UnreadableBody: another encoding, or a damaged body.
        TooLargeBody: more than `most` bytes.
    """
    names = [name for name in (part.strip().lower() for part in encoding.split(",")) if name not in ("", "identity")]
    if len(names) > _MOST_PACKINGS or not {"gzip", "x-gzip", "deflate"}.issuperset(names):
        raise UnreadableBody(f"its Content-Encoding is {encoding[:80]!r}, which is not read")
    for name in reversed(names):
        blocks = _inflated(blocks, name)
    size = 0
    for block in blocks:
        size += len(block)
        if size > most:
            raise TooLargeBody(f"it has more than {most // 2**20 or most / 2**20:,} MiB")
        yield block


def _inflated(blocks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Members of gzip that follow one another are one body; deflate comes with the head of zlib or without."""
    inflating = None
    for block in blocks:
        held_back = False  # what zlib has read, and not yet given out
        while block or held_back:
            if inflating is None:
                headless = name == "deflate" and (block[0] & 0x0F) != 8
                bits = _GZIP if name != "deflate" else -zlib.MAX_WBITS if headless else zlib.MAX_WBITS
                inflating = zlib.decompressobj(bits)
            try:
                data = inflating.decompress(block, _BLOCK)
            except zlib.error as error:
                raise UnreadableBody(f"it is said to be {name}, and cannot be unpacked ({error})") from None
            block = inflating.unused_data if inflating.eof else inflating.unconsumed_tail
            held_back = len(data) == _BLOCK and not inflating.eof
            if inflating.eof:
                inflating = None
            if data:
                yield data
    if inflating is not None:
        raise UnreadableBody(f"it is said to be {name}, and breaks off")
