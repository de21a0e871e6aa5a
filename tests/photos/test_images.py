import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision import transforms

import golden_files
from diptych.contracts.models import ImageSpec
from diptych.photos.images import ImageReader, read_image
from diptych.photos.photo_transform import target_pad

DECODERS = ("fast", "exact")


def picture(width: int = 64, height: int = 48) -> Image.Image:
    """Colour gradients with soft structure: something that JPEG and resampling treat like a photograph."""
    y, x = np.mgrid[0:height, 0:width]
    red = 255 * x / max(width - 1, 1)
    green = 255 * y / max(height - 1, 1)
    blue = 128 + 100 * np.sin(x / 7) * np.cos(y / 5)
    return Image.fromarray(np.stack([red, green, blue], -1).round().astype(np.uint8))


def spec(size: int = 32, **changes) -> ImageSpec:
    return ImageSpec(size=size, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), **changes)


def pixels_of(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def published(path: Path, size: int, interpolation=transforms.InterpolationMode.BICUBIC) -> torch.Tensor:
    """CLIP's preprocessing up to the tensor, written with torchvision's first transforms."""
    steps = [transforms.Resize(size, interpolation), transforms.CenterCrop(size), transforms.PILToTensor()]
    return transforms.Compose(steps)(Image.open(path).convert("RGB"))


# ------------------------------------------------------------------------------------------------- kinds of files


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("baseline.jpg", {"quality": 90}),
        ("progressive.jpg", {"progressive": True}),
        ("full_chroma.jpg", {"subsampling": 0}),
        ("restarts.jpg", {"restart_marker_blocks": 2}),
        ("stored_as_rgb.jpg", {"keep_rgb": True}),
        ("lossless.webp", {"lossless": True}),
        ("a.bmp", {}),
        ("a.ppm", {}),
        ("deflate.tiff", {"compression": "tiff_deflate"}),
        ("really_a_png.jpg", {"format": "PNG"}),
    ],
)
def test_colour_files_decode_as_pillow_does(tmp_path, name, options, decoder):
    path = tmp_path / name
    picture().save(path, **options)
    pixels = read_image(path, decoder)
    assert pixels.dtype == torch.uint8
    assert torch.equal(pixels, pixels_of(Image.open(path).convert("RGB")))


@pytest.mark.parametrize("decoder", DECODERS)
def test_gray_jpeg_has_three_equal_channels(tmp_path, decoder):
    path = tmp_path / "gray.jpg"
    picture().convert("L").save(path)
    pixels = read_image(path, decoder)
    assert torch.equal(pixels, torch.from_numpy(np.array(Image.open(path))).expand(3, -1, -1))


def test_cmyk_jpeg_is_not_inverted(tmp_path):
    path = tmp_path / "cmyk.jpg"
    Image.new("CMYK", (16, 16), (0, 0, 0, 0)).save(path)  # no ink; Pillow writes it with Adobe's inversion
    assert read_image(path).min() > 250
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(path)  # magenta and yellow ink
    red, green, blue = read_image(path).float().mean((1, 2)).tolist()
    assert red > 245
    assert green < 10
    assert blue < 10


def test_palette_with_transparency(tmp_path, recwarn):
    image = Image.new("P", (4, 2))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1] * 4)
    image.save(tmp_path / "palette.png", transparency=bytes([0, 128]))
    image.save(tmp_path / "palette.gif", transparency=1)
    for name in ("palette.png", "palette.gif"):
        pixels = read_image(tmp_path / name)
        assert pixels[:, 0, 0].tolist() == [10, 20, 30]
        assert pixels[:, 1, 1].tolist() == [200, 100, 50]
    assert not recwarn.list  # a warning per file would flood a log


def test_alpha_is_dropped(tmp_path):
    Image.new("RGBA", (3, 3), (10, 20, 30, 0)).save(tmp_path / "rgba.png")
    Image.new("LA", (3, 3), (77, 5)).save(tmp_path / "la.png")
    assert read_image(tmp_path / "rgba.png")[:, 1, 1].tolist() == [10, 20, 30]
    assert read_image(tmp_path / "la.png")[:, 1, 1].tolist() == [77, 77, 77]


def test_one_bit(tmp_path):
    image = Image.new("1", (2, 1))
    image.putdata([0, 255])
    image.save(tmp_path / "bits.png")
    assert read_image(tmp_path / "bits.png")[0].tolist() == [[0, 255]]


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_sixteen_bit_gray_is_scaled_not_clipped(tmp_path, suffix):
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)).save(path)
    assert read_image(path)[1].tolist() == [[0, 0, 1, 1, 128, 255]]


def test_gray_without_a_defined_white_is_refused(tmp_path):
    path = tmp_path / "deep.tiff"
    Image.fromarray(np.array([[0, 70000]], dtype=np.int32)).save(path)
    with pytest.raises(ValueError, match=r"deep\.tiff.*32-bit gray with values 0 to 70000"):
        read_image(path)
    Image.fromarray(np.array([[0.0, 0.5]], dtype=np.float32)).save(path)
    with pytest.raises(ValueError, match=r"deep\.tiff.*floating-point"):
        read_image(path)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "bmp"])
def test_one_pixel(tmp_path, suffix, decoder):
    path = tmp_path / f"dot.{suffix}"
    Image.new("RGB", (1, 1), (255, 255, 255)).save(path)
    assert read_image(path, decoder).shape == (3, 1, 1)
    prepared = ImageReader(spec(), decoder)(path)
    assert prepared.shape == (3, 32, 32)
    assert prepared.min() > 250


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in ((255, 0, 0), (0, 0, 255))]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "two.gif")[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, suffix, orientation, decoder):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    picture(40, 24).save(path, exif=exif)
    pixels = read_image(path, decoder)
    assert pixels.shape[1:] == ((24, 40) if orientation < 5 else (40, 24))
    assert torch.equal(pixels, pixels_of(ImageOps.exif_transpose(Image.open(path)).convert("RGB")))


@pytest.mark.parametrize("decoder", DECODERS)
def test_senseless_exif_orientation_is_ignored(tmp_path, decoder):
    exif = Image.Exif()
    exif[0x0112] = 99
    picture(40, 24).save(tmp_path / "odd.jpg", exif=exif)
    assert read_image(tmp_path / "odd.jpg", decoder).shape == (3, 24, 40)


# ------------------------------------------------------------------------------------------------- bad files


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95, 0.9999])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 4}])
def test_truncated_jpeg(tmp_path, options, share, decoder):
    stream = io.BytesIO()
    picture(320, 240).save(stream, "JPEG", **options)
    data = stream.getvalue()
    path = tmp_path / "short.jpg"
    for tail in (b"", bytes(len(data))):  # cut off, and cut off inside a file of the right length
        path.write_bytes(data[: int(len(data) * share)] + tail)
        with pytest.raises(ValueError, match=r"short\.jpg is (truncated or damaged|not a readable image)"):
            read_image(path, decoder)


@pytest.mark.parametrize("decoder", DECODERS)
def test_end_marker_of_a_thumbnail_does_not_count(tmp_path, decoder):
    thumbnail = io.BytesIO()
    picture(16, 12).save(thumbnail, "JPEG")
    path = tmp_path / "thumbnail.jpg"
    # Laid out as APP1 data: only its end marker matters here.
    picture(320, 240).save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail.getvalue())
    data = path.read_bytes()
    assert data.count(b"\xff\xd9") == 2
    assert read_image(path, decoder).shape == (3, 240, 320)
    path.write_bytes(data[: len(data) * 9 // 10] + bytes(len(data)))
    with pytest.raises(ValueError, match=r"thumbnail\.jpg is truncated or damaged"):
        read_image(path, decoder)


@pytest.mark.parametrize("suffix", ["png", "webp", "bmp", "tiff", "gif"])
def test_other_truncated_files(tmp_path, suffix):
    path = tmp_path / f"short.{suffix}"
    picture(320, 240).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"short\.{suffix} is truncated or damaged"):
        read_image(path)


@pytest.mark.parametrize("decoder", DECODERS)
def test_files_that_are_no_images(tmp_path, decoder):
    reader = ImageReader(spec(), decoder, tmp_path / "cache")
    (tmp_path / "page.jpg").write_text("<html>404 Not Found</html>")
    with pytest.raises(ValueError, match=r"page\.jpg is not a readable image.*<html>404"):
        reader(tmp_path / "page.jpg")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ValueError, match=r"empty\.jpg is empty \(0 bytes\)"):
        reader(tmp_path / "empty.jpg")
    with pytest.raises(ValueError, match=r"absent\.jpg cannot be read: No such file"):
        reader(tmp_path / "absent.jpg")
    with pytest.raises(ValueError, match="cannot be read"):
        reader(tmp_path)


def test_formats_that_start_programs_are_not_images(tmp_path):
    picture().save(tmp_path / "script.eps")
    with pytest.raises(ValueError, match=r"script\.eps is not a readable image"):
        read_image(tmp_path / "script.eps")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_decompression_bomb_is_refused_before_decoding(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"huge.{suffix}"
    picture(64, 64).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=rf"huge\.{suffix} is too large to be decoded safely.*4096"):
        read_image(path)


@pytest.mark.parametrize("decoder", DECODERS)
def test_line_of_pixels_is_refused_instead_of_filling_the_memory(tmp_path, decoder):
    path = tmp_path / "line.png"
    Image.new("RGB", (60_000, 1)).save(path)
    with pytest.raises(ValueError, match=r"line\.png: a picture of 60000 x 1 is too narrow"):
        ImageReader(spec(224), decoder)(path)
    assert ImageReader(spec(224, resize="squash"), decoder)(path).shape == (3, 224, 224)


# ------------------------------------------------------------------------------------------------- preprocessing


SIZES = [(64, 48), (48, 64), (100, 33), (33, 100), (32, 32), (31, 37), (20, 90), (10, 7)]


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("size", SIZES)
def test_exact_is_the_published_preprocessing(tmp_path, size, suffix):
    path = tmp_path / f"a.{suffix}"
    picture(*size).save(path)
    assert torch.equal(ImageReader(spec(), "exact")(path), published(path, 32))


@pytest.mark.parametrize("size", SIZES)
def test_fast_is_within_a_tenth_of_a_grey_level_of_exact(tmp_path, size):
    path = tmp_path / "a.jpg"
    picture(*size).save(path, quality=95)
    fast, exact = ImageReader(spec(), "fast")(path), ImageReader(spec(), "exact")(path)
    difference = (fast.float() - exact.float()).abs()
    assert difference.mean() < 0.1
    assert difference.max() <= 1


def test_fast_is_within_a_tenth_of_a_grey_level_of_exact_on_photographs():
    for path in sorted(golden_files.beside_the_checkout("real/photos").glob("*.jpg"))[:4]:
        fast, exact = ImageReader(spec(224), "fast")(path), ImageReader(spec(224), "exact")(path)
        assert (fast.float() - exact.float()).abs().mean() < 0.1


@pytest.mark.parametrize("decoder", DECODERS)
def test_squash_keeps_the_whole_picture(tmp_path, decoder):
    path = tmp_path / "wide.png"
    picture(90, 30).save(path)
    pixels = ImageReader(spec(resize="squash", interpolation="bilinear"), decoder)(path)
    assert pixels.shape == (3, 32, 32)
    expected = pixels_of(picture(90, 30).resize((32, 32), Image.Resampling.BILINEAR))
    assert (pixels.float() - expected.float()).abs().max() <= (1 if decoder == "fast" else 0)


@pytest.mark.parametrize("decoder", DECODERS)
def test_turned_picture_is_prepared_upright(tmp_path, decoder):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = picture(90, 40)
    stored.save(tmp_path / "turned.png", exif=exif)
    stored.transpose(Image.Transpose.ROTATE_270).save(tmp_path / "upright.png")
    reader = ImageReader(spec(), decoder)
    assert torch.equal(reader(tmp_path / "turned.png"), reader(tmp_path / "upright.png"))


def test_target_pad_follows_the_published_formula():
    ones = torch.ones(3, 40, 100, dtype=torch.uint8)
    # 100 / 1.25 = 80 rows wanted, (80 - 40) / 2 = 20 above and below.
    padded = target_pad(ones, 1.25)
    assert padded.shape == (3, 80, 100)
    assert padded.sum(dim=(0, 2)).tolist() == [0] * 20 + [300] * 40 + [0] * 20
    assert target_pad(ones.transpose(1, 2), 1.25).shape == (3, 100, 80)
    # 101 / 1.25 = 80.8; (80.8 - 41) / 2 = 19.9, rounded down.
    assert target_pad(torch.ones(3, 41, 101), 1.25).shape == (3, 41 + 2 * 19, 101)
    assert target_pad(torch.ones(3, 80, 99), 1.25).shape == (3, 80, 99)
    assert target_pad(torch.ones(3, 80, 100), 1.25).shape == (3, 80, 100)


@pytest.mark.parametrize("decoder", DECODERS)
def test_target_pad_comes_before_the_resize(tmp_path, decoder):
    path = tmp_path / "wide.png"
    picture(200, 64).save(path)
    padded = Image.new("RGB", (200, 64 + 2 * 48))
    padded.paste(picture(200, 64), (0, 48))
    padded.save(tmp_path / "padded.png")
    pixels = ImageReader(spec(target_pad=1.25), decoder)(path)
    assert torch.equal(pixels, ImageReader(spec(), decoder)(tmp_path / "padded.png"))
    assert pixels[:, 0].max() == 0


def test_reader_gives_contiguous_bytes_and_can_be_pickled(tmp_path):
    path = tmp_path / "a.jpg"
    picture().save(path)
    for decoder in DECODERS:
        reader = ImageReader(spec(), decoder, tmp_path / "cache")
        again = pickle.loads(pickle.dumps(reader))
        pixels = reader(path)
        assert pixels.dtype == torch.uint8
        assert pixels.is_contiguous()
        assert torch.equal(again(str(path)), pixels)


def test_unknown_settings_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'quick' is unknown: choose one of fast, exact"):
        ImageReader(spec(), "quick")
    with pytest.raises(ValueError, match="'quick' is unknown"):
        read_image(tmp_path / "a.jpg", "quick")
    with pytest.raises(ValueError, match="resize 'stretch' is unknown"):
        ImageReader(spec(resize="stretch"))
    with pytest.raises(ValueError, match="cubic"):
        ImageReader(spec(interpolation="cubic"))
    with pytest.raises(ValueError, match=r"target_pad is 0\.8"):
        ImageReader(spec(target_pad=0.8))
