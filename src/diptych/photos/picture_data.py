"""The bytes of a picture file, from regular files only, and what of a JPEG or PNG decides its pixels.

Metadata never decides whether pixels can be read: decoders do not see it. What is wanted of it, the orientation, is
looked up in the blocks that are taken out, and where these are damaged the picture stands as it is stored.
"""

from __future__ import annotations

import errno
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from diptych.photos.spellings import spelt_otherwise
from diptych.storage.regular_file import read_regular

MOST_BYTES = 256 * 2**20  # of a file; the pixels that decoders may make of it are bounded by Pillow

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
# A marker within a JPEG, behind which more than coded pixels begins: no stuffed 0xFF, no restart, no fill byte.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])", re.DOTALL)
_START, _END, _SCAN, _JFIF, _ADOBE, _EXIF, _COMMENT = 0xD8, 0xD9, 0xDA, 0xE0, 0xEE, 0xE1, 0xFE
_MOST_SCANS = 100  # a progressive JPEG has about ten; a few bytes each are enough to keep a decoder busy for hours
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])["<]')
_ORIENTATION = 0x0112
_MOST_TEXT = 2**20  # bytes that a compressed text of a PNG is unpacked to


class UnreadablePicture(ValueError):
    """A picture is missing, no regular file, empty, damaged, of no kind that is read, or too large."""


@dataclass(frozen=True)
class PictureData:
    """`pixels` is the file as decoders are to see it. `orientation` is that of EXIF or XMP, 1 to 8, or None where
    `pixels` still holds the metadata. `fault` says in what way a JPEG's stream is not whole.
    """

    pixels: bytes
    orientation: int | None = None
    fault: str | None = None


def read_bytes(path: str | Path) -> bytes:
    """The content of a regular file. Nothing is waited for: a pipe is no picture.

    Raises:
        UnreadablePicture: it cannot be read, is a folder, pipe, socket or device, or has more than `MOST_BYTES`.
    """
    try:
        return read_regular(path, MOST_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise UnreadablePicture(f"image {path} has more than {MOST_BYTES >> 20} MiB; make it smaller") from error
        spelt = spelt_otherwise(path) if isinstance(error, FileNotFoundError) else ""
        raise UnreadablePicture(f"image {path} cannot be read: {error.strerror or error}{spelt}") from error


def split(data: bytes) -> PictureData:
    """What decides the pixels, and the orientation. Only JPEG and PNG are taken apart."""
    if data.startswith(_JPEG):
        return _split_jpeg(data)
    return _split_png(data) if data.startswith(_PNG) else PictureData(data)


def orientation_of(exif: bytes | None, xmp: bytes | None) -> int:
    """The orientation 1 to 8 in an EXIF block, or else in XMP; 1 where there is none, or something that is none."""
    return _in_exif(exif or b"") or _in_xmp(xmp or b"") or 1


def _in_exif(block: bytes) -> int | None:
    """The orientation in the first directory, if it is there: whatever else is in the block is not looked at."""
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(f"{order}HHI", block, place)
            if tag == _ORIENTATION:
                form = {3: "H", 4: "I"}.get(kind)  # a short, or the long that some write
                value = struct.unpack_from(f"{order}{form}", block, place + 8)[0] if form and number == 1 else 1
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass  # it ends too early
    return None


def _in_xmp(block: bytes) -> int | None:
    match = _XMP_ORIENTATION.search(block)
    return int(match[1]) if match else None


# ---------------------------------------------------------------------------------------------------- JPEG


def _split_jpeg(data: bytes) -> PictureData:
    """The stream up to its own end marker, without what lies behind (the film of a motion photo, a depth map), and
    without applications' segments but for the two that tell libjpeg the colours.
    """
    kept, exif, xmp = [], b"", b""
    begin, position, scans = 0, 2, 0
    fault: str | None = "the JPEG's end marker is missing"
    while match := _MARKER.search(data, position):
        marker, position = match[1][0], match.end()
        if marker == _END:
            fault = None
            break
        if marker == _START:
            break  # another picture begins before the end of this one
        length = int.from_bytes(data[position : position + 2], "big")
        content = data[position + 2 : position + length] if _is_metadata(marker) else b""
        position += max(length, 2)
        scans += marker == _SCAN
        if scans > _MOST_SCANS:
            fault = f"the JPEG has more than {_MOST_SCANS} scans"
            break
        if not _is_metadata(marker) or _tells_colours(marker, content):
            continue
        kept.append(data[begin : match.start()])
        begin = min(position, len(data))
        if marker == _EXIF:
            exif = exif or (content if content.startswith(b"Exif\0\0") else b"")
            xmp = xmp or (content if content.startswith(_XMP) else b"")
    kept.append(data[begin:position])
    return PictureData(b"".join(kept), orientation_of(exif, xmp), fault)


def _is_metadata(marker: int) -> bool:
    return _JFIF <= marker <= 0xEF or marker == _COMMENT


def _tells_colours(marker: int, content: bytes) -> bool:
    """Whether a segment is a whole JFIF or Adobe header: libjpeg passes over shorter ones, Pillow fails on them."""
    if marker == _JFIF:
        return content.startswith(b"JFIF\0") and len(content) >= 14
    return marker == _ADOBE and content.startswith(b"Adobe") and len(content) >= 12


# ---------------------------------------------------------------------------------------------------- PNG


def _split_png(data: bytes) -> PictureData:
    """The critical chunks. Of the others transparency alone is about pixels, and alpha is dropped anyway."""
    kept, exif, xmp = [data[:8]], b"", b""
    position = 8
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if not kind[0] & 0x20:
            kept.append(data[position:end])
        elif kind == b"eXIf":
            exif = exif or data[position + 8 : end - 4]
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            keyword, text = _png_text(kind, data[position + 8 : end - 4])
            if keyword == b"XML:com.adobe.xmp":
                xmp = xmp or text
            elif keyword == b"Raw profile type exif":
                exif = exif or _raw_profile(text)
        if kind == b"IEND":
            break
        position = end
    return PictureData(b"".join(kept), orientation_of(exif, xmp))


def _png_text(kind: bytes, content: bytes) -> tuple[bytes, bytes]:
    """Keyword and text of a text chunk; no text where it is damaged."""
    keyword, _, text = content.partition(b"\0")
    packed = kind == b"zTXt" or (kind == b"iTXt" and text[:1] == b"\1")
    if kind == b"zTXt":
        text = text[1:]
    elif kind == b"iTXt":
        text = b"".join(text[2:].split(b"\0", 2)[2:])
    if packed:
        try:
            text = zlib.decompressobj().decompress(text, _MOST_TEXT)
        except zlib.error:
            text = b""
    return keyword, text


def _raw_profile(text: bytes) -> bytes:
    """The EXIF block that ImageMagick writes as hexadecimal digits, below lines with its name and length."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return b""
