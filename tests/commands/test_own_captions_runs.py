"""A table of one's own photos, articles and captions: examined, trained on, and captioned."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from diptych.commands.main import main
from diptych.config.data_files import with_data_files
from tiny_runs import WITHOUT_ENTITIES, run_evaluate, run_train, tiny_captions

pytestmark = pytest.mark.slow

PLACES = ("Ashford", "Bramley", "Carrow", "Dunmere", "Eastleigh", "Farley", "Gorton", "Hexham", "Ilkley", "Jarrow")


@pytest.fixture(autouse=True)
def command_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    (folder / "photos").mkdir()
    with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["photo", "article", "title", "date", "caption", "base_caption"])
        for number, place in enumerate(PLACES):
            Image.new("RGB", (24, 16), (20 * number, 90, 200)).save(folder / f"photos/{place}.jpg")
            text = f"The bridge of {place} opened on Monday. It cost {number + 2} million. Ferries no longer run."
            caption = f"The new bridge of {place}."
            table.writerow([f"photos/{place}.jpg", text, f"{place} bridge", "2022-02-27", caption, "a long bridge"])
    return folder


@pytest.fixture(scope="module")
def trained(archive, tiny_chat_model, tiny_sentence_model, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "own"
    words = [*tiny_captions(archive / "prepared", tiny_chat_model, tiny_sentence_model), *WITHOUT_ENTITIES]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        run_train(run, *with_data_files(["experiment=fuser_newsroom", f"data={archive / 'captions.csv'}"]), *words)
    return run


def test_the_doctor_says_what_it_understood(archive, tmp_path, capsys):
    assert main(["doctor", f"data={archive / 'captions.csv'}", f"output={tmp_path}", "workers=1"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "own_captions train: 6 photos, 6 captions, 6 articles (splits were drawn, no article or photo is in" in said


def test_it_is_trained_on_and_evaluated(trained, archive, tmp_path):
    validated = json.loads((trained / "metrics.json").read_text())
    assert validated["data"] == ["own_captions"] and validated["queries"] == {"scored": 2, "expected": 2}
    assert "recall_at_1" not in validated["metrics"], "nothing was retrieved"
    device = ["trainer=cpu", "trainer.precision=32-true", f"data_dir={archive / 'prepared'}"]
    found = run_evaluate(tmp_path / "test", f"ckpt={trained}", "split=test", *device)
    assert found["queries"]["expected"] == 2 and "article_lead/cider" in found["metrics"]
    line = json.loads((tmp_path / "test/predictions.jsonl").read_text().splitlines()[0])
    place = Path(line["query_id"]).stem
    assert f"Title: {place} bridge" in line["evidence"] and f"The bridge of {place} opened" in line["evidence"]


def test_photos_without_captions_are_captioned_as_the_fuser_was_trained(trained, archive, tmp_path):
    (archive / "texts").mkdir(exist_ok=True)
    (archive / "texts/new.txt").write_text("The bridge of Kendal opened on Friday.")
    (archive / "new.jsonl").write_text('{"photo": "photos/Ashford.jpg", "article_file": "texts/new.txt"}\n')
    words = with_data_files([f"data={archive / 'new.jsonl'}"])
    device = ["trainer=cpu", "trainer.precision=32-true", f"data_dir={tmp_path}"]
    found = run_evaluate(tmp_path / "new", f"ckpt={trained}", "split=test", *words, *device)
    assert found["metrics"] == {} and found["queries"] == {"scored": 0, "expected": 1}
    (line,) = [json.loads(line) for line in (tmp_path / "new/predictions.jsonl").read_text().splitlines()]
    assert line["article_id"] == "texts/new.txt" and "Friday" in line["evidence"]
