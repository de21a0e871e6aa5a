"""The loss of a validation is the training's, of the same pairs in the same batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from diptych.contracts.retrieval import EvaluationProtocol, EvaluationSet, GalleryImage, Query
from diptych.losses.bank_info_nce import BankInfoNCE
from diptych.losses.info_nce import InfoNCE
from diptych.systems.validation_loss import validation_loss

CPU = torch.device("cpu")
PROTOCOL = EvaluationProtocol("tiny", 1, "all", False, "{text}", "none", recall_ks=(1,))


def rows_of(num_queries, num_images):
    generator = torch.Generator().manual_seed(0)
    return {
        f"{kind}/model": F.normalize(torch.randn(number, 8, generator=generator), dim=-1)
        for kind, number in (("queries", num_queries), ("gallery", num_images))
    }


def set_of(targets, images="abcdef", references=None):
    references = references or ["a"] * len(targets)
    queries = [
        Query(f"q{number}", reference, "darker", target)
        for number, (target, reference) in enumerate(zip(targets, references, strict=True))
    ]
    gallery = [GalleryImage(name, Path(f"{name}.jpg")) for name in images]
    return EvaluationSet("tiny", queries, gallery, PROTOCOL, {})


def plain(rows, targets, temperature=0.07):
    """Symmetric cross-entropy of the pairs, the diagonal being right: as published."""
    logits = rows["queries/model"] @ rows["gallery/model"][targets].T / temperature
    right = torch.arange(len(targets))
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2


def test_one_batch_is_the_published_loss():
    rows = rows_of(3, 6)
    found = validation_loss([(set_of("bce"), rows)], InfoNCE(), 10, CPU)
    torch.testing.assert_close(found, plain(rows, [1, 2, 4]))


def test_batches_follow_each_other_over_the_sets_and_count_by_their_size():
    first, second = rows_of(3, 6), rows_of(2, 6)
    sets = [(set_of("bce"), first), (set_of("df"), second)]
    joined = {"queries/model": torch.cat([first["queries/model"], second["queries/model"]])}
    targets = torch.cat([first["gallery/model"][[1, 2, 4]], second["gallery/model"][[3, 5]]])

    def part(start, stop):
        rows = {"queries/model": joined["queries/model"][start:stop], "gallery/model": targets[start:stop]}
        return plain(rows, list(range(stop - start))) * (stop - start)

    torch.testing.assert_close(validation_loss(sets, InfoNCE(), 4, CPU), (part(0, 4) + part(4, 5)) / 5)


def test_an_image_that_answers_two_queries_is_no_negative_unless_published():
    rows = rows_of(3, 6)
    published = InfoNCE(mask_duplicates=False)
    torch.testing.assert_close(validation_loss([(set_of("bbe"), rows)], published, 9, CPU), plain(rows, [1, 1, 4]))
    assert validation_loss([(set_of("bbe"), rows)], InfoNCE(), 9, CPU) < plain(rows, [1, 1, 4])


def test_queries_without_an_answer_are_left_out():
    rows = rows_of(3, 6)
    known = {"queries/model": rows["queries/model"][[0, 2]], "gallery/model": rows["gallery/model"]}
    found = validation_loss([(set_of(["b", None, "e"]), rows)], InfoNCE(), 9, CPU)
    torch.testing.assert_close(found, plain(known, [1, 4]))
    assert validation_loss([(set_of([None, "x", None]), rows)], InfoNCE(), 9, CPU) is None


def test_references_are_negatives_where_the_loss_wants_them_and_the_gallery_has_them():
    rows, loss = rows_of(3, 6), InfoNCE(reference_negatives=True)
    found = validation_loss([(set_of("bce", references="add"), rows)], loss, 9, CPU)
    assert found > plain(rows, [1, 2, 4])
    assert validation_loss([(set_of("bce", references="adx"), rows)], loss, 9, CPU) is None


def test_a_loss_with_a_bank_compares_with_all_galleries_but_the_reference_and_other_answers():
    first, second = rows_of(3, 6), rows_of(2, 6)
    sets = [(set_of("bce"), first), (replace(set_of("df", references="bx"), name="other"), second)]
    sets[0][0].queries[0] = replace(sets[0][0].queries[0], relevant_ids=("b", "d", "elsewhere"))
    logits = torch.cat([first["queries/model"], second["queries/model"]])
    logits = logits @ torch.cat([first["gallery/model"], second["gallery/model"]]).T / 0.07
    logits[[0, 0, 1, 2, 3], [0, 3, 0, 0, 7]] = -torch.inf
    expected = F.cross_entropy(logits, torch.tensor([1, 2, 4, 9, 11]))
    torch.testing.assert_close(validation_loss(sets, BankInfoNCE(), 2, CPU), expected)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_it_has_no_graph(batch_size):
    rows = {name: value.requires_grad_() for name, value in rows_of(3, 6).items()}
    assert not validation_loss([(set_of("bce"), rows)], InfoNCE(), batch_size, CPU).requires_grad
