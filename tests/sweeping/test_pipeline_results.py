"""What pipelines have measured is found where their stages leave it."""

import json

from diptych.storage.run_status import change_status
from diptych.sweeping.run_records import find_runs


def found(folder):
    change_status(folder, state="done")
    (run,) = find_runs(folder)
    return run


def write(path, content):
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))


def test_captions_come_before_articles(tmp_path):
    article = {
        "split": "val",
        "queries": 4,
        "metrics": {"articles": {"recall_at_1": 0.5}, "ensemble": {"recall_at_1": 0.25}},
    }
    write(tmp_path / "articles/metrics.json", article)
    run = found(tmp_path)
    assert run.result["metrics"] == {"recall_at_1": 0.5, "ensemble/recall_at_1": 0.25}
    queries = {"scored": 4, "expected": 4}
    captions = {"data": ["news"], "split": "val", "queries": queries, "lines": {}, "metrics": {"cider": 0.2}}
    write(tmp_path / "caption/metrics.json", captions)
    assert found(tmp_path).result["metrics"] == {"cider": 0.2}


def test_how_varied_sentences_are_and_what_a_pair_cost(tmp_path):
    diversity = {"distinct_1": 0.5, "distinct_2": 0.75, "self_bleu_4": None, "words": {"mean": 7.5}}
    way = {"pairs": 3, "common_pairs": 3, "diversity": diversity, "cost": {"per_triplet": {"usd": 0.01}}}
    write(tmp_path / "compare_ways/ways.json", {"ways": {"one": way, "free": {**way, "cost": None}}})
    run = found(tmp_path)
    assert {key: value for key, value in run.result["metrics"].items() if key.startswith("one/")} == {
        "one/distinct_1": 0.5,
        "one/distinct_2": 0.75,
        "one/self_bleu_4": None,
        "one/mean_words": 7.5,
        "one/usd": 0.01,
    }
    assert run.result["metrics"]["free/usd"] is None
    assert (run.meaning("one/distinct_2").better, run.meaning("one/self_bleu_4").better) == ("higher", "lower")
