from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.contracts.retrieval import Triplet, TripletBatch, TripletSource
from diptych.data.triplets import feature_cache
from diptych.data.triplets.concepts import ConceptReader
from diptych.data.triplets.feature_preparation import feature_settings
from diptych.data.triplets.from_features import FeatureTraining, FromFeatures
from diptych.data.triplets.from_files import FileTraining, FromFiles
from diptych.data.triplets.training_data import TrainingInputs
from diptych.data.triplets.triplet_dataset import TripletCollator
from diptych.losses.info_nce import InfoNCE
from diptych.models.backbones.clip import CLIPBackbone, CLIPPreprocessing
from diptych.models.composers.composed_model import ComposedModel
from diptych.models.composers.context import ConTextComposer
from diptych.models.composers.cross_attention_composer import CrossAttentionComposer
from diptych.models.composers.good4cir import Good4CIRComposer
from diptych.photos.images import ImageReader

pytestmark = pytest.mark.slow

ARCHITECTURE = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 24, "layers": 2, "head_width": 8},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
DISTRACTORS = ("distractors",)
TEXTS = (
    ("add a lamp",),
    ("make the curtains blue and remove the picture above the bed", "blue curtains"),
    ("",),
    ("no chair",),
    ("the bed is wider, the walls are green, there is a plant by the window and a second rug in front of the desk",),
)


class DrawnTriplets(TripletSource):
    """Five triplets over six drawn images."""

    name, docs_page, splits = "drawn", "docs/own_data.md", ("train",)

    def __init__(self, root: Path) -> None:
        self.root = root
        for number in range(6):
            pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / f"{number}.png")

    def triplets(self, split: str) -> list[Triplet]:
        return [
            Triplet(f"q{n}", str(n), texts, str(n + 1), (str((n + 2) % 6),) * (n % 3)) for n, texts in enumerate(TEXTS)
        ]

    def image_path(self, split: str, image_id: str) -> Path:
        return self.root / f"{image_id}.png"


def make_backbone(
    freeze: str = "all", pad_to_context: bool = False, tokenizer: str = "open_clip", **changes
) -> CLIPBackbone:
    torch.manual_seed(0)
    architecture = ARCHITECTURE | changes
    preprocessing = CLIPPreprocessing(
        "tiny", architecture=architecture, pad_to_context=pad_to_context, tokenizer=tokenizer
    )
    return CLIPBackbone("tiny", preprocessing, architecture=architecture, freeze=freeze)


@pytest.fixture
def make_data(tmp_path):
    source = DrawnTriplets(tmp_path)

    def make(backbone: CLIPBackbone, features=True, wants=(), decoder="fast", **arguments):
        reader = ImageReader(backbone.preprocessing.image, decoder=decoder)
        inputs = TrainingInputs({"drawn": source}, backbone.preprocessing, reader, "error", 0, 4)
        part = FromFeatures(str(tmp_path / "cache"), batch_size=5, **arguments) if features else FromFiles(batch_size=5)
        return part.open(inputs)(system_of(backbone, wants))

    return make


def system_of(backbone: CLIPBackbone, wants=()) -> SimpleNamespace:
    return SimpleNamespace(model=SimpleNamespace(backbone=backbone), wants=frozenset(wants))


def prepared(backbone: CLIPBackbone, data: FeatureTraining) -> FeatureTraining:
    data.prepare_from_weights(system_of(backbone), torch.device("cpu"))
    return data


def batch_of(data: FeatureTraining | FileTraining, positions=range(5)) -> TripletBatch:
    dataset = data.batches(3, 0).dataset
    return TripletCollator(data.inputs.preprocessing)([dataset[position, position] for position in positions])


def loss_and_gradients(model: ComposedModel, batch: TripletBatch) -> dict[str, torch.Tensor]:
    loss = InfoNCE(reference_negatives=True, distractor_negatives=True)
    model.zero_grad()
    value = loss(model(batch, with_reference=True, with_distractors=True), batch)["loss"]
    value.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert gradients
    return {"loss": value.detach(), **gradients}


COMPOSERS = {
    "cross_attention": (CrossAttentionComposer, {}, False),
    "good4cir, pads masked": (Good4CIRComposer, {"mask_padding": True}, False),
    "good4cir, pads attended to": (Good4CIRComposer, {}, True),
    "good4cir, as released": (Good4CIRComposer, {}, True, "transformers"),
}


@pytest.mark.parametrize("composer", COMPOSERS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float16", 2e-3)])
def test_training_from_features_equals_training_from_pixels(make_data, composer, dtype, tolerance):
    kind, arguments, *padding = COMPOSERS[composer]
    backbone = make_backbone("all", *padding)
    model = kind(backbone, num_layers=2, num_heads=2, **arguments)
    if kind is CrossAttentionComposer:
        torch.nn.init.normal_(model.projection.weight)  # zero at first, which leaves the layers without gradient
    expected = loss_and_gradients(model, batch_of(make_data(backbone, False, DISTRACTORS)))
    # Features are computed in batches of 4 with other paddings than the training batch of 5.
    data = prepared(backbone, make_data(backbone, wants=DISTRACTORS, feature_dtype=dtype))
    actual = loss_and_gradients(model, batch_of(data))
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        error = (actual[name] - value).abs().max() / value.abs().max().clamp(min=1.0)
        assert error < tolerance, f"{name} differs by {error:.1e}"


class ShortTexts:
    """Finds a text of three words or fewer to be one phrase."""

    def load(self):
        pass

    def phrases(self, texts):
        return [(text,) if text and len(text.split()) <= 3 else () for text in texts]


def test_noun_phrases_come_with_features_as_with_pixels(make_data):
    """The attention to them is that from pixels: the text tower runs on the phrases alone."""
    backbone = make_backbone()
    model = ConTextComposer(backbone, num_layers=2, num_heads=2)
    collate = TripletCollator(backbone.preprocessing, ConceptReader(ShortTexts(), backbone.preprocessing))
    found = []
    for data in (make_data(backbone, False), prepared(backbone, make_data(backbone, feature_dtype="float32"))):
        dataset = data.batches(3, 0).dataset
        assert "blue curtains" in data.texts() and len(data.texts()) == 6
        found.append(model(collate([dataset[position, 3] for position in range(5)])).concepts)
    assert len(found[0].alone) >= 2
    torch.testing.assert_close(found[1].in_text, found[0].in_text, rtol=0, atol=1e-5)
    torch.testing.assert_close(found[1].alone, found[0].alone, rtol=0, atol=1e-5)


def test_batches_differ_from_pixel_batches_only_in_the_features(make_data):
    backbone = make_backbone()
    pixels = batch_of(make_data(backbone, False, DISTRACTORS), (3, 1))
    cached = batch_of(prepared(backbone, make_data(backbone, wants=DISTRACTORS)), (3, 1))
    assert cached.query_ids == pixels.query_ids
    for name in ("reference_keys", "target_keys", "distractor_keys"):
        assert torch.equal(getattr(cached, name), getattr(pixels, name))
    assert torch.equal(cached.text.mask, pixels.text.mask)  # the same wording was drawn, padded to the same length
    assert cached.reference.tokens.shape == (2, 4, 24)
    assert cached.distractors.pooled.shape == (1, 24)
    assert {t.dtype for t in vars(cached.reference).values()} == {torch.float32}


def test_training_reads_no_image_and_calls_no_tower(make_data, monkeypatch):
    backbone = make_backbone()
    data = prepared(backbone, make_data(backbone))
    monkeypatch.setattr(ImageReader, "__call__", None)
    for tower in ("encode_image", "encode_text"):
        monkeypatch.setattr(backbone, tower, None)
    loss = loss_and_gradients(CrossAttentionComposer(backbone, num_layers=1, num_heads=2), batch_of(data))
    assert torch.isfinite(loss["loss"])


def count_calls(backbone: CLIPBackbone, monkeypatch) -> dict[str, int]:
    """Rows that the towers are asked for from now on."""
    rows = {"encode_image": 0, "encode_text": 0}

    def counted(name, encode):
        def call(batch):
            rows[name] += len(batch if name == "encode_image" else batch.mask)
            return encode(batch)

        return call

    for name in rows:
        monkeypatch.setattr(backbone, name, counted(name, getattr(backbone, name)))
    return rows


def test_everything_is_computed_once(make_data, monkeypatch):
    backbone = make_backbone()
    rows = count_calls(backbone, monkeypatch)
    prepared(backbone, make_data(backbone))
    assert rows == {"encode_image": 6, "encode_text": 6}  # every image and every wording, each once
    prepared(backbone, make_data(backbone))
    assert rows == {"encode_image": 6, "encode_text": 6}


def test_a_changed_image_alone_is_computed_again(make_data, tmp_path, monkeypatch):
    backbone = make_backbone()
    prepared(backbone, make_data(backbone))
    Image.new("RGB", (30, 30), "red").save(tmp_path / "2.png")
    rows = count_calls(backbone, monkeypatch)
    data = prepared(backbone, make_data(backbone, feature_dtype="float16"))
    assert rows == {"encode_image": 1, "encode_text": 0}
    pixels = data.inputs.reader(tmp_path / "2.png")[None]
    expected = CLIPBackbone.encode_image(backbone, pixels).tokens
    torch.testing.assert_close(batch_of(data, [2]).reference.tokens, expected, rtol=0, atol=5e-3)


def test_an_interrupted_preparation_goes_on(make_data, monkeypatch):
    monkeypatch.setattr(feature_cache, "_ROWS_PER_SHARD", 2)
    backbone = make_backbone()
    encode, calls = backbone.encode_image, []

    def interrupted(pixels):
        calls.append(len(pixels))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return encode(pixels)

    monkeypatch.setattr(backbone, "encode_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepared(backbone, make_data(backbone))
    data = prepared(backbone, make_data(backbone))
    assert calls == [4, 2, 2]  # the first four images were kept
    assert len(batch_of(data).query_ids) == 5


def test_whatever_decides_the_features_is_in_the_settings(make_data):
    backbone = make_backbone()
    inputs = make_data(backbone).inputs
    exact = make_data(backbone, decoder="exact").inputs
    settings = feature_settings(backbone, inputs, "float16")
    assert settings == feature_settings(make_backbone(freeze="none"), inputs, "float16")
    other_weights = make_backbone()
    with torch.no_grad():
        other_weights.text.positional_embedding[0, 0] += 1e-3
    changed = [
        feature_settings(other_weights, inputs, "float16"),
        feature_settings(make_backbone(quick_gelu=True), inputs, "float16"),  # the same weights
        feature_settings(make_backbone(pad_to_context=True), inputs, "float16"),
        feature_settings(make_backbone(tokenizer="transformers"), inputs, "float16"),
        feature_settings(backbone, exact, "float16"),
        feature_settings(backbone, inputs, "float32"),
    ]
    assert all(other != settings for other in changed)
    assert "tokenizer" not in settings  # caches made before it could be chosen are still found


@pytest.mark.parametrize("freeze", ["none", "vision", "text"])
def test_a_backbone_that_is_trained_is_refused(make_data, freeze):
    backbone = make_backbone(freeze)
    with pytest.raises(ValueError, match=r"data/training=features.*backbone\.freeze=all"):
        make_data(backbone)


def test_unknown_precisions_are_refused(make_data):
    with pytest.raises(ValueError, match=r"data\.training\.feature_dtype='bfloat16'.*float16, float32"):
        make_data(make_backbone(), feature_dtype="bfloat16")


def test_features_are_not_read_before_they_are_there(make_data):
    with pytest.raises(RuntimeError, match="call prepare_from_weights"):
        make_data(make_backbone()).batches(3, 0)


def test_features_too_large_for_half_precision_are_refused(make_data):
    backbone = make_backbone()
    with torch.no_grad():
        backbone.visual.ln_post.weight.fill_(1e6)
    with pytest.raises(ValueError, match=r"do not fit into float16.*data\.training\.feature_dtype=float32"):
        prepared(backbone, make_data(backbone))
    prepared(backbone, make_data(backbone, feature_dtype="float32"))


def test_an_unreadable_image_is_named(make_data, tmp_path):
    (tmp_path / "3.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"3\.png is not a readable image"):
        prepared(make_backbone(), make_data(make_backbone()))


def test_the_backbone_is_left_as_it_was(make_data):
    backbone = make_backbone().train()
    prepared(backbone, make_data(backbone))
    assert backbone.training
    assert not any(parameter.is_inference() for parameter in backbone.parameters())
