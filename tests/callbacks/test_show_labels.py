from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from diptych.callbacks.show_labels import ShowLabels, shown
from diptych.contracts.news import FusionBatch

WORDS = ["<pad>", "Who", "is", "it?", "Ann", "Bo", "."]
TOKENIZER = SimpleNamespace(decode=lambda tokens: " ".join(WORDS[token] for token in tokens) + " ")


@pytest.fixture
def batch():
    """Two examples in a row, with a pad behind them; the answers and their stops carry loss."""
    ids = torch.tensor([[1, 2, 3, 4, 6, 1, 5, 6, 0]])
    labels = torch.tensor([[-100, -100, -100, 4, 6, -100, 5, 6, -100]])
    segments = torch.tensor([[1, 1, 1, 1, 1, 2, 2, 2, 0]])
    return FusionBatch(("a", "b"), ids, torch.zeros_like(ids), labels, segments)


def test_tokens_that_carry_loss_stand_in_brackets_example_by_example(batch):
    assert shown(batch, TOKENIZER, 5) == ["Who is it? [[Ann . ]]", "Who [[Bo . ]]"]
    assert shown(batch, TOKENIZER, 1) == ["Who is it? [[Ann . ]]"]


def test_the_first_batch_alone_is_printed(batch, capsys):
    trainer = SimpleNamespace(datamodule=SimpleNamespace(tokenizer=TOKENIZER))
    ShowLabels(2).on_train_batch_start(trainer, None, batch, 1)
    assert not capsys.readouterr().out
    ShowLabels(2).on_train_batch_start(trainer, None, batch, 0)
    assert capsys.readouterr().out == "a:\nWho is it? [[Ann . ]]\n\nb:\nWho [[Bo . ]]\n\n"
    with pytest.raises(ValueError, match="of experiments that caption"):
        ShowLabels().on_train_batch_start(trainer, None, object(), 0)
