"""An index that is kept in a file: what did not change is not embedded again, and nothing that was embedded is lost."""

from __future__ import annotations

import os

import pytest
import torch
from PIL import Image

import diptych
from diptych.api.gallery import gallery_images
from diptych.api.indexing import GrowingIndex
from diptych.api.retriever import Retriever

pytestmark = pytest.mark.slow


@pytest.fixture
def retriever(rooms_run, monkeypatch) -> Retriever:
    """One that counts in `embedded` how many pictures it embeds."""
    made = diptych.load_retriever(rooms_run, device="cpu", precision="32-true")
    embed, made.embedded = made._model.embed_gallery, 0

    def counting(pixels):
        made.embedded += len(pixels)
        return embed(pixels)

    monkeypatch.setattr(made._model, "embed_gallery", counting)
    return made


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, colour in (("a.png", "red"), ("b.png", "green"), ("c.png", "blue")):
        Image.new("RGB", (40, 30), colour).save(folder / name)
    return folder


def newly_embedded(retriever, photos, keep, **settings) -> int:
    before = retriever.embedded
    retriever.index(photos, keep=keep, show_progress=False, **settings)
    return retriever.embedded - before


def test_only_new_and_changed_pictures_are_embedded(retriever, photos, tmp_path):
    keep = tmp_path / "kept/photos.index"
    assert newly_embedded(retriever, photos, keep) == 3
    assert newly_embedded(retriever, photos, keep) == 0
    Image.new("RGB", (40, 30), "white").save(photos / "d.png")
    Image.new("RGB", (40, 31), "black").save(photos / "b.png")
    (photos / "a.png").unlink()
    assert newly_embedded(retriever, photos, keep) == 2
    kept = retriever.search(text="red")
    assert {result.image_id for result in kept} == {"b.png", "c.png", "d.png"}
    retriever.index(photos, show_progress=False)
    anew = retriever.search(text="red")
    assert [(each.image_id, each.score) for each in kept] == [
        (each.image_id, pytest.approx(each.score, abs=1e-6)) for each in anew
    ]


def test_a_picture_of_the_same_size_that_was_written_later_is_embedded_again(retriever, photos, tmp_path):
    keep = tmp_path / "photos.index"
    newly_embedded(retriever, photos, keep)
    written = (photos / "a.png").stat().st_mtime_ns
    os.utime(photos / "a.png", ns=(written, written + 1))
    assert newly_embedded(retriever, photos, keep) == 1


def test_what_was_embedded_is_kept_where_another_picture_cannot_be_read(retriever, photos, tmp_path):
    (photos / "torn.jpg").write_bytes(b"\xff\xd8 no picture")
    keep = tmp_path / "photos.index"
    with pytest.raises(ValueError, match=r"1 of 4 images cannot be read: torn\.jpg"):
        retriever.index(photos, keep=keep, show_progress=False)
    assert len(retriever) == 0
    assert newly_embedded(retriever, photos, keep, on_missing="drop") == 0
    assert len(retriever) == 3


def test_an_interrupted_index_goes_on(retriever, photos, tmp_path, monkeypatch, caplog):
    """Every writing is one of a whole index; what stopped it may be anything."""
    keep = tmp_path / "photos.index"
    monkeypatch.setattr("diptych.api.indexing._SECONDS", 0.0)
    monkeypatch.setattr("diptych.api.indexing._SHARE", 0)
    embed, calls = retriever._model.embed_gallery, []

    def failing(pixels):
        calls.append(len(pixels))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return embed(pixels)

    monkeypatch.setattr(retriever._model, "embed_gallery", failing)
    with pytest.raises(KeyboardInterrupt):
        retriever.index(photos, keep=keep, batch_size=1, num_workers=0, show_progress=False)
    monkeypatch.setattr(retriever._model, "embed_gallery", embed)
    with caplog.at_level("WARNING"):
        retriever.load(keep)
    assert len(retriever) == 2 and "was not finished: 1 images are not in it" in caplog.text
    assert newly_embedded(retriever, photos, keep) == 1
    caplog.clear()
    retriever.load(keep)
    assert len(retriever) == 3 and not caplog.text


def test_an_index_that_is_as_it_should_be_is_not_written(retriever, photos, tmp_path, monkeypatch):
    keep = tmp_path / "photos.index"
    newly_embedded(retriever, photos, keep)
    monkeypatch.setattr("diptych.api.gallery.write_file", lambda *given: pytest.fail("it was written"))
    assert newly_embedded(retriever, photos, keep) == 0


def test_a_place_that_cannot_be_written_is_said_before_anything_is_embedded(retriever, photos, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match=r"photos\.index cannot be written \(.*\): name another place"):
        retriever.index(photos, keep=tmp_path / "file/photos.index", show_progress=False)
    assert retriever.embedded == 0


def test_another_precision_is_another_index(rooms_run, photos, tmp_path):
    keep = tmp_path / "photos.index"
    for precision, said in (("32-true", 3), ("bf16-mixed", 3), ("bf16-mixed", 0)):
        retriever = diptych.load_retriever(rooms_run, "cpu", precision=precision)
        growing = GrowingIndex(
            gallery_images(photos), retriever._weights, "", precision, keep if keep.exists() else None
        )
        assert len(growing.missing) == said
        retriever.index(photos, keep=keep, show_progress=False)


def test_models_without_a_shared_space_keep_one_array(photos):
    """Of these, rows of the second space are never embedded: they are the first's."""
    growing = GrowingIndex(gallery_images(photos), "w", "c", "32-true", None)
    growing.put([0, 1, 2], {"model": torch.eye(3)})
    gallery = growing.gallery()
    assert gallery.vectors["baseline"] is gallery.vectors["model"]


def test_the_index_of_another_checkpoint_is_made_anew(retriever, good4cir_run, photos, tmp_path, caplog):
    keep = tmp_path / "photos.index"
    other = diptych.load_retriever(good4cir_run, device="cpu", precision="32-true")
    other.index(photos, keep=keep, show_progress=False)
    with caplog.at_level("INFO"):
        assert newly_embedded(retriever, photos, keep) == 3
    assert "all is embedded anew" in caplog.text
    retriever.load(keep)
    with pytest.raises(ValueError, match="was made by"):
        other.load(keep)


def test_a_saved_index_is_brought_up_to_date(retriever, photos, tmp_path):
    retriever.index(photos, show_progress=False)
    retriever.save(tmp_path / "saved.index")
    assert newly_embedded(retriever, photos, tmp_path / "saved.index") == 0


def test_another_file_is_not_overwritten(retriever, photos, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"notes\.txt is a damaged index.*delete it, or name another file"):
        retriever.index(photos, keep=tmp_path / "notes.txt", show_progress=False)
    assert (tmp_path / "notes.txt").read_text() == "mine"
