import pickle

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as transforms

from diptych.models.backbones.global_descriptor import ColourLayout, OrientedGradients, _to_lab

ENCODERS = (ColourLayout(), OrientedGradients())


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def drawing(seed, height=90, width=120):
    """Boxes on a ground."""
    draw = np.random.default_rng(seed)
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = draw.integers(0, 256, 3)
    for _ in range(8):
        (left, right), (top, bottom) = (np.sort(draw.integers(0, side, 2)) for side in (width, height))
        canvas[top:bottom, left:right] = draw.integers(0, 256, 3)
    return torch.from_numpy(canvas).permute(2, 0, 1)


def embed(encoder, photos):
    return encoder.embed_images(torch.stack([encoder.transform(photo) for photo in photos]))


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: type(encoder).__name__)
def test_a_changed_copy_is_nearest_to_its_original(encoder):
    originals = [drawing(seed) for seed in range(30)]
    copies = [transforms.resize(photo[:, 2:-3, 3:-2] // 4 * 3 + 20, [70, 90]) for photo in originals]
    scores = embed(encoder, copies) @ embed(encoder, originals).T
    assert (scores.argmax(dim=1) == torch.arange(30)).all()


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: type(encoder).__name__)
def test_photos_of_every_kind_have_unit_embeddings(encoder):
    encoder.load()
    kinds = [
        torch.zeros(3, 10, 10, dtype=torch.uint8),
        torch.full((3, 1, 1), 255, dtype=torch.uint8),
        torch.full((3, 5, 500), 77, dtype=torch.uint8),
        drawing(0),
        torch.randint(0, 256, (3, 300, 40), dtype=torch.uint8),
    ]
    embeddings = embed(encoder, kinds)
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(embeddings[:3] @ embeddings[:3].T, torch.ones(3, 3), rtol=0, atol=1e-4)  # blank is blank
    assert (embeddings[3:] @ embeddings[0]).max() < 0.3


def test_widths_and_weights():
    assert embed(ENCODERS[0], [drawing(0)]).shape == (1, 3 * 8 * 8 + 1)
    assert embed(ENCODERS[1], [drawing(0)]).shape == (1, 4 * 9 * 5 * 5 + 1)
    assert embed(OrientedGradients(cells=3, cell_size=8, num_bins=6), [drawing(0)]).shape == (1, 4 * 6 * 2 * 2 + 1)
    assert all(not encoder.state_dict() and not list(encoder.parameters()) for encoder in ENCODERS)


def test_lab_is_opencvs():
    pixels = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    pixels[..., 0] = 0
    pixels[..., 1] = 1
    theirs = cv2.cvtColor(pixels[0].permute(1, 2, 0).numpy(), cv2.COLOR_RGB2LAB)
    ours = _to_lab(pixels)[0].permute(1, 2, 0)
    torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=0, atol=0.5)


def test_a_layout_is_the_colours_of_cells_whatever_the_light():
    left_dark = torch.zeros(1, 3, 64, 64)
    left_dark[..., 32:] = 0.5
    cells = ENCODERS[0].describe(left_dark).view(3, 8, 8)
    torch.testing.assert_close(cells[0, :, :4], torch.full((8, 4), -1.0))
    torch.testing.assert_close(cells[0, :, 4:], torch.full((8, 4), 1.0))
    assert cells[1:].abs().max() < 0.02  # grey: no colour, and its rounding is not blown up
    torch.testing.assert_close(ENCODERS[0].describe(left_dark * 0.7), cells.flatten()[None], rtol=0, atol=0.02)


def test_gradients_stand_in_the_bins_of_their_orientation():
    """Stripes across a direction; a bin is 20 degrees wide, its centre at 10, 30, ..., 170."""
    encoder = OrientedGradients()
    side = encoder.image.size
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    for degrees, bins in ((10, {0}), (90, {4}), (120, {5, 6}), (0, {0, 8}), (170, {8})):
        angle = torch.tensor(degrees * torch.pi / 180)
        stripes = torch.sin((x * torch.cos(angle) + y * torch.sin(angle)) * 0.2) / 2 + 0.5
        blocks = encoder.describe(stripes.expand(1, 3, -1, -1)).view(9, 4, 25)
        weights = F.normalize(blocks.mean((1, 2)), dim=0)
        assert {number for number, weight in enumerate(weights) if weight > 0.5} == bins, degrees
        torch.testing.assert_close(blocks.square().sum((0, 1)), torch.ones(25), rtol=0, atol=1e-3)


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: type(encoder).__name__)
def test_no_text_and_a_transform_that_travels(encoder):
    with pytest.raises(
        ValueError, match=f"{type(encoder).__name__} reads no text; choose an encoder with a text tower"
    ):
        encoder.embed_texts(["a house"])
    data = pickle.dumps(encoder.transform)
    assert len(data) < 1000
    torch.testing.assert_close(pickle.loads(data)(drawing(1)), encoder.transform(drawing(1)))


def test_settings_that_make_no_sense():
    with pytest.raises(ValueError, match="^grid=1: a layout needs at least 2 cells"):
        ColourLayout(grid=1)
    with pytest.raises(ValueError, match="cells=1, cell_size=16, num_bins=9 must be at least 2"):
        OrientedGradients(cells=1)
