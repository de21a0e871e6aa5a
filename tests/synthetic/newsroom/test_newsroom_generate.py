import csv
import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import cv2
import pytest

from diptych.commands.main import run
from diptych.data.news.openevents import OpenEvents
from diptych.data.news.retrieval_file import read_retrieval
from diptych.synthetic.newsroom import generate, layout
from diptych.synthetic.newsroom.casting import FAMILY_SIZE, SPLITS
from diptych.synthetic.newsroom.generate import NewsroomSettings, draw_sheet, generate_newsroom
from diptych.synthetic.newsroom.source import Newsroom

pytestmark = pytest.mark.slow

SMALL = NewsroomSettings(num_train_families=4, num_val_families=1, num_test_families=2)
NUM_EVENTS = 7 * FAMILY_SIZE


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return generate_newsroom(tmp_path_factory.mktemp("newsroom") / "set", SMALL, num_workers=1)


def _rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _database(root):
    return json.loads((root / layout.DATABASE).read_text(encoding="utf-8"), strict=False)


def _events(root):
    return json.loads((root / layout.FACTS).read_text(encoding="utf-8"))["events"]


def _contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_same_seed_same_bytes_with_any_number_of_processes(root, tmp_path):
    again = generate_newsroom(tmp_path / "again", SMALL, num_workers=2)
    assert _contents(again) == _contents(root)


def test_another_seed_gives_other_news(root, tmp_path):
    few = replace(SMALL, seed=1, num_train_families=1, num_test_families=1)
    other = generate_newsroom(tmp_path / "other", few, num_workers=1)
    assert not {event["title"] for event in _database(other).values()} & set(_database(root))
    assert not set(_database(other)) & set(_database(root))


def test_database_is_as_published(root):
    database = _database(root)
    assert len(database) == NUM_EVENTS
    images = [image for article in database.values() for image in article["images"]]
    assert len(set(images)) == len(images)
    for article_id, article in database.items():
        assert re.fullmatch(r"[0-9a-f]{16}", article_id)
        assert set(article) == {"url", "date", "title", "images", "content"}
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", article["date"])
    assert {path.stem for path in (root / layout.DATABASE_IMAGES).iterdir()} == set(images)
    for image in images[:4]:
        assert cv2.imread(str(root / layout.DATABASE_IMAGES / f"{image}.jpg")).shape == (300, 400, 3)


def test_strict_json_cannot_read_the_database_as_it_cannot_read_the_published_one(root):
    with pytest.raises(ValueError, match="control character"):
        json.loads((root / layout.DATABASE).read_text(encoding="utf-8"))


def test_ids_are_unique_and_some_look_like_numbers():
    ids = [layout.make_id(0, what, number) for what in ("article", "image", "query") for number in range(1300)]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[0-9a-f]{16}", value) for value in ids)
    assert any(value.isdigit() for value in ids)
    assert any(re.fullmatch(r"\d\de\d{13}", value) for value in ids)


@pytest.mark.parametrize("split", SPLITS)
def test_answers_point_at_the_query_photo_s_article_and_photo(root, split):
    database, rows = _database(root), _rows(root / layout.ANSWERS[split])
    assert len(rows) == getattr(SMALL, f"num_{split}_families") * FAMILY_SIZE
    splits = json.loads((root / layout.SPLITS_FILE).read_text(encoding="utf-8"))
    assert [row["image_index"] for row in rows] == splits[split]
    for row in rows:
        assert tuple(row) == layout.ANSWER_COLUMNS
        assert row["retrieved_image_id"] in database[row["retrieved_article_id"]]["images"]
        assert (root / layout.QUERY_IMAGES[split] / f"{row['image_index']}.jpg").is_file()
        assert not (root / layout.DATABASE_IMAGES / f"{row['image_index']}.jpg").exists()


def test_test_queries_are_published_without_answers(root):
    rows = _rows(root / layout.TEST_QUERIES)
    assert [row["query_id"] for row in rows] == [row["image_index"] for row in _rows(root / layout.ANSWERS["test"])]
    assert set(rows[0]) == {"query_id"}


def test_facts_are_those_of_the_texts(root):
    database, base = _database(root), {row["query_id"]: row for row in _rows(root / layout.BASE_CAPTIONS)}
    captions = {row["image_index"]: row["caption"] for split in SPLITS for row in _rows(root / layout.ANSWERS[split])}
    events = _events(root)
    assert len(events) == len(base) == len(captions) == NUM_EVENTS
    for event in events:
        article = database[event["article_id"]]
        assert " ".join(event["sentences"]) == " ".join(article["content"].split("\n\n")).replace("\n", " ")
        needed = [event["when"]["text"], event["why"], event["who"][0]["name"], event["numbers"][0]["text"]]
        for fact in (*needed, *event["where"].values()):
            assert fact in article["content"] or fact.removeprefix("the ") in article["content"]
        assert all(fact in captions[event["query_id"]] for fact in needed)
        assert captions[event["query_id"]] == next(iter(event["captions"].values()))
        assert base[event["query_id"]]["caption"] == event["base_caption"]
        assert base[event["query_id"]]["matched_image_id"] == article["images"][0] == event["query_photo"]["image_id"]
        assert article["date"][:10] >= event["when"]["date"]


def test_the_source_knows_where_the_facts_stand(root, tmp_path):
    for name in (layout.DATABASE, layout.FACTS, layout.ANSWERS["val"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(root / name, tmp_path / name)
    source = Newsroom(tmp_path, SMALL)
    expected = {event["query_id"]: event for event in _events(root) if event["split"] == "val"}
    facts = source.facts("val")
    assert facts.keys() == expected.keys()
    for query_id, found in facts.items():
        event, article = expected[query_id], source.articles()[expected[query_id]["article_id"]]
        stated = {fact.name: article.text[fact.start : fact.end] for fact in found}
        said = {name: event["sentences"][number] for name, number in event["fact_sentences"].items()}
        assert stated.items() <= said.items()
        assert {"what", "who"} <= stated.keys()  # others a reference caption may leave out
        assert all(fact.position == fact.start / len(article.text) for fact in found)
        assert {fact.article_id for fact in found} == {article.article_id}
    text = (tmp_path / layout.FACTS).read_text(encoding="utf-8")
    sentence = next(iter(expected.values()))["sentences"][-1]
    (tmp_path / layout.FACTS).write_text(text.replace(sentence, "Nobody said that."), encoding="utf-8")
    with pytest.raises(ValueError, match=r"facts\.json: article \w+ of the database does not say 'Nobody said that\.'"):
        Newsroom(tmp_path, SMALL).facts("val")
    (tmp_path / layout.FACTS).unlink()
    assert Newsroom(tmp_path, SMALL).facts("val") == {}


def test_names_of_a_caption_are_supported_by_its_article(root):
    """The ground truth of hallucination: the reference captions themselves have none."""
    database = _database(root)
    for event in _events(root):
        text = database[event["article_id"]]["content"]
        names = [*event["entities"]["people"][:1], *event["entities"]["places"], *event["entities"]["dates"]]
        assert all(name.removeprefix("the ") in text for name in names)


def test_retrieval_is_in_the_agreed_form_and_makes_mistakes_but_not_many(root):
    database = _database(root)
    found = 0
    answers = {row["image_index"]: row for split in SPLITS for row in _rows(root / layout.ANSWERS[split])}
    for split in SPLITS:
        records = json.loads((root / layout.retrieval_file(split)).read_text(encoding="utf-8"))
        assert [record["query_id"] for record in records] == [
            row["image_index"] for row in _rows(root / layout.ANSWERS[split])
        ]
        for record in records:
            assert len(record["results"]) == layout.NUM_RESULTS
            scores = [result["score"] for result in record["results"]]
            assert scores == sorted(scores, reverse=True) and -1 <= scores[-1] <= scores[0] <= 1
            for result in record["results"]:
                assert result["image_id"] in database[result["article_id"]]["images"]
            found += record["results"][0]["article_id"] == answers[record["query_id"]]["retrieved_article_id"]
    assert 0.7 * NUM_EVENTS < found <= NUM_EVENTS


def test_the_reader_of_openevents_reads_it(root, tmp_path):
    source = OpenEvents(
        root,
        prepared=tmp_path,
        files={"val": layout.ANSWERS["val"], "test": layout.ANSWERS["test"]},
        image_folders={"database": layout.DATABASE_IMAGES, **layout.QUERY_IMAGES},
    )
    articles = source.articles(show_progress=False)
    for event in _events(root):
        (query,) = (query for query in source.queries(event["split"]) if query.query_id == event["query_id"])
        assert query.article_id == event["article_id"] and len(query.reference_captions) == 1
        assert articles[query.article_id].image_ids[0] == query.image_id
        assert source.image_path(event["split"], query.query_id).is_file()
        assert source.database_image_path(query.image_id).is_file()
    for split in SPLITS:
        assert len(read_retrieval(root / layout.retrieval_file(split), articles)) == len(source.queries(split))
    assert OpenEvents(root, prepared=tmp_path).answers_hidden("test")


def test_several_captions_per_query_are_several_rows(tmp_path):
    settings = replace(SMALL, num_train_families=1, num_test_families=1, captions_per_query=5)
    made = generate_newsroom(tmp_path / "set", settings, num_workers=1)
    rows = _rows(made / layout.ANSWERS["val"])
    assert len(rows) == 5 * FAMILY_SIZE and len({row["caption"] for row in rows}) == len(rows)
    assert len({row["image_index"] for row in rows}) == FAMILY_SIZE
    assert any("\n" in row["caption"] for row in rows)


def test_complete_set_is_left_alone(root):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert generate_newsroom(root, SMALL, num_workers=1) == root
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_failed_generation_leaves_nothing(tmp_path, monkeypatch):
    def fail(task):
        if task.event.number == 1:
            raise KeyboardInterrupt
        return original(task)

    original = generate.write_event
    monkeypatch.setattr(generate, "write_event", fail)
    with pytest.raises(KeyboardInterrupt):
        generate_newsroom(tmp_path / "set", SMALL, num_workers=1)
    assert {path.name for path in tmp_path.iterdir()} <= {".set.lock"}


def test_killed_generation_leaves_no_set_and_the_next_one_succeeds(root, tmp_path):
    command = [sys.executable, "-m", "diptych.synthetic.newsroom.generate", f"out={tmp_path / 'set'}", "workers=1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not any(tmp_path.rglob("*.jpg")):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (tmp_path / "set").exists() and not list(tmp_path.rglob(layout.MANIFEST))
    made = generate_newsroom(tmp_path / "set", SMALL, num_workers=1)
    assert _contents(made) == _contents(root)
    assert {path.name for path in tmp_path.iterdir()} == {"set", ".set.lock"}


def test_manifest_is_written_last(tmp_path, monkeypatch):
    written = []
    original = layout.write_json

    def record(path, value):
        written.append(path.name)
        original(path, value)

    monkeypatch.setattr(layout, "write_json", record)
    few = replace(SMALL, num_train_families=1, num_test_families=1)
    generate_newsroom(tmp_path / "set", few, num_workers=1)
    assert written.index(layout.MANIFEST) == len(written) - 1


def test_folder_with_something_else_is_refused(tmp_path, root):
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="not empty"):
        generate_newsroom(tmp_path, SMALL)
    with pytest.raises(ValueError, match="another newsroom set"):
        generate_newsroom(root, replace(SMALL, seed=5))


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"num_val_families": 0}, {"captions_per_query": 6}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=r"newsroom set|styles"):
        NewsroomSettings(**wrong)


def test_sheet_shows_every_kind_and_its_query_photo():
    sheet = draw_sheet(seed=0)
    assert sheet.shape == (6 * 304 - 4, 4 * 404 - 4, 3)
    assert (sheet[300:304] == 255).all()


def test_command_line(tmp_path):
    few = [f"num_{split}_families=1" for split in SPLITS]
    assert run("generate newsroom", [f"out={tmp_path / 'set'}", "seed=4", "workers=1", *few]) == 0
    manifest = json.loads((tmp_path / "set" / layout.MANIFEST).read_text(encoding="utf-8"))
    assert manifest["seed"] == 4 and manifest["num_train_families"] == 1
