"""What the caption metrics share, shown on CIDEr and BLEU: merging by id, one result on any number of processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing import start_processes

from diptych.contracts.news import CaptionItem
from diptych.metrics.captions.bleu import BLEU
from diptych.metrics.captions.caption_metric import CaptionMetric
from diptych.metrics.captions.caption_scores import CaptionScores
from diptych.metrics.captions.cider import CIDEr, cider
from diptych.metrics.captions.rouge_l import RougeL
from warm_python import warm

IDS = ["q0", "q1", "q2", "q3"]
PREDICTIONS = ["a dog runs", "a cat — süß\u2028", "two birds", "the 2 1/2 year old"]
REFERENCES = [["a dog is running", "a dog runs"], ["a cat sits"], ["two birds fly", "birds"], ["a 2 1/2 year old"]]
ITEMS = [
    CaptionItem(query_id, caption, tuple(references), evidence, image)
    for query_id, caption, references, evidence, image in zip(
        IDS,
        PREDICTIONS,
        REFERENCES,
        [None, "", "— \u2028\n", "two"],
        [None, Path("a b.jpg"), Path("/ü.jpg"), None],
        strict=True,
    )
]
RANKS = 2
# Unequal parts that share a query, and a process without any.
PARTS = {"shared": [slice(0, 3), slice(2, 4)], "one empty": [slice(0, 4), slice(0, 0)]}


def work(number: int, folder: str) -> None:
    """What each process does; what it saw is saved for the test."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=number, world_size=RANKS)
    seen = {}
    for name, parts in PARTS.items():
        metric, part = CIDEr(local=False), parts[number]
        metric.update(ITEMS[part])
        scores = metric.compute()
        seen[name] = (scores.corpus, scores.per_item["cider"].tolist(), scores.query_ids, len(metric.records))
    torch.save(seen, Path(folder) / f"{number}.pt")
    dist.destroy_process_group()


@pytest.mark.processes
def test_two_processes_equal_one(tmp_path):
    warm.use_for_multiprocessing()
    start_processes(work, (str(tmp_path),), nprocs=RANKS, start_method="forkserver")
    seen = [torch.load(tmp_path / f"{number}.pt", weights_only=True) for number in range(RANKS)]
    corpus, per_item = cider(PREDICTIONS, REFERENCES)
    for result in (result for of_rank in seen for result in of_rank.values()):
        assert result[:3] == ({"cider": corpus}, per_item.tolist(), tuple(IDS))
    held = [[of_rank[name][3] for of_rank in seen] for name in PARTS]
    assert held == [[1, 1], [1, 0]]  # afterwards each goes on with its own captions


@pytest.mark.parametrize(
    "change", [{"caption": "another"}, {"reference_captions": ()}, {"evidence_text": ""}, {"image_path": Path("x")}]
)
def test_captions_of_one_id_count_once_and_must_agree(change):
    metric = BLEU()
    metric.update(ITEMS)
    once = metric.compute()
    metric.update(ITEMS[:2])
    twice = metric.compute()
    assert twice.corpus == once.corpus and twice.num_items == 4
    metric.update([replace(ITEMS[0], **change)])
    with pytest.raises(ValueError, match="query 'q0' was scored twice with different captions"):
        metric.compute()


def test_the_order_of_the_captions_does_not_matter():
    metric = CIDEr()
    metric.update(ITEMS[::-1])
    np.testing.assert_array_equal(metric.compute().per_item["cider"], cider(PREDICTIONS, REFERENCES)[1])


def test_reset_forgets():
    metric = BLEU()
    metric.update(ITEMS)
    metric.reset()
    metric.update(ITEMS[:1])
    assert metric.compute().num_items == 1


def test_batches_are_not_scored_by_themselves():
    with pytest.raises(ValueError, match="all items at once, not batches"):
        BLEU()(ITEMS)


class Kept(CaptionMetric):
    """A metric that shows what reaches it."""

    def score(self, items):
        self.items = items
        return CaptionScores({}, {}, model="none at all")


def test_every_field_arrives_sorted_by_id():
    metric = Kept()
    metric.update(ITEMS[2:])
    metric.update(ITEMS[:2])
    scores = metric.compute()
    assert metric.items == ITEMS and scores.query_ids == tuple(IDS)
    assert scores.describe() == "N=4, references per item: 1 to 2, model: none at all"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (CaptionItem("q7", "a", "a dog"), "query 'q7': its reference captions are one text"),
        (CaptionItem("q7", None), "query 'q7': expected a text as caption, found None"),
    ],
)
def test_faulty_updates_are_refused(item, message):
    with pytest.raises(ValueError, match=message):
        BLEU().update([item])


@pytest.mark.parametrize("metric", [BLEU, CIDEr, RougeL])
def test_items_without_references_are_named(metric):
    metric = metric()
    metric.update([*ITEMS, CaptionItem("q8", "a dog"), CaptionItem("q9", "a cat")])
    with pytest.raises(ValueError, match="2 items have no reference caption: q8, q9"):
        metric.compute()


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_nothing_to_score_is_an_error():
    with pytest.raises(ValueError, match="no predictions"):
        BLEU().compute()
