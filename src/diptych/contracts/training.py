"""What is trained: what systems ask of their models, and callbacks of systems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from diptych.contracts.models import Backbone, TextTokens
from diptych.contracts.news import FusionBatch
from diptych.contracts.retrieval import ContrastiveEmbeddings, RankedQuery, TripletBatch

if TYPE_CHECKING:  # as in the other contracts: torch takes seconds to import
    import torch
    from torch import Tensor, nn


class RetrievalModel(Protocol):
    """What the retrieval system asks of its model, an nn.Module (`models.composers.composed_model.ComposedModel`).

    `attends_to_words` says that it can show how patches attend to words, for losses that want `concepts`.
    `stays_on_device` says that its weights cannot be moved from where they were loaded: quantised ones.
    """

    backbone: Backbone
    attends_to_words: bool

    @property
    def stays_on_device(self) -> bool:
        """Whether it must be left where it is."""

    def load_pretrained(self, device: torch.device, weights_follow: bool = False) -> None:
        """Loads pretrained weights, of what a checkpoint will replace none when `weights_follow`. The caller moves it
        to the device.
        """

    def __call__(
        self,
        batch: TripletBatch,
        micro_batch_size: int | None = None,
        with_reference: bool = False,
        with_distractors: bool = False,
    ) -> ContrastiveEmbeddings:
        """Everything that the loss compares, of one batch; embedded `micro_batch_size` triplets at a time."""

    def embed_queries(self, reference: Tensor | None, text: TextTokens | None) -> dict[str, Tensor]:
        """Query embeddings (B, E) by name: `model`, and those of the baselines, where there are any."""

    def embed_gallery(self, pixels: Tensor) -> dict[str, Tensor]:
        """Gallery embeddings (B, E) by name: `model`, and `baseline` where there are baselines."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """All parameters with their names: nn.Module's."""


class CaptionModel(Protocol):
    """What the captioning system asks of its model, an nn.Module: a language model with an adapter that is trained
    (`models.fuser.qlora_fuser.QLoRAFuser`).
    """

    @property
    def model(self) -> nn.Module:
        """The language model with its adapter, as transformers' causal models are called; ValueError before `load`."""

    def load(self, device: torch.device | str | None = None) -> None:
        """Reads the language model onto the device and adds a fresh adapter; nothing when that has been done."""

    def head(self) -> nn.Module:
        """The output layer, from hidden states to logits."""

    def __call__(self, batch: FusionBatch) -> Tensor:
        """Hidden states (B, L, D), which `head` turns into logits."""

    def disable_adapter(self) -> AbstractContextManager[None]:
        """A context in which the language model answers alone."""

    def merge(self) -> None:
        """Makes the adapter part of the weights, where that loses nothing, until something wants them as they were."""

    def adapter_state_dict(self) -> dict[str, Tensor]:
        """The adapter's weights by name."""

    def load_adapter_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Puts in the adapter's weights; ValueError for those of another."""

    def plan_recompute(self, tokens: int, bytes_of_state: int) -> None:
        """Prepares for training in the memory there is, on batches of at most so many tokens, with an optimizer of so
        many bytes for each number that is trained.
        """

    def check_gradients(self) -> None:
        """ValueError for parts of the adapter that the first backward pass did not reach."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """All parameters: nn.Module's."""


class RankedSet(Protocol):
    """What an evaluation has found in one evaluation set (`metrics.retrieval.measuring.SetResult`)."""

    @property
    def ranked(self) -> Sequence[RankedQuery]:
        """Its queries, in order."""


class RetrievalSystem(Protocol):
    """What callbacks ask of the retrieval system, a LightningModule."""

    @property
    def results(self) -> Sequence[RankedSet]:
        """What the last evaluation found, an entry for each evaluation set."""
