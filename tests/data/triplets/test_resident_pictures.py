"""Pictures kept on a device: batches, losses and resumed runs are those of pictures read for every batch."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import lightning as L
import pytest
import torch

from diptych.contracts.retrieval import PictureRows
from diptych.data.triplets import from_files
from diptych.data.triplets.augmentation import AugmentationSequence, ColorJitter, RandomCropResize
from diptych.data.triplets.cir_datamodule import CIRDataModule
from diptych.data.triplets.cirr import CIRR
from diptych.data.triplets.from_features import FromFeatures
from diptych.data.triplets.from_files import FromFiles
from diptych.data.triplets.from_shards import FromShards
from diptych.data.triplets.resident_pictures import SHARE, fits_on, load_pictures, wanted_on
from diptych.losses.info_nce import InfoNCE
from diptych.models.composers.cross_attention_composer import CrossAttentionComposer
from diptych.parallel import devices
from diptych.photos.images import ImageReader
from diptych.synthetic.rooms.source import Rooms
from diptych.systems.cir import CIRSystem
from tiny_sets import TINY

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
BOTH = AugmentationSequence([RandomCropResize((0.3, 0.9)), ColorJitter()])


@pytest.fixture
def make(data, tiny_preprocessing, monkeypatch):
    """Training data of two sources; with `resident` as on a GPU with room for it, but that the device is the CPU."""

    def build(resident, augmentation=None, wants=(), num_workers=0, **settings):
        sources = {"rooms": Rooms(data / "rooms", TINY), "cirr": CIRR(data / "cirr")}
        training = FromFiles(batch_size=8, group_size=4, augmentation=augmentation, **settings)
        module = CIRDataModule(sources, tiny_preprocessing, training, num_workers=num_workers)
        module.trainer = SimpleNamespace(max_steps=6, accumulate_grad_batches=1)
        system = SimpleNamespace(wants=frozenset(wants), parameters=list)
        module.prepare_for(system)
        with monkeypatch.context() as patch:
            patch.setattr(from_files, "wanted_on", lambda *_: resident)
            patch.setattr(from_files, "fits_on", lambda *_: True)
            module.prepare_from_weights(system, CPU)
        return module

    return build


def transferred(module):
    """The batches as the model gets them."""
    return [module.on_after_batch_transfer(batch.to(CPU), 0) for batch in module.train_dataloader()]


@pytest.mark.parametrize("augmentation", [None, BOTH], ids=["as they are", "augmented"])
def test_batches_are_those_of_the_host(make, augmentation, monkeypatch):
    host = transferred(make(False, augmentation, {"distractors"}))
    module = make(True, augmentation, {"distractors"})
    monkeypatch.setattr(ImageReader, "__call__", None)  # no picture is read any more
    for ours, theirs in zip(transferred(module), host, strict=True):
        assert ours.query_ids == theirs.query_ids and torch.equal(ours.text.input_ids, theirs.text.input_ids)
        for name in ("reference", "target", "distractors", "reference_keys", "target_keys", "distractor_keys"):
            one, other = getattr(ours, name), getattr(theirs, name)
            assert torch.equal(one, other) if one is not None else other is None, name
    assert any(batch.distractors is not None for batch in host)
    assert sum(len({*batch.reference_keys.tolist(), *batch.target_keys.tolist()}) < 16 for batch in host)


def test_workers_hand_over_rows_and_numbers(make):
    host = transferred(make(False, BOTH))
    module = make(True, BOTH, num_workers=2)
    for batch, theirs in zip(module.train_dataloader(), host, strict=True):
        assert isinstance(batch.reference, PictureRows) and batch.target.random.shape == (8, BOTH.num_random)
        assert torch.equal(module.on_after_batch_transfer(batch, 0).reference, theirs.reference)


def test_every_picture_is_loaded_once_and_augmented_once_a_batch(make, monkeypatch):
    seen = []
    monkeypatch.setattr(ColorJitter, "of_batch", lambda self, pixels, random: seen.append(len(pixels)) or pixels)
    module = make(True, ColorJitter())
    paths = module._training_data.dataset().image_paths()
    batches = transferred(module)
    assert len(module._pictures.pixels) == len(set(module._pictures.rows.values())) == len(paths)
    assert seen == [len({*batch.reference_keys.tolist(), *batch.target_keys.tolist()}) for batch in batches]
    kept = module._pictures
    monkeypatch.setattr(from_files, "wanted_on", lambda *_: True)
    monkeypatch.setattr(from_files, "fits_on", lambda *_: True)
    module.prepare_from_weights(SimpleNamespace(parameters=list), CPU)
    module.train_dataloader()
    assert module._pictures is kept


def test_processes_begin_at_different_places(make, monkeypatch):
    paths = make(False)._training_data.dataset().image_paths()
    reader = ImageReader(make(False).preprocessing.image)
    alone = load_pictures(paths, reader, None, CPU, 0)
    monkeypatch.setattr(L.pytorch.utilities.rank_zero_only, "rank", 1)
    second = load_pictures(paths, reader, None, CPU, 0)
    assert next(iter(second.rows)) == paths[int(0.618 * len(paths))] and second.rows.keys() == alone.rows.keys()
    for path in paths:
        assert torch.equal(alone.pixels[alone.rows[path]], second.pixels[second.rows[path]])


class Losses(L.Callback):
    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        self.values.append(outputs["loss"].item())


def trained(module, backbone, folder, steps, micro_batch_size=None, resume=None):
    model = CrossAttentionComposer(backbone(), num_layers=1, num_heads=2)
    system = CIRSystem(model, InfoNCE(), {}, partial(torch.optim.AdamW, lr=1e-2), None, micro_batch_size)
    losses = Losses()
    trainer = L.Trainer(
        accelerator="cpu", max_steps=steps, limit_val_batches=0, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[losses], default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(system, datamodule=module, ckpt_path=resume, weights_only=False)
    trainer.save_checkpoint(folder / f"{steps}.ckpt")
    return losses.values


@pytest.mark.parametrize(
    ("augmentation", "micro_batch_size"), [(None, None), (BOTH, None), (BOTH, 3)], ids=["plain", "augmented", "pieces"]
)
def test_losses_are_those_of_the_host(make, tiny_backbone, tmp_path, augmentation, micro_batch_size):
    ours, theirs = (
        trained(make(resident, augmentation), tiny_backbone, tmp_path, 4, micro_batch_size)
        for resident in (True, False)
    )
    assert ours == theirs and len(set(ours)) == 4


def test_a_resumed_run_goes_on_exactly_and_may_change_the_place(make, tiny_backbone, tmp_path):
    whole = trained(make(True, BOTH), tiny_backbone, tmp_path, 5)
    assert trained(make(True, BOTH), tiny_backbone, tmp_path, 2) == whole[:2]
    for resident in (True, False):
        assert trained(make(resident, BOTH), tiny_backbone, tmp_path, 5, resume=tmp_path / "2.ckpt") == whole[2:]


# ------------------------------------------------------------------------------------------------ where they go


@pytest.fixture
def model(monkeypatch):
    """A million parameters that are trained, and two million that are not, beside 1 GB that is free on the GPU."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**9, 80 * 10**9))
    trained, frozen = torch.empty(10**6), torch.empty(2 * 10**6)
    return [torch.nn.Parameter(trained), torch.nn.Parameter(frozen, requires_grad=False)]


ROOM = 10**9 - 16 * 10**6 - 4 * 2 * 10**6  # beside the model


@pytest.mark.parametrize("place", ["auto", "gpu"])
def test_they_go_where_they_take_no_more_than_their_share(model, place, caplog):
    caplog.set_level(logging.INFO)
    most = int(ROOM * (SHARE if place == "auto" else 1)) // (3 * 10 * 10)
    assert fits_on(GPU, most, 10, model, place)
    assert f"pictures are kept on the GPU: {most} pictures of 10 x 10 pixels take" in caplog.text
    if place == "auto":
        assert not fits_on(GPU, most + 1, 10, model, place)
        assert "pictures stay on the host" in caplog.text and "0.25 of the rest" in caplog.text
    else:
        with pytest.raises(
            ValueError, match=r"data\.images_on=gpu, and they do not fit: .* 976\.0 MB; of 1\.0 GB free on"
        ):
            fits_on(GPU, most + 1, 10, model, place)


def test_they_stay_on_the_host_of_a_cpu_if_that_is_wanted_and_where_an_augmentation_cannot_follow(caplog):
    caplog.set_level(logging.INFO)
    for device, place in ((CPU, "auto"), (GPU, "host")):
        assert not wanted_on(device, place, None)
    assert wanted_on(GPU, "auto", None) and wanted_on(GPU, "gpu", BOTH) and not caplog.text
    assert not wanted_on(GPU, "auto", AugmentationSequence([ColorJitter(), own_augmentation]))
    assert "data.training.augmentation=AugmentationSequence has no num_random and of_batch" in caplog.text


def own_augmentation(pixels, generator):
    return pixels


def inputs(module, images_on):
    return replace(module.training_inputs(), images_on=images_on)


def test_what_cannot_be_on_a_gpu_and_must_is_refused(make, data, tiny_preprocessing, tmp_path, monkeypatch, caplog):
    module = make(False)
    with pytest.raises(ValueError, match=r"images_on='card' is not one of auto, gpu, host"):
        CIRDataModule({}, tiny_preprocessing, images_on="card")
    with pytest.raises(ValueError, match="data.images_on=gpu, and training is on the CPU"):
        FromFiles().open(inputs(module, "gpu"))
    others = {"pictures are not read": FromFeatures(str(tmp_path)), "a stream": FromShards(str(tmp_path))}
    for reason, training in others.items():
        with pytest.raises(ValueError, match=f"data.images_on=gpu, but .*{reason}"):
            training.open(inputs(module, "gpu"))
    monkeypatch.setattr(devices, "_on_gpu", True)
    FromFiles(8, augmentation=BOTH).open(inputs(module, "gpu"))
    with pytest.raises(ValueError, match="augmentation=own_augmentation has no num_random and of_batch"):
        FromFiles(8, augmentation=own_augmentation).open(inputs(module, "gpu"))
    caplog.set_level(logging.INFO)
    FromFeatures(str(tmp_path), batch_size=8).open(inputs(module, "auto"))
    assert "no pictures are kept on the GPU: features are trained on" in caplog.text
