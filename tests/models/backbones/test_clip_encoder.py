import pickle

import pytest
import torch
import torch.nn.functional as F
from torchvision.io import write_png

from diptych.contracts.models import ImageSpec
from diptych.models.backbones.clip import CLIPPreprocessing
from diptych.models.backbones.clip_encoder import CLIPEncoder
from diptych.photos.images import ImageReader
from diptych.photos.photo_transform import PhotoTransform, normalise

pytestmark = pytest.mark.models


def photo(height, width):
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(height))


def test_the_backbones_embeddings_normalised(tiny_backbone):
    backbone = tiny_backbone()
    encoder = CLIPEncoder(backbone)
    encoder.load()
    pixels = torch.stack([encoder.transform(photo(40, 30)), encoder.transform(photo(20, 70))])
    images, texts = encoder.embed_images(pixels), encoder.embed_texts(["add a lamp", "darker"])
    expected = F.normalize(backbone.encode_image(pixels).embedding, dim=1)
    torch.testing.assert_close(images, expected)
    tokens = backbone.preprocessing.tokenize(["darker"])
    torch.testing.assert_close(texts[1:], F.normalize(backbone.encode_text(tokens).embedding, dim=1))
    assert images.dtype == texts.dtype == torch.float32 and not images.requires_grad


@pytest.mark.parametrize("target_pad", [None, 1.25])
@pytest.mark.parametrize("resize", ["shortest", "squash"])
@pytest.mark.parametrize("size", [(40, 90), (90, 40), (24, 24), (33, 40)])
def test_a_decoded_photo_becomes_what_the_reader_makes_of_the_file(tmp_path, resize, target_pad, size):
    spec = ImageSpec(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), resize=resize, target_pad=target_pad)
    pixels = photo(*size)
    write_png(pixels, str(tmp_path / "photo.png"))
    expected = ImageReader(spec)(tmp_path / "photo.png")
    torch.testing.assert_close(PhotoTransform(spec)(pixels), expected, rtol=0, atol=0)


def test_the_transform_travels_without_weights(tiny_backbone, tiny_architecture):
    preprocessing = CLIPPreprocessing("tiny", architecture=tiny_architecture, target_pad=1.25)
    backbone = tiny_backbone()
    backbone.preprocessing = preprocessing
    transform = CLIPEncoder(backbone).transform
    assert transform.spec == preprocessing.image and transform.spec.target_pad == 1.25
    data = pickle.dumps(transform)
    assert len(data) < 1000 and pickle.loads(data) == transform


def test_a_picture_like_a_line():
    with pytest.raises(ValueError, match="a picture of 100000 x 1 is too narrow to be resized to 224 pixels"):
        PhotoTransform(ImageSpec(224, (0, 0, 0), (1, 1, 1)))(torch.zeros(3, 1, 100_000, dtype=torch.uint8))


def test_normalise():
    pixels = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1)
    spec = ImageSpec(1, (0.0, 0.5, 0.2), (1.0, 0.5, 2.0))
    torch.testing.assert_close(normalise(pixels, spec).flatten(), torch.tensor([0.0, 1.0, 0.0]))
