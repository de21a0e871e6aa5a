from __future__ import annotations

import pytest
import torch

from diptych.contracts.retrieval import ConceptAttention, ContrastiveEmbeddings
from diptych.losses.concept_consistency import ConceptConsistency

IN_TEXT = torch.tensor([[0.5, 0.1], [0.2, 0.2], [0.0, 0.4]], dtype=torch.double)
ALONE = torch.tensor([[0.2, 0.1], [0.3, 0.2], [0.0, 0.0]], dtype=torch.double)


def terms(loss, in_text=IN_TEXT, alone=ALONE):
    query = torch.eye(2, dtype=torch.double)
    return loss(ContrastiveEmbeddings(query, query, concepts=ConceptAttention(in_text, alone)), batch=None)


def test_a_hand_written_case():
    """Differences 0.3, 0, 0.1, 0, 0, 0.4 of three phrases and two patches."""
    found = terms(ConceptConsistency(weight=0.5))
    assert found["difference"].item() == pytest.approx(0.8 / 6)
    assert found["loss"].item() == pytest.approx(0.4 / 6)
    assert found["phrases"] == 3
    assert set(found) == {"loss", "difference", "phrases"}


def test_small_differences_count_nothing():
    """With epsilon 0.1: 0.2, 0, 0, 0, 0, 0.3."""
    in_text = IN_TEXT.clone().requires_grad_()
    found = terms(ConceptConsistency(weight=1.0, epsilon=0.1 + 1e-9), in_text)
    assert found["loss"].item() == pytest.approx(0.5 / 6)
    found["loss"].backward()
    torch.testing.assert_close(in_text.grad * 6, torch.tensor([[1.0, 0], [0, 0], [0, 1.0]], dtype=torch.double))


def test_a_batch_without_phrases_has_no_loss_but_a_graph():
    in_text = torch.zeros(0, 2, requires_grad=True)
    found = terms(ConceptConsistency(), in_text, torch.zeros(0, 2))
    assert found["loss"] == 0 and found["phrases"] == 0
    found["loss"].backward()
    assert in_text.grad.shape == (0, 2)


def test_with_weight_zero_nothing_is_wanted():
    assert ConceptConsistency().wants == {"concepts"}
    off = ConceptConsistency(weight=0)
    query = torch.eye(2)
    assert off.wants == frozenset()
    assert off(ContrastiveEmbeddings(query, query), batch=None)["loss"] == 0


def test_wrong_settings_and_a_batch_without_attention_are_refused():
    with pytest.raises(ValueError, match=r"^weight=-1 and epsilon=0.0 must be 0 or more"):
        ConceptConsistency(weight=-1)
    query = torch.eye(2)
    with pytest.raises(ValueError, match="embedded without the attention to its noun phrases"):
        ConceptConsistency()(ContrastiveEmbeddings(query, query), batch=None)


def test_the_defaults_are_the_released_codes():
    assert (ConceptConsistency().weight, ConceptConsistency().epsilon) == (0.08, 0.0)
