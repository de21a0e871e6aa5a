import json
import logging

import lightning as L
import pytest

from diptych.contracts.news import Candidate
from diptych.data.news.openevents import OpenEvents
from diptych.data.news.retrieval_file import read_retrieval, write_retrieval
from diptych.metrics.captions.article_retrieval import ArticleRetrieval
from diptych.stages.news.articles import Articles
from diptych.stages.running.runner import PipelineRunner, StageRun

QUERIES = [f"{number:016x}" for number in range(0xC0, 0xC4)]


def article(number):
    return f"a{number:015x}"


def photo(number):
    return f"{number:016x}"


def hits(*numbers):
    """Photos `10 n` and `10 n + 1` are those of article n."""
    return [Candidate(photo(number), article(number // 10), 1 - rank / 100) for rank, number in enumerate(numbers)]


@pytest.fixture
def source(tmp_path):
    """Fifteen articles of two photos; query k of four belongs to article k. The test split hides that."""
    root = tmp_path / "openevents"
    for folder in ("Database", "Train Set", "Track 1 - Public Set"):
        (root / folder).mkdir(parents=True)
    database = {
        article(n): {"url": "", "date": "", "title": "t", "images": [photo(10 * n), photo(10 * n + 1)], "content": "c"}
        for n in range(15)
    }
    (root / "Database/database.json").write_text(json.dumps(database))
    rows = [f"{query},a caption,{article(n)},{photo(10 * n)}" for n, query in enumerate(QUERIES)]
    header = "image_index,caption,retrieved_article_id,retrieved_image_id"
    (root / "Train Set/gt_train.csv").write_text("\n".join([header, *rows]) + "\n")
    (root / "Track 1 - Public Set/query.csv").write_text("\n".join(["query_id", *QUERIES]) + "\n")
    return OpenEvents(root, val_share=0.0)


@pytest.fixture
def files(tmp_path):
    """The right articles come first, second and never; the last query is missing. The other file has its own order."""
    ranked = {
        QUERIES[1]: hits(50, 51, 11, 60),
        QUERIES[0]: hits(0, 1, 20),
        QUERIES[2]: hits(*range(30, 150, 10)),
    }
    other = {QUERIES[3]: hits(30), QUERIES[2]: (), QUERIES[0]: hits(10, 20, 30, 0), QUERIES[1]: hits(10)}
    return [write_retrieval(tmp_path / f"{name}.json", of) for name, of in (("ranked", ranked), ("other", other))]


def run(folder, stage):
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    step = StageRun("articles", stage, folder / "articles", {})
    return PipelineRunner(trainer, folder, show_progress=False).run([step])["articles"]


def test_each_article_once_with_the_photo_that_found_it(source, files):
    stage = Articles(files[0], source, "train")
    records = {record["query_id"]: record["results"] for record in stage.process(stage.ids())}
    assert list(records) == QUERIES  # in the split's order, the file has another
    assert [hit["image_id"] for hit in records[QUERIES[0]]] == [photo(0), photo(20)]
    assert [(hit["image_id"], hit["score"]) for hit in records[QUERIES[1]]] == [
        (photo(50), 1.0),
        (photo(11), 0.98),
        (photo(60), 0.97),
    ]
    assert len(records[QUERIES[2]]) == 10
    assert records[QUERIES[3]] == []
    shallow = Articles(files[0], source, "train", depth=2)
    assert [len(record["results"]) for record in shallow.process(QUERIES)] == [2, 2, 2, 0]


def test_metrics_by_hand(source, files, tmp_path, caplog):
    output = tmp_path / "out.json"
    compare = {"other": files[1]}
    stage = Articles(files[0], source, "train", metric=ArticleRetrieval(), compare=compare, output=output)
    with caplog.at_level(logging.INFO):
        counts = run(tmp_path / "work", stage)
    assert counts.describe() == "4 done, none failed"
    assert "1 of 4 queries have no candidates; their lists are empty" in caplog.text
    folder = tmp_path / "work/articles"
    assert output.read_bytes() == (folder / "retrieval.json").read_bytes()
    assert read_retrieval(output)[QUERIES[3]] == ()
    record = json.loads((folder / "metrics.json").read_text())
    assert record == {
        "split": "train",
        "queries": 4,
        "no_candidates": 1,
        "metrics": {
            "other": {"recall_at_1": 0.5, "recall_at_10": 0.75, "average_precision": pytest.approx((1 + 1 + 0.25) / 4)},
            "articles": {"recall_at_1": 0.25, "recall_at_10": 0.5, "average_precision": pytest.approx(1.5 / 4)},
        },
    }


def test_hidden_answers_are_not_scored(source, files, tmp_path):
    run(tmp_path, Articles(files[0], source, "test", metric=ArticleRetrieval(), compare={"other": files[1]}))
    assert (tmp_path / "articles/retrieval.json").is_file()
    assert not (tmp_path / "articles/metrics.json").exists()


def test_an_article_that_is_not_in_the_database_is_refused(source, tmp_path):
    path = write_retrieval(tmp_path / "bad.json", {QUERIES[0]: [Candidate("x", "e" * 16, 1.0)]})
    with pytest.raises(ValueError, match=rf"article '{'e' * 16}' is not in the database"):
        run(tmp_path, Articles(path, source, "train"))


def test_a_missing_file_is_named(source, files, tmp_path):
    with pytest.raises(ValueError, match=r"stage articles reads .*gone\.json, which is not there"):
        run(tmp_path, Articles(files[0], source, "train", compare={"gone": tmp_path / "gone.json"}))


def test_measuring_does_not_wait_for_other_processes(source, files, tmp_path, monkeypatch):
    """They have nothing to do with this stage, and do not come."""
    monkeypatch.setattr("torchmetrics.metric.jit_distributed_available", lambda: pytest.fail("others are asked"))
    run(tmp_path, Articles(files[0], source, "train", metric=ArticleRetrieval()))
    assert (tmp_path / "articles/metrics.json").is_file()
