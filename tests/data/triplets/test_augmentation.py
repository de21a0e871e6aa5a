import pickle

import pytest
import torch

from diptych.data.triplets.augmentation import AugmentationSequence, ColorJitter, RandomCropResize, num_random


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramp(height: int = 30, width: int = 40) -> torch.Tensor:
    """Pixels whose red is the column, green the row and blue 100."""
    columns = torch.arange(width, dtype=torch.uint8).expand(height, width)
    rows = torch.arange(height, dtype=torch.uint8)[:, None].expand(height, width)
    return torch.stack([columns * 5, rows * 5, torch.full((height, width), 100, dtype=torch.uint8)])


ALL = [RandomCropResize(), ColorJitter(), AugmentationSequence([RandomCropResize((0.5, 0.9)), ColorJitter(0.3, 0.3)])]


@pytest.mark.parametrize("augment", ALL, ids=lambda augment: type(augment).__name__)
def test_shape_type_and_determinism(augment):
    pixels = ramp()
    before = pixels.clone()
    first = augment(pixels, generator(1))
    again = pickle.loads(pickle.dumps(augment))(pixels, generator(1))
    assert first.shape == pixels.shape
    assert first.dtype == torch.uint8
    assert first.is_contiguous()
    assert torch.equal(first, again)
    assert not torch.equal(first, augment(pixels, generator(2)))
    assert torch.equal(pixels, before)


def pictures() -> torch.Tensor:
    """Noise that is coarse in half of them, with edges that a bicubic window overshoots."""
    noise = torch.randint(0, 256, (12, 3, 40, 40), dtype=torch.uint8, generator=generator())
    noise[6:] = noise[6:, :, :8, :8].repeat_interleave(5, 2).repeat_interleave(5, 3)
    return noise


def numbers(augment) -> torch.Tensor:
    return torch.stack([torch.rand(augment.num_random, generator=generator(seed)) for seed in range(12)])


@pytest.mark.parametrize("augment", ALL, ids=lambda augment: type(augment).__name__)
def test_many_pictures_are_augmented_as_each_alone(augment):
    alone = [augment(picture, generator(seed)) for seed, picture in enumerate(pictures())]
    assert torch.equal(augment.of_batch(pictures(), numbers(augment)), torch.stack(alone))


def test_a_gpu_resizes_in_float32_and_rounds_almost_the_same(monkeypatch):
    augment = RandomCropResize((0.5, 0.9))
    here = augment.of_batch(pictures(), numbers(augment)).int()
    # torchvision asks this on a CPU; elsewhere it computes in float32, rounds and clamps.
    monkeypatch.setattr(
        "torchvision.transforms.v2.functional._geometry._do_native_uint8_resize_on_cpu", lambda _: False
    )
    there = augment.of_batch(pictures(), numbers(augment)).int()
    assert (here - there).abs().max() <= 2 and 0 < (here != there).float().mean() < 0.02


def test_an_augmentation_of_single_pictures_is_known_as_one():
    assert num_random(None) == 0 and num_random(lambda pixels, generator: pixels) is None
    assert AugmentationSequence([ColorJitter(), lambda pixels, generator: pixels]).num_random is None


def test_global_random_state_is_not_used():
    state = torch.random.get_rng_state()
    for augment in ALL:
        augment(ramp(), generator())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_whole_area_leaves_the_picture_as_it_is():
    assert torch.equal(RandomCropResize((1.0, 1.0))(ramp(), generator()), ramp())
    assert torch.equal(ColorJitter(0.0, 0.0)(ramp(), generator()), ramp())


def test_window_covers_the_stated_area_and_reaches_every_side():
    augment = RandomCropResize((0.25, 0.25))  # half of each side
    draws = generator()
    lefts, tops = set(), set()
    for _ in range(300):
        pixels = augment(ramp(), draws).float()
        red, green = pixels[0, 0], pixels[1, :, 0]
        assert red[-1] - red[0] == pytest.approx(19 * 5, abs=5)  # 20 of 40 columns
        assert green[-1] - green[0] == pytest.approx(14 * 5, abs=5)  # 15 of 30 rows
        assert red[-1] > red[0]  # never mirrored
        lefts.add(round(red[0].item() / 5))
        tops.add(round(green[0].item() / 5))
    assert lefts == set(range(21))
    assert tops == set(range(16))


def test_one_pixel_survives():
    pixel = torch.full((3, 1, 1), 7, dtype=torch.uint8)
    assert torch.equal(RandomCropResize((0.01, 0.5))(pixel, generator()), pixel)


def test_brightness_scales_grey_levels():
    pixels = torch.tensor([[[100, 200]], [[0, 50]], [[10, 20]]], dtype=torch.uint8)
    draws = generator(3)
    factor = 1 + 0.2 * (2 * torch.rand(2, generator=draws)[0].item() - 1)
    changed = ColorJitter(brightness=0.2, contrast=0.0)(pixels, generator(3))
    assert torch.equal(changed, (pixels * factor).round().clamp(0, 255).to(torch.uint8))


def test_contrast_keeps_the_mean_and_scales_the_spread():
    pixels = ramp()
    values = pixels.float()
    draws = generator(5)
    factor = 1 + 0.4 * (2 * torch.rand(2, generator=draws)[1].item() - 1)
    changed = ColorJitter(brightness=0.0, contrast=0.4)(pixels, generator(5)).float()
    expected = (values - values.mean()) * factor + values.mean()
    assert (changed - expected.clamp(0, 255)).abs().max() <= 0.51


@pytest.mark.parametrize("scale", [(0.0, 1.0), (0.9, 0.8), (0.5, 1.1)])
def test_impossible_scale(scale):
    with pytest.raises(ValueError, match="0 < low <= high <= 1"):
        RandomCropResize(scale)


def test_impossible_jitter():
    with pytest.raises(ValueError, match=r"brightness is 1\.0"):
        ColorJitter(brightness=1.0)
    with pytest.raises(ValueError, match=r"contrast is -0\.1"):
        ColorJitter(contrast=-0.1)
