"""Pictures with something odd about them, which leaves their pixels whole; and every reader of the house."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, PngImagePlugin

from diptych.annotation.images import PictureForm
from diptych.photos.image_faults import decoding_error
from diptych.photos.image_urls import data_url
from diptych.photos.images import read_image
from diptych.photos.photo_file import photo_size, read_photo
from diptych.report.pictures import Thumbnails
from diptych.verification.features import read_picture

WIDTH, HEIGHT = 80, 60
TRAILER = b"\0\0\0\x18ftypmp42" + b"\x11" * 20_000


def colours() -> Image.Image:
    """Smooth gradients, another colour in each corner: turned or mirrored they are another picture."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return Image.fromarray(np.stack([x * 3, y * 4, 255 - x - y], -1).astype(np.uint8))


def saved(kind: str, picture: Image.Image | None = None, **options) -> bytes:
    buffer = io.BytesIO()
    (picture or colours()).save(buffer, kind, **options)
    return buffer.getvalue()


def exif(*entries: bytes) -> bytes:
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)


def entry(kind: int, count: int, value: bytes, tag: int = 0x0112) -> bytes:
    return struct.pack("<HHI4s", tag, kind, count, value)


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def in_jpeg(*segments: bytes) -> bytes:
    data = saved("JPEG", quality=95)
    return data[:2] + b"".join(segments) + data[2:]


def chunk(kind: bytes, content: bytes, crc: int | None = None) -> bytes:
    crc = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def in_png(*chunks: bytes, behind: bytes = b"") -> bytes:
    """Chunks behind the header, and others behind the pixels."""
    data = saved("PNG")
    return data[:33] + b"".join(chunks) + data[33:-12] + behind + data[-12:]


TURNED = entry(3, 1, struct.pack("<HH", 6, 0))
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def _long_text() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("a", "x" * 3_000_000, zip=True)
    return saved("PNG", pnginfo=info)


def _many_texts() -> bytes:
    info = PngImagePlugin.PngInfo()
    for number in range(90):
        info.add_text(f"a{number}", "x" * 1_000_000, zip=True)
    return saved("PNG", pnginfo=info)


def _animation(kind: str) -> bytes:
    return saved(kind, save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT), "red")])


def _tiff(orientation: int, **options) -> bytes:
    from PIL import TiffImagePlugin

    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x0112] = orientation
    return saved("TIFF", tiffinfo=tags, **options)


UPRIGHT: dict[str, Callable[[], bytes]] = {
    "plain jpeg": lambda: saved("JPEG", quality=95),
    "progressive jpeg": lambda: saved("JPEG", quality=95, progressive=True),
    "jpeg with restarts": lambda: saved("JPEG", quality=95, restart_marker_blocks=1),
    "jpeg stored as rgb": lambda: saved("JPEG", quality=95, keep_rgb=True),
    "jpeg, an orientation that is a text": lambda: in_jpeg(segment(0xE1, exif(entry(2, 2, b"6\0\0\0")))),
    "jpeg, orientation 9": lambda: in_jpeg(segment(0xE1, exif(entry(3, 1, b"\x09\0\0\0")))),
    "jpeg, orientation 0": lambda: in_jpeg(segment(0xE1, exif(entry(3, 1, b"\0\0\0\0")))),
    "jpeg, two orientations in one": lambda: in_jpeg(segment(0xE1, exif(entry(3, 2, b"\x06\0\x06\0")))),
    "jpeg, an orientation that is a fraction": lambda: in_jpeg(segment(0xE1, exif(entry(5, 1, b"\x10\0\0\0")))),
    "jpeg, exif that is cut": lambda: in_jpeg(segment(0xE1, exif(TURNED)[:18])),
    "jpeg, exif of no order": lambda: in_jpeg(segment(0xE1, b"Exif\0\0XX*\0\x08\0\0\0")),
    "jpeg, exif that begins far behind": lambda: in_jpeg(segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff")),
    "jpeg, empty exif": lambda: in_jpeg(segment(0xE1, b"Exif\0\0")),
    "jpeg, a short jfif": lambda: in_jpeg(segment(0xE0, b"JFIF")),
    "jpeg, a short adobe": lambda: in_jpeg(segment(0xEE, b"Adobe")),
    "jpeg, a broken index of pictures": lambda: in_jpeg(segment(0xE2, b"MPF\0II*\0\xff\xff\xff\xff")),
    "jpeg, a broken photoshop block": lambda: in_jpeg(segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed")),
    "jpeg, a broken profile": lambda: in_jpeg(segment(0xE2, b"ICC_PROFILE\0\x01")),
    "jpeg, a thumbnail": lambda: in_jpeg(segment(0xE1, exif() + saved("JPEG", colours().resize((16, 12))))),
    "jpeg, fill bytes": lambda: saved("JPEG", quality=95).replace(b"\xff\xda", b"\xff\xff\xff\xda"),
    "jpeg, a film behind it": lambda: saved("JPEG", quality=95) + TRAILER,
    "jpeg, another picture behind it": lambda: saved("JPEG", quality=95) + saved("JPEG", Image.new("RGB", (9, 9))),
    "jpeg, zeros behind it": lambda: saved("JPEG", quality=95) + bytes(300_000),
    "several pictures (MPO)": lambda: saved(
        "MPO", quality=95, save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT))]
    ),
    "plain png": lambda: saved("PNG"),
    "png, a long packed text": _long_text,
    "png, 90 MB of packed texts": _many_texts,
    "png, a text of a wrong checksum": lambda: in_png(chunk(b"tEXt", b"a\0b", crc=1)),
    "png, a text without a keyword": lambda: in_png(chunk(b"zTXt", b"")),
    "png, packed in no known way": lambda: in_png(chunk(b"zTXt", b"a\0\7xyz")),
    "png, a text that does not unpack": lambda: in_png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0xyz")),
    "png, a raw profile that is none": lambda: in_png(chunk(b"tEXt", b"Raw profile type exif\0\nexif\n9\nzz\n")),
    "png, empty exif": lambda: in_png(chunk(b"eXIf", b"")),
    "png, broken exif behind the pixels": lambda: in_png(behind=chunk(b"eXIf", b"II*\0\xff")),
    "png, a wrong checksum behind the pixels": lambda: in_png(behind=chunk(b"tIME", b"", crc=5)),
    "png, a broken profile": lambda: in_png(chunk(b"iCCP", b"p\0\0xyz")),
    "png, short chunks": lambda: in_png(*(chunk(kind, b"") for kind in (b"gAMA", b"cHRM", b"pHYs", b"sRGB", b"tRNS"))),
    "png, an unknown chunk": lambda: in_png(chunk(b"xy\x80z", b"abc")),
    "png, bytes behind it": lambda: saved("PNG") + TRAILER,
    "png, animated": lambda: _animation("PNG"),
    "png, a broken animation": lambda: in_png(chunk(b"acTL", b"\0\0\0\0\0\0\0\0"), chunk(b"fcTL", b"")),
    "webp": lambda: saved("WEBP", lossless=True),
    "webp, broken exif": lambda: saved("WEBP", lossless=True, exif=b"Exif\0\0II*\0\xff"),
    "webp, animated": lambda: saved(
        "WEBP", lossless=True, save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT), "red")]
    ),
    "bmp": lambda: saved("BMP"),
    "ppm": lambda: saved("PPM"),
    "tiff": lambda: saved("TIFF"),
    "packed tiff": lambda: saved("TIFF", compression="tiff_lzw"),
    "tiff, orientation 9": lambda: _tiff(9),
    "tiff, bytes behind it": lambda: saved("TIFF") + TRAILER,
}
TURNED_PICTURES: dict[str, Callable[[], bytes]] = {
    "jpeg, turned, beside a damaged tag": lambda: in_jpeg(
        segment(0xE1, exif(entry(2, 4, b"abc\0", tag=0x0111), TURNED))
    ),
    "jpeg, turned by a long": lambda: in_jpeg(segment(0xE1, exif(entry(4, 1, b"\x06\0\0\0")))),
    "jpeg, turned by xmp": lambda: in_jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)),
    "jpeg, turned, a film behind it": lambda: in_jpeg(segment(0xE1, exif(TURNED))) + TRAILER,
    "png, turned": lambda: in_png(chunk(b"eXIf", exif(TURNED)[6:])),
    "png, turned, said behind the pixels": lambda: in_png(behind=chunk(b"eXIf", exif(TURNED)[6:])),
    "png, turned, exif of a wrong checksum": lambda: in_png(chunk(b"eXIf", exif(TURNED)[6:], crc=3)),
    "png, turned by xmp": lambda: in_png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)),
    "png, turned by packed xmp": lambda: in_png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP))),
    "png, turned by a raw profile": lambda: in_png(
        chunk(b"tEXt", b"Raw profile type exif\0\nexif\n9\n" + exif(TURNED).hex().encode())
    ),
    "webp, turned": lambda: saved("WEBP", lossless=True, exif=exif(TURNED)),
    "tiff, turned": lambda: _tiff(6),
    "packed tiff, turned": lambda: _tiff(6, compression="tiff_deflate"),
}


def _of_thumbnail(path: Path) -> np.ndarray:
    image = Thumbnails(size=100_000).load(path)
    if image is None:
        raise ValueError(f"image {path} is a grey tile")
    return np.asarray(image)


def _of_data_url(path: Path) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data_url(path).partition(",")[2]))))


def _if_decodable(path: Path) -> None:
    if (reason := decoding_error(path)) is not None:
        raise ValueError(reason)


PIXELS: dict[str, Callable[[Path], np.ndarray]] = {
    "read_image": lambda path: read_image(path).permute(1, 2, 0).numpy(),
    "read_image, exact": lambda path: read_image(path, "exact").permute(1, 2, 0).numpy(),
    "read_photo": lambda path: np.asarray(read_photo(path)),
    "read_photo, small": lambda path: np.asarray(read_photo(path, 100_000)),
    "read_picture": lambda path: cv2.cvtColor(read_picture(path), cv2.COLOR_BGR2RGB),
    "thumbnails": _of_thumbnail,
    "data_url": _of_data_url,
}
SIZES: dict[str, Callable[[Path], tuple[int, int] | None]] = {
    "photo_size": photo_size,
    "PictureForm.size": lambda path: PictureForm(max_side=None).size(str(path)),
}
READERS: dict[str, Callable] = {**PIXELS, **SIZES, "decoding_error": _if_decodable}
