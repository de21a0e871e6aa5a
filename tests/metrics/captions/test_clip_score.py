"""CLIPScore, RefCLIPScore and the windowed one on a tiny random model, and the model that they share."""

from __future__ import annotations

import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from diptych.contracts.news import CaptionItem
from diptych.metrics.captions import clip_scorer
from diptych.metrics.captions.clip_score import CLIPScore, clip_score
from diptych.metrics.captions.clip_score_windowed import CLIPScoreWindowed, clip_score_windowed, windows
from diptych.metrics.captions.clip_scorer import ClipScorer, clip_scores
from diptych.metrics.captions.ref_clip_score import RefCLIPScore, ref_clip_score

LONG = " ".join(f"Sentence number {number} says a little more." for number in range(30))
CAPTIONS = ["a red bus in the rain", "", LONG, "two dogs"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model with weights from a fixed seed, as open_clip reads one from disk."""
    architecture = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
    }
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(4)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": architecture, "preprocess_cfg": {}}))
    model = open_clip.CLIP(**architecture)
    with torch.no_grad():  # open_clip's start is so small that all texts look alike
        model.token_embedding.weight.normal_(std=1.0)
        model.text_projection.normal_(std=1.0)
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(len(CAPTIONS))]
    for number, path in enumerate(paths):
        noise, colour = generator.integers(0, 256, (40 + number, 60, 3)), generator.integers(0, 256, 3)
        Image.fromarray(((noise + 3 * colour) // 4).astype(np.uint8)).save(path)
    return paths


@pytest.fixture
def scorer(folder):
    clip_scorer._loaded.cache_clear()
    return ClipScorer(f"local-dir:{folder}", pretrained=None, batch_size=3)


@pytest.fixture
def photo_items(photos):
    return [
        CaptionItem(f"q{number}", caption, (CAPTIONS[number - 1], "a bus"), image_path=path)
        for number, (caption, path) in enumerate(zip(CAPTIONS, photos, strict=True))
    ]


def features(scorer, texts):
    """Normalised embeddings by open_clip's own functions, one text at a time."""
    model, _ = open_clip.create_model_from_pretrained(scorer.name)
    model = model.eval()
    tokenizer = open_clip.get_tokenizer(scorer.name)
    with torch.inference_mode():
        return np.concatenate([model.encode_text(tokenizer([text]), normalize=True).numpy() for text in texts])


def photo_features(scorer, paths):
    """The same of photos, each resized and cropped by hand."""
    model, _ = open_clip.create_model_from_pretrained(scorer.name)
    mean, std = torch.tensor(open_clip.OPENAI_DATASET_MEAN), torch.tensor(open_clip.OPENAI_DATASET_STD)
    rows = []
    for path in paths:
        image = Image.open(path).convert("RGB")
        scale = 32 / min(image.size)
        image = image.resize((int(image.width * scale), int(image.height * scale)), Image.Resampling.BICUBIC)
        left, top = round((image.width - 32) / 2), round((image.height - 32) / 2)
        pixels = torch.from_numpy(np.array(image.crop((left, top, left + 32, top + 32)))) / 255
        with torch.inference_mode():
            rows.append(model.eval().encode_image(((pixels - mean) / std).permute(2, 0, 1)[None], normalize=True))
    return torch.cat(rows).numpy()


# ------------------------------------------------------------------------------------------- the scale


def test_scale_and_clipping_at_zero():
    photo, text = np.array([[1.0, 0], [1, 0], [1, 0]]), np.array([[1.0, 0], [0.6, 0.8], [-1, 0]])
    np.testing.assert_allclose(clip_scores(photo, text), [2.5, 1.5, 0])


def test_values_equal_those_of_open_clip_itself(scorer, photo_items, photos):
    corpus, per_item, _ = clip_score(photo_items, scorer)
    texts = features(scorer, [f"A photo depicts {caption}" for caption in CAPTIONS])
    expected = 2.5 * np.maximum((texts * photo_features(scorer, photos)).sum(1), 0)
    np.testing.assert_allclose(per_item, expected, atol=1e-5)
    assert corpus == pytest.approx(expected.mean(), abs=1e-5)
    assert len(set(per_item.round(3))) == len(CAPTIONS) and per_item.min() > 0.1  # the model tells the captions apart


def test_cut_captions_keep_the_end_token_and_are_counted(scorer, photo_items):
    metric = CLIPScore(scorer)
    metric.update(photo_items[::-1])
    scores = metric.compute()
    assert scores.corpus["clip_score_cut_share"] == 0.25 and list(scores.per_item) == ["clip_score"]
    assert scores.model.startswith("local-dir:")
    ids = clip_scorer._loaded(scorer).tokenizer([clip_scorer.PREFIX + LONG])[0]
    assert len(ids) == 77 and ids[-1] == 49407 and (ids[:-1] != 49407).all()
    assert not np.allclose(scorer.text_features([LONG]), scorer.text_features([LONG.split(".")[0]]))
    # What lies beyond the cut does not count.
    np.testing.assert_array_equal(scorer.text_features([LONG]), scorer.text_features([f"{LONG} And the end."]))


def test_a_caption_that_just_fits_is_not_cut(scorer):
    assert scorer.fits(" ".join(["bus"] * 72)) and not scorer.fits(" ".join(["bus"] * 73))  # 3 + 72 + 2 tokens


# ------------------------------------------------------------------------------------------- references, windows


def test_ref_clip_score_is_the_harmonic_mean(scorer, photo_items):
    corpus, per_item = ref_clip_score(photo_items, scorer)
    _, with_photo, _ = clip_score(photo_items, scorer)
    for item, photo, value in zip(photo_items, with_photo, per_item, strict=True):
        captions = [item.caption, *item.reference_captions]
        caption, *references = features(scorer, [f"A photo depicts {text}" for text in captions])
        likeness = max(0, *(caption @ reference for reference in references))
        assert value == pytest.approx(2 * photo * likeness / (photo + likeness) if photo * likeness else 0, abs=1e-5)
    metric = RefCLIPScore(scorer)
    metric.update(photo_items)
    assert metric.compute().corpus == {"ref_clip_score": pytest.approx(corpus)}


def test_a_caption_like_its_reference_has_likeness_one(scorer, photo_items):
    item = CaptionItem("q", "two dogs", ("nothing of it", "two dogs"), image_path=photo_items[0].image_path)
    _, (photo,), _ = clip_score([item], scorer)
    assert ref_clip_score([item], scorer)[0] == pytest.approx(2 * photo / (photo + 1), abs=1e-6)


def test_windows_hold_every_word_once_and_fit(scorer):
    for text in (LONG, LONG.replace(".", ""), "word " * 200, f"Short one. {'and ' * 100}. Short two."):
        parts = windows(text, scorer.fits)
        assert " ".join(parts).split() == text.split()
        assert len(parts) > 1 and all(map(scorer.fits, parts))
    assert all(part.endswith("more.") for part in windows(LONG, scorer.fits))
    assert windows(" A text \n that fits. ", scorer.fits) == [" A text \n that fits. "] and windows(
        "", scorer.fits
    ) == [""]
    assert len(windows("x y " * 3 + "ab" * 200, scorer.fits)) == 2  # a word longer than a window is one of its own


def test_windowed_is_the_mean_of_its_windows_and_plain_where_captions_fit(scorer, photo_items):
    corpus, per_item, numbers = clip_score_windowed(photo_items, scorer)
    plain = clip_score(photo_items, scorer)[1]
    np.testing.assert_allclose(per_item[[0, 1, 3]], plain[[0, 1, 3]], rtol=1e-6)
    parts = [CaptionItem("q", text, (), None, photo_items[2].image_path) for text in windows(LONG, scorer.fits)]
    assert per_item[2] == pytest.approx(clip_score(parts, scorer)[0], rel=1e-6) and per_item[2] != plain[2]
    assert numbers.tolist() == [1, 1, len(parts), 1]
    metric = CLIPScoreWindowed(scorer)
    metric.update(photo_items)
    assert metric.compute().corpus == {"clip_score_windowed": corpus, "clip_score_windows": numbers.mean()}


# ------------------------------------------------------------------------------------------- shared work, faults


def test_metrics_share_one_model_and_its_features(folder, scorer, photo_items, monkeypatch):
    calls = []
    load = open_clip.create_model_from_pretrained
    monkeypatch.setattr(
        open_clip, "create_model_from_pretrained", lambda *a, **k: calls.append("load") or load(*a, **k)
    )
    run = clip_scorer._LoadedClip._run
    monkeypatch.setattr(
        clip_scorer._LoadedClip,
        "_run",
        lambda self, encode, batch: calls.append(len(batch)) or run(self, encode, batch),
    )
    for kind in (CLIPScore, RefCLIPScore, CLIPScoreWindowed):
        metric = kind(ClipScorer(f"local-dir:{folder}", None, 3))  # each its own, as configs build them
        metric.update(photo_items)
        metric.compute()
    long_windows = len(windows(LONG, scorer.fits))
    # One model; four photos, four captions; the one reference that is no caption; the windows of the long one.
    assert calls[:6] == ["load", 3, 1, 3, 1, 1] and sum(calls[6:]) == long_windows


def test_photos_are_turned_as_their_orientation_asks(scorer, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # to be turned by a half
    photo = Image.effect_noise((40, 40), 90).convert("RGB")
    photo.save(tmp_path / "turned.png", exif=exif)
    photo.rotate(180).save(tmp_path / "upright.png")
    items = [CaptionItem("q", "a", image_path=tmp_path / name) for name in ("turned.png", "upright.png")]
    turned, upright = scorer.image_features(items)
    np.testing.assert_array_equal(turned, upright)


def test_a_photo_that_changed_is_read_again(scorer, tmp_path):
    item = CaptionItem("q", "a", image_path=tmp_path / "photo.png")
    seen = []
    for size in (40, 50):
        Image.effect_noise((size, size), 90).convert("RGB").save(item.image_path)
        seen.append(scorer.image_features([item]))
    assert not np.allclose(*seen)


@pytest.mark.parametrize("kind", [CLIPScore, RefCLIPScore, CLIPScoreWindowed])
def test_missing_photos_are_listed(kind, scorer, photo_items, tmp_path):
    metric = kind(scorer)
    metric.update([*photo_items, CaptionItem("x1", "a", ("b",)), CaptionItem("x2", "a", ("b",), None, tmp_path / "no")])
    with pytest.raises(ValueError, match="2 items have no photo on disk; .*: x1, x2"):
        metric.compute()


def test_other_faults_are_named(scorer, photo_items, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff not a photo")
    with pytest.raises(ValueError, match="query 'x': image .*broken.jpg is not a readable image"):
        clip_score([CaptionItem("x", "a", image_path=tmp_path / "broken.jpg")], scorer)
    with pytest.raises(ValueError, match="1 items have no reference caption: x"):
        ref_clip_score([CaptionItem("x", "a", image_path=photo_items[0].image_path)], scorer)


@pytest.mark.parametrize(
    ("name", "pretrained"),
    [("ViT-B-33", "openai"), ("ViT-B-32", "nobody"), ("local-dir:absent", None)],
)
def test_a_model_that_is_not_there_is_named(name, pretrained):
    with pytest.raises(ValueError, match=f"the CLIP model {name}.* cannot be loaded: .*local-dir:FOLDER"):
        ClipScorer(name, pretrained).text_features(["a"])


@pytest.mark.parametrize(("pretrained", "quick"), [("openai", True), ("laion2b_s34b_b79k", False)])
def test_openais_weights_run_with_the_activation_they_were_trained_with(monkeypatch, pretrained, quick):
    asked = []

    def refuse(*names, **settings):
        asked.append((*names, settings["force_quick_gelu"]))
        raise RuntimeError("no network")

    monkeypatch.setattr(open_clip, "create_model_from_pretrained", refuse)
    with pytest.raises(ValueError, match=f"ViT-B-32 {pretrained} cannot be loaded: no network"):
        ClipScorer(pretrained=pretrained).text_features(["a"])
    assert asked == [("ViT-B-32", pretrained, quick)]
