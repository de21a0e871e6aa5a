"""A checkpoint that train.py wrote embeds photos as the trained system does, and names what it is itself."""

import pickle
import sys

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf

from diptych.config.trained import build_trained
from diptych.config.trained_encoder import TrainedEncoder
from diptych.contracts.models import ImageSpec
from diptych.parallel import checkpoints
from diptych.photos.images import read_image
from diptych.photos.photo_transform import PhotoTransform
from tiny_runs import TINY_MODEL, TINY_ROOMS_SIZES, TINY_RUN, run_train
from tiny_sets import tiny_set

pytestmark = pytest.mark.models

# The experiment's settings are those of another model.
GOOD4CIR = ["system/model=good4cir", "~system.model.feed_forward_ratio", "~system.model.dropout"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    tiny_set("rooms", folder / "rooms")
    return folder


def trained(data, run, *overrides):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        run_train(
            run, "experiment=cir_rooms", f"data_dir={data}", *overrides, *TINY_ROOMS_SIZES, *TINY_MODEL, *TINY_RUN
        )
    return run


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    pad = "system.model.backbone.preprocessing.target_pad=1.25"
    return trained(data, tmp_path_factory.mktemp("runs") / "cross_attention", pad)


def model_of(run):
    """The trained system's model, as evaluate.py builds and fills it."""
    path = run / "checkpoints/best.ckpt"
    checkpoint = checkpoints.load(path)
    config = OmegaConf.create(checkpoints.config_text(checkpoint))
    _, system = build_trained(config, config.data, config.data_dir, checkpoint["state_dict"], path)
    checkpoints.load_weights(system, checkpoint, path)
    return system.model.eval()


def photo(height, width):
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(height))


@torch.no_grad()
def test_the_trained_systems_embeddings(run):
    encoder, model = TrainedEncoder(str(run / "checkpoints/best.ckpt")), model_of(run)
    assert not list(encoder.parameters())
    pixels = torch.stack([encoder.transform(photo(40, 90)), encoder.transform(photo(50, 30))])
    encoder.load()
    backbone = model.backbone
    expected = F.normalize(backbone.encode_image(pixels).embedding, dim=1)
    torch.testing.assert_close(encoder.embed_images(pixels), expected)
    tokens = backbone.preprocessing.tokenize(["a lamp", "darker curtains"])
    texts = encoder.embed_texts(["a lamp", "darker curtains"])
    torch.testing.assert_close(texts, F.normalize(backbone.encode_text(tokens).embedding, dim=1))
    assert not encoder.training and not any(parameter.requires_grad for parameter in encoder.parameters())


@torch.no_grad()
def test_queries_are_embedded_as_the_trained_system_composes_them(run, data):
    encoder, model = TrainedEncoder(run), model_of(run)
    encoder.load()
    paths, texts = sorted((data / "rooms/images/train").rglob("*.jpg"))[:2], ["a lamp", "darker curtains"]
    pixels = torch.stack([encoder.transform(read_image(path)) for path in paths])
    tokens = model.backbone.preprocessing.tokenize(texts)
    found = encoder.embed_queries(paths, texts)
    torch.testing.assert_close(
        found, model.compose(model.backbone.encode_image(pixels), model.backbone.encode_text(tokens))
    )
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))


def test_a_run_directory_stands_for_its_best_checkpoint(run):
    encoder = TrainedEncoder(run)
    assert encoder.input_files == (run / "checkpoints/best.ckpt",)
    assert isinstance(encoder.transform, PhotoTransform)


def test_the_transform_is_that_of_the_training_and_travels_without_weights(run):
    transform = TrainedEncoder(run).transform
    assert isinstance(transform.spec, ImageSpec) and (transform.spec.size, transform.spec.target_pad) == (32, 1.25)
    data = pickle.dumps(transform)
    assert len(data) < 1000 and pickle.loads(data) == transform


def test_the_reader_decodes_as_an_evaluation_does(data, run, tmp_path):
    image = next((data / "rooms/images").rglob("*.jpg"))
    encoder = TrainedEncoder(run)
    assert encoder.reader.decoder == "fast" and torch.equal(encoder.reader(image), encoder.transform(read_image(image)))
    exact = rewritten(run, tmp_path / "exact.ckpt", lambda config: config["data"]["images"].update(decoder="exact"))
    assert TrainedEncoder(exact).reader.decoder == "exact"


@torch.no_grad()
def test_a_model_with_another_space_embeds_pictures_in_that_and_no_texts(data, tmp_path):
    run = trained(data, tmp_path / "good4cir", *GOOD4CIR)
    encoder, model = TrainedEncoder(run), model_of(run)
    encoder.load()
    pixels = encoder.transform(photo(40, 30))[None]
    expected = model.embed_gallery(pixels)["model"]
    torch.testing.assert_close(encoder.embed_images(pixels), expected)
    assert expected.shape[1] == 32 != model.backbone.embedding_dim  # the tower's width
    with pytest.raises(ValueError, match=r"best.ckpt: its model compares pictures before texts join"):
        encoder.embed_texts(["a lamp"])


def rewritten(run, path, change):
    """The run's checkpoint with its config changed."""
    content = checkpoints.load(run / "checkpoints/best.ckpt")
    config = OmegaConf.to_container(OmegaConf.create(checkpoints.config_text(content)))
    change(config)
    content[checkpoints.KEY]["config"] = OmegaConf.to_yaml(OmegaConf.create(config))
    torch.save(content, path)
    return path


def test_what_is_no_checkpoint_of_a_cir_system_says_so(run, tmp_path):
    with pytest.raises(ValueError, match=r"none.ckpt: there is no such checkpoint file"):
        TrainedEncoder(tmp_path / "none.ckpt").load()
    path = rewritten(run, tmp_path / "fuser.ckpt", lambda config: config["system"]["model"].pop("backbone"))
    with pytest.raises(ValueError, match=r"fuser.ckpt holds no image backbone; name a checkpoint of a CIR system"):
        _ = TrainedEncoder(path).transform
    wider = {"embed_dim": 24}
    path = rewritten(
        run,
        tmp_path / "other.ckpt",
        lambda config: config["system"]["model"]["backbone"]["architecture"].update(wider),
    )
    with pytest.raises(ValueError, match=r"other.ckpt: the weights have other shapes than this model"):
        TrainedEncoder(path).load()


def test_a_strangers_checkpoint_runs_no_code(run, tmp_path):
    def change(config):
        config["system"]["model"]["backbone"]["preprocessing"]["_target_"] = "os.system"

    path = rewritten(run, tmp_path / "evil.ckpt", change)
    with pytest.raises(ValueError, match=r"os.system is not allowed in a checkpoint's config; nothing was built"):
        _ = TrainedEncoder(path).transform
