"""What the page shows of a search is what the retriever finds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

import diptych
from diptych.api.gallery import gallery_images
from diptych.app.picture_search import NUM_SHOWN, PictureSearch, shown_names
from diptych.app.session import Round


def indexed(run, photos):
    retriever = diptych.load_retriever(run, "cpu", precision="32-true")
    retriever.index(photos, show_progress=False)
    return retriever


@pytest.mark.slow
def test_results_and_places_are_the_retriever_s(rooms_run, photos):
    retriever = indexed(rooms_run, photos)
    picture = photos / "green.png"
    (found,) = PictureSearch({"rooms": retriever}).search(Round(picture, "green.png", "make it red"))
    assert found.model == "rooms" and found.way == "picture and text" and found.notes == ()
    own = ["green.png"]
    assert list(found.results) == retriever.search(picture, "make it red", exclude=own)
    assert list(found.halves["picture"]) == retriever.search(picture, exclude=own)
    everything = retriever.search(text="make it red", k=len(retriever), exclude=own)
    assert list(found.halves["text"]) == everything[:10]
    order = [each.image_id for each in everything]
    assert found.places["text"] == {each.image_id: order.index(each.image_id) + 1 for each in found.results}


@pytest.mark.slow
def test_a_copy_of_an_image_is_not_its_own_nearest(rooms_run, photos, tmp_path):
    copy = Path(shutil.copy(photos / "green.png", tmp_path / "green.png"))
    other = tmp_path / "other/green.png"
    other.parent.mkdir()
    Image.new("RGB", (40, 30), "olive").save(other)
    search = PictureSearch({"rooms": indexed(rooms_run, photos)})
    for picture, is_there in ((copy, False), (other, True)):
        (found,) = search.search(Round(picture, "green.png", ""))
        assert found.way == "picture" and found.halves == {}
        assert ("green.png" in {each.image_id for each in found.results}) == is_there


@pytest.mark.slow
def test_a_model_that_compares_only_both_says_so_beside_one_that_does_not(rooms_run, good4cir_run, photos, monkeypatch):
    both = {"rooms": indexed(rooms_run, photos), "good4cir": indexed(good4cir_run, photos)}
    monkeypatch.setattr(both["good4cir"]._model.backbone, "embedding_dim", 0)  # as of one without that space
    search = PictureSearch(both)
    rooms, good4cir = search.search(Round(photos / "red.png", "red.png", "make it blue"))
    assert rooms.halves and not good4cir.halves and "nothing to compare with" in good4cir.notes[0]
    assert list(good4cir.results) == both["good4cir"].search(photos / "red.png", "make it blue", exclude=["red.png"])
    rooms, good4cir = search.search(Round(None, "", "a blue bed"))
    assert rooms.way == "text" and rooms.results
    assert not good4cir.results and "needs both" in good4cir.notes[0]
    with pytest.raises(ValueError, match="give it both"):
        PictureSearch({"good4cir": both["good4cir"]}).search(Round(None, "", "a blue bed"))


@pytest.mark.slow
def test_a_text_that_is_cut_is_said_to_be(rooms_run, photos):
    search = PictureSearch({"rooms": indexed(rooms_run, photos)})
    (found,) = search.search(Round(None, "", "a lamp and a chair " * 40))
    assert "its end was left out" in found.notes[0]


class Images:
    """As many of a retriever as the gallery needs."""

    def __init__(self, ids):
        self.images = gallery_images({image_id: f"{image_id}.png" for image_id in ids})


def test_the_gallery_is_shown_in_parts_and_found_by_name():
    ids = [f"{colour}/{number}" for colour in ("Red", "blue") for number in range(NUM_SHOWN)]
    search = PictureSearch({"any": Images(ids)})
    first, second, third = (search.gallery("", page) for page in range(3))
    assert [image.image_id for image in first[0] + second[0]] == ids and first[1] == len(search) == len(ids)
    assert third == first
    assert [image.image_id for image in search.gallery(" red/1 ", 0)[0]] == [ids[1], *ids[10:20]]
    assert search.gallery("green", 4) == ([], 0)
    assert search.image("blue/3").path == Path("blue/3.png").absolute()
    with pytest.raises(ValueError, match="load the page again"):
        search.image("green/1")


def test_checkpoints_are_told_apart_by_the_ends_of_their_paths():
    runs = [Path("/runs/a/latest"), Path("/runs/b/latest")]
    assert shown_names(runs) == ["a/latest", "b/latest"]
    assert shown_names(runs[:1]) == ["a/latest"]
    assert shown_names([Path("/x/a/latest"), Path("/y/a/latest")]) == ["x/a/latest", "y/a/latest"]
    with pytest.raises(ValueError, match="is the same as ckpt="):
        shown_names([runs[0], runs[0]])
