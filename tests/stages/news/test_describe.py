from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from diptych.contracts.news import Candidate, NewsQuery
from diptych.contracts.pipelines import Failure
from diptych.data.news.base_captions import read_base_captions
from diptych.data.news.retrieval_file import write_retrieval
from diptych.models.captioners.caption import Caption
from diptych.photos.photo_file import read_photo
from diptych.stages.news.copy_captions import CopyCaptions
from diptych.stages.news.describe import Describe
from diptych.stages.running.prediction import Prediction

CONF = Path(__file__).resolve().parents[3] / "conf/captioner"
QUERIES = ("0001", "12e4", "00a1", "00a2")


class Source:
    """Photos named by colour, of the queries and of the database; 00a1 of the queries is absent."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for part, colours in (("query", ("red", "black", None, "blue")), ("database", ("green", "white"))):
            (root / part).mkdir()
            for name, colour in zip(QUERIES, colours, strict=False):
                if colour is not None:
                    Image.new("RGB", (8, 8), colour).save(root / part / f"{name}.png")

    def queries(self, split: str) -> list[NewsQuery]:
        return [NewsQuery(name) for name in QUERIES]

    def image_path(self, split: str, query_id: str) -> Path:
        return self.root / "query" / f"{query_id}.png"

    def database_image_path(self, image_id: str) -> Path:
        return self.root / "database" / f"{image_id}.png"


class ColourCaptioner:
    """Says a photo's colour, nothing of black."""

    loaded = False

    def load(self) -> None:
        self.loaded = True

    def read(self, path: Path) -> Image.Image:
        return read_photo(path)

    def describe(self, photos: list[Image.Image]) -> list[Caption]:
        texts = {(255, 0, 0): 'red, "bright"', (0, 0, 0): " ", (0, 128, 0): "green", (0, 0, 255): "blue"}
        return [Caption(texts.get(photo.getpixel((0, 0)), "other"), "stop") for photo in photos]


class ColourServer:
    """The same of files, in another order."""

    def describe_files(self, photos):
        captioner = ColourCaptioner()
        for name, path in reversed(list(photos)):
            try:
                yield name, captioner.describe([captioner.read(path)])[0]
            except ValueError as error:
                yield name, Failure(name, "unreadable", str(error))


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def run(stage: Describe | CopyCaptions, folder: Path) -> dict[str, Failure]:
    """What the runner does, in short; returns the failures."""
    ids = list(stage.ids())
    work = stage.shared_work()
    if work is not None:
        model, reader = work.predictor.load_model(), pickle.loads(pickle.dumps(work.predictor.reader()))
        read = [(name, reader.read(name)) for name in ids]
        good = [(name, item) for name, item in read if not isinstance(item, Failure)]
        results = [item for _, item in read if isinstance(item, Failure)]
        results += work.predictor.predict(model, [name for name, _ in good], reader.collate([item for _, item in good]))
    else:
        results = list(stage.process(ids))
    sink = stage.open_sink(folder, None)
    sink.append([result for result in results if not isinstance(result, Failure)])
    sink.finish(ids)
    failures = {result.record_id: result for result in results if isinstance(result, Failure)}
    stage.write_output(folder, list(failures.values()))
    return failures


@pytest.mark.parametrize("captioner", [ColourCaptioner(), ColourServer()])
def test_the_queries_photos(source, tmp_path, captioner):
    stage = Describe(source, "val", captioner, output=tmp_path / "there/captions.csv")
    assert isinstance(stage.shared_work(), Prediction) == isinstance(captioner, ColourCaptioner)
    failures = run(stage, tmp_path / "stage")
    assert {name: failure.reason for name, failure in failures.items()} == {"12e4": "empty", "00a1": "unreadable"}
    assert "00a1.png cannot be read" in failures["00a1"].message
    records = [json.loads(line) for line in (tmp_path / "stage/records.jsonl").read_text().splitlines()]
    assert records == [
        {"query_id": "0001", "matched_image_id": "", "caption": 'red, "bright"', "stop_reason": "stop"},
        {"query_id": "00a2", "matched_image_id": "", "caption": "blue", "stop_reason": "stop"},
    ]
    text = (tmp_path / "stage/base_captions.csv").read_text()
    assert text == 'query_id,matched_image_id,caption\n0001,,"red, ""bright"""\n00a2,,blue\n'
    assert read_base_captions(tmp_path / "there/captions.csv") == {"0001": 'red, "bright"', "00a2": "blue"}
    assert list(stage.output_files()) == [tmp_path / "there/captions.csv"]
    assert list(stage.input_files()) == []


@pytest.mark.parametrize("captioner", [ColourCaptioner(), ColourServer()])
def test_the_matched_photos(source, tmp_path, captioner):
    first, second = Candidate("0001", "7", 0.9), Candidate("00a2", "8", 0.8)
    retrieval = write_retrieval(tmp_path / "r.json", {"0001": (first, second), "12e4": (), "00a1": (second,)})
    stage = Describe(source, "val", captioner, image="matched", retrieval=retrieval)
    assert list(stage.input_files()) == [retrieval]
    failures = run(stage, tmp_path / "stage")
    reasons = {name: failure.reason for name, failure in failures.items()}
    assert reasons == {"12e4": "no_match", "00a1": "unreadable", "00a2": "no_match"}
    assert "r.json has no candidate for query '12e4'" in failures["12e4"].message
    rows = (tmp_path / "stage/base_captions.csv").read_text().splitlines()
    assert rows == ["query_id,matched_image_id,caption", "0001,0001,green"]


def test_captions_that_exist(source, tmp_path):
    captions = tmp_path / "val.csv"
    captions.write_text("query_id,caption\n0001,A red square\n12e4,\nelse,x\n")
    stage = CopyCaptions(source, "val", tmp_path / "{split}.csv")
    assert list(stage.input_files()) == [captions]
    failures = run(stage, tmp_path / "stage")
    assert {failure.reason for failure in failures.values()} == {"no_caption"}
    assert sorted(failures) == ["00a1", "00a2", "12e4"]
    assert read_base_captions(tmp_path / "stage/base_captions.csv") == {"0001": "A red square"}


def test_settings_that_make_no_sense(source):
    with pytest.raises(ValueError, match="describe.image='both' is not one of query, matched"):
        Describe(source, "val", ColourCaptioner(), image="both")
    with pytest.raises(ValueError, match="image=matched needs describe.retrieval"):
        Describe(source, "val", ColourServer(), image="matched")
    with pytest.raises(ValueError, match="describe.batch_size=0"):
        Describe(source, "val", ColourCaptioner(), batch_size=0)


@pytest.mark.parametrize("name", sorted(path.stem for path in CONF.glob("*.yaml")))
def test_every_captioner_is_built_without_reading_anything(name):
    config = OmegaConf.load(CONF / f"{name}.yaml")
    if name == "server":
        config.client.model = "m"
    captioner = instantiate(config, _convert_="all")
    assert captioner.instruction.startswith("Describe this news photo")
    assert hasattr(captioner, "describe_files" if name == "server" else "describe")
