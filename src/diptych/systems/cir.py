"""The composed image retrieval system: embed -> loss -> log; collect -> rank -> metric."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import Metric

from diptych.contracts.retrieval import (
    EvaluationSet,
    GalleryBatch,
    QueryBatch,
    RetrievalData,
    RetrievalLoss,
    SplitToTest,
    TripletBatch,
)
from diptych.contracts.training import RetrievalModel
from diptych.metrics.retrieval.measuring import SetResult, logged_meaning, summary
from diptych.parallel.devices import fetched
from diptych.parallel.distributed import gather_rows, seed_step
from diptych.parallel.sharding import average_gradients, blocks, shard_model
from diptych.systems.latest_loss import LatestLoss
from diptych.systems.optimizing import clip_gradients, made_optimizer
from diptych.systems.retrieval_evaluation import evaluate_set
from diptych.systems.triplet_weights import TripletWeights
from diptych.systems.validation_loss import validation_loss


class CIRSystem(L.LightningModule):
    """Wires a composed model to its loss, its metrics and its optimizer. `auxiliary_losses` are added to the loss in
    training, not in validation; each brings its own weight.

    `micro_batch_size` embeds a batch in pieces of that many triplets (gradient caching): same loss and gradients, the
    memory of one piece. `optimizer` and `scheduler` are constructors that wait for parameters and optimizer; the
    scheduler advances per step. `compile` compiles each layer of the towers and the composer when it is first called,
    for any batch size and text length. `noise` weighs triplets in training by how far their texts are believed. After
    an evaluation `results` holds one `SetResult` per evaluation set.
    """

    kind = "retrieval"
    # What to lower when memory is short.
    MEMORY_SETTINGS = "system.micro_batch_size (same gradients) or data.training.batch_size, or set data.images_on=host"

    def __init__(
        self,
        model: RetrievalModel,
        loss: RetrievalLoss,
        metrics: Mapping[str, Metric],
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        micro_batch_size: int | None = None,
        compile: bool = False,
        seed: int = 0,
        auxiliary_losses: Mapping[str, RetrievalLoss] | None = None,
        noise: TripletWeights | None = None,
    ) -> None:
        super().__init__()
        self.model, self.loss, self.noise = model, loss, noise
        self.auxiliary_losses = nn.ModuleDict(cast(Mapping[str, nn.Module], auxiliary_losses or {}))
        if noise is not None and "bank" in self.wants:
            raise ValueError(
                "system/noise weighs triplets by each one's loss, which system/loss=info_nce_bank does not tell: leave"
                " one of them out"
            )
        if "concepts" in self.wants and not model.attends_to_words:
            raise ValueError(
                "system.auxiliary_losses has a loss of the attention from patches to words, which this composer does "
                "not show: choose system/model=context or cross_attention, or leave the loss out"
            )
        self.metrics = dict(metrics)
        self.optimizer_of, self.scheduler_of = optimizer, scheduler
        self.micro_batch_size, self.seed = micro_batch_size, seed
        if compile:
            for block in blocks(self.get_submodule("model")):
                block.compile(dynamic=True)
        self.results: list[SetResult] = []
        self.truncated_texts = 0
        self.latest_loss = LatestLoss()
        self._collected: dict[int, dict[str, list[Tensor]]] = {}
        self._coming: list[tuple[list[Tensor], Callable[[], Tensor]]] = []

    @property
    def wants(self) -> frozenset[str]:
        """What the losses want embedded beside queries and targets: `reference`, `distractors`, `concepts`, `bank`."""
        weighed = () if self.noise is None else ("reference",)
        return self.loss.wants.union(weighed, *(loss.wants for loss in self._auxiliary.values()))

    @property
    def _auxiliary(self) -> dict[str, RetrievalLoss]:
        return cast(dict[str, RetrievalLoss], dict(self.auxiliary_losses.items()))

    def load_pretrained(self, device: torch.device, weights_follow: bool = False) -> None:
        """Loads the model's pretrained weights, but for those that a checkpoint's, if they follow, replace. Lightning
        moves the model to the device.
        """
        self.model.load_pretrained(device, weights_follow)

    def cpu(self) -> CIRSystem:
        """Stays where it is if its model has to: Lightning moves systems to the host when a fit ends."""
        return self if self.model.stays_on_device else super().cpu()

    def shard(self, device: torch.device, bf16: bool) -> None:
        """Shards what is trained over all processes; `ShardedStrategy` calls it before the optimizer is made. In
        micro-batches the model is gathered as one: once a step, instead of once for every piece.
        """
        module = self.get_submodule("model")
        as_one = self.micro_batch_size is not None
        shard_model(module, device, ("embed_queries", "embed_gallery"), as_one, bf16)
        for loss in (self.get_submodule("loss"), *self.auxiliary_losses.children()):
            average_gradients(loss.to(device).parameters())

    # ------------------------------------------------------------------------------------------------ training

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the count of truncated texts, for the log, and what is known of the triplets. Nothing is saved after a
        loss that was not finite.
        """
        self.latest_loss.check_together()
        checkpoint["truncated_texts"] = self.truncated_texts
        if self.noise is not None:
            checkpoint["triplet_weights"] = self.noise.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on counting, and weighing."""
        self.truncated_texts = checkpoint.get("truncated_texts", 0)
        if self.noise is not None:
            self.noise.load_state_dict(checkpoint["triplet_weights"])

    def on_train_batch_start(self, batch: TripletBatch, batch_idx: int) -> None:
        """Makes the step's randomness (dropout) a function of seed, step and rank, so that a resumed run repeats it."""
        seed_step(self.seed, batch_idx)

    def training_step(self, batch: TripletBatch, batch_idx: int) -> Tensor:
        """The loss of a batch; a loss that is not finite stops the run and names the batch's queries. Terms of an
        auxiliary loss are logged under its name, `train/<loss>` and `train/<loss>_<term>`.
        """
        if self.noise is not None:
            batch = self.noise.weighed(batch)
        embeddings = self.model(
            batch,
            self.micro_batch_size,
            with_reference="reference" in self.wants,
            with_distractors="distractors" in self.wants,
        )
        terms = self.loss(embeddings, batch)
        if self.noise is not None and batch.weights is not None:
            self.noise.note(batch, terms.pop("per_triplet"))
            terms["mean_weight"] = batch.weights.mean()
        for name, loss in self._auxiliary.items():
            added = loss(embeddings, batch)
            terms["loss"] = terms["loss"] + added["loss"]
            terms |= {name if term == "loss" else f"{name}_{term}": value.detach() for term, value in added.items()}
        self.latest_loss.note(terms["loss"], self.global_step, f"queries of the batch: {', '.join(batch.query_ids)}")
        self.truncated_texts += getattr(batch.text, "num_truncated", 0)
        self.log_dict({f"train/{name}": value for name, value in terms.items()}, batch_size=len(batch.query_ids))
        # On the host: a number of its own would be sent to the GPU, and waited for.
        self.log("train/truncated_texts", torch.tensor(float(self.truncated_texts)), batch_size=len(batch.query_ids))
        return terms["loss"]

    def on_train_end(self) -> None:
        """Writes the weights of the triplets into the run's folder."""
        if self.noise is not None:
            self.noise.write(Path(self.trainer.default_root_dir))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer over everything trainable; the losses' own parameters are not decayed."""
        groups: list[dict[str, Any]] = [
            {
                "params": [
                    (name, parameter) for name, parameter in self.model.named_parameters() if parameter.requires_grad
                ]
            },
            {
                "params": [
                    *((f"loss.{name}", parameter) for name, parameter in self.loss.named_parameters()),
                    *self.auxiliary_losses.named_parameters(prefix="auxiliary_losses"),
                ],
                "weight_decay": 0.0,
            },
        ]
        groups = [group for group in groups if group["params"]]
        if not groups:
            raise ValueError("system.model.backbone.freeze=all leaves this model no trainable parameter")
        optimizer = made_optimizer(self.optimizer_of, groups, self)
        if self.scheduler_of is None:
            return {"optimizer": optimizer}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.scheduler_of(optimizer), "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips the gradients of all parameters together, whatever the optimizer and the precision."""
        clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    # ------------------------------------------------------------------------------------------------ evaluation

    def on_validation_epoch_start(self) -> None:
        """Forgets the last evaluation."""
        self._collected, self._coming = defaultdict(lambda: defaultdict(list)), []

    def validation_step(self, batch: QueryBatch | GalleryBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Embeds queries or gallery images and keeps them, on the CPU, with their positions. The batch before is taken
        from a GPU meanwhile.
        """
        if isinstance(batch, QueryBatch):
            embedded, kind = self.model.embed_queries(batch.reference, batch.text), "queries"
        else:
            embedded, kind = self.model.embed_gallery(batch.pixels), "gallery"
        kept = self._collected[batch.set_index]
        found = {"positions": batch.positions, **{name: rows.float() for name, rows in embedded.items()}}
        coming = [(kept[f"{kind}/{name}"], fetched(rows)) for name, rows in found.items()]
        self._collect()
        self._coming = coming

    def on_validation_epoch_end(self) -> None:
        """Ranks every evaluation set and logs `val/<metric>`, of the model alone without the baselines, and the loss of
        its queries as `val/loss` (`validation_loss`).
        """
        data = cast(RetrievalData, self._datamodule)
        self._finish("val", data.evaluation_sets(data.validation_split), baselines=False)

    def _collect(self) -> None:
        """Takes what is on its way to the CPU."""
        for pieces, coming in self._coming:
            pieces.append(coming().clone())  # what was sent to is wanted for the next
        self._coming = []

    def mode_of(self, metric: str) -> str:
        """`max` or `min`: which values of a metric that the last evaluation logged (`val/recall_at_1`) are the best.

        Raises:
            ValueError: the metric does not say.
        """
        if metric == "val/loss":
            return "min"
        meaning = logged_meaning(self.results, metric)
        if meaning is None or meaning.better is None:
            raise ValueError(
                f"{metric} does not say whether more is better; set callbacks.checkpointing.mode=max or min"
            )
        return meaning.mode

    def on_test_epoch_start(self) -> None:
        """Forgets the last evaluation."""
        self.on_validation_epoch_start()

    def test_step(self, batch: QueryBatch | GalleryBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """As in validation."""
        self.validation_step(batch, batch_idx, dataloader_idx)

    def on_test_epoch_end(self) -> None:
        """Ranks every evaluation set and logs `test/<metric>`, the baselines beside the model."""
        self._finish("test", cast(SplitToTest, self._datamodule).sets, baselines=True)

    @property
    def _datamodule(self) -> Any:
        return self.trainer.datamodule  # type: ignore[attr-defined]  # set out of mypy's sight

    def _finish(self, prefix: str, sets: Sequence[EvaluationSet], baselines: bool) -> None:
        self._collect()
        gathered = [
            self._gathered(self._collected.pop(position, {}), len(evaluation.queries), len(evaluation.gallery))
            for position, evaluation in enumerate(sets)
        ]
        self.results = [
            evaluate_set(evaluation, rows, self.metrics, baselines)
            for evaluation, rows in zip(sets, gathered, strict=True)
        ]
        if not self.trainer.sanity_checking:
            values = summary(self.results)
            if prefix == "val":
                batch_size = cast(RetrievalData, self._datamodule).training_batch_size
                loss = validation_loss(list(zip(sets, gathered, strict=True)), self.loss, batch_size, self.device)
                values |= {} if loss is None else {"loss": float(loss)}
            # Every rank has computed the same numbers from the same rows: there is nothing to average over ranks.
            self.log_dict({f"{prefix}/{name}": value for name, value in values.items()}, sync_dist=False)

    def _gathered(self, kept: Mapping[str, list[Tensor]], num_queries: int, num_gallery: int) -> dict[str, Tensor]:
        """All rows of all ranks by name, `queries/model` and the like, in the order of the evaluation set."""
        gathered: dict[str, Tensor] = {}
        for kind, total in (("queries", num_queries), ("gallery", num_gallery)):
            local = {name: torch.cat(pieces) for name, pieces in kept.items() if name.startswith(f"{kind}/")}
            positions = local.pop(f"{kind}/positions", torch.empty(0, dtype=torch.long))
            gathered |= gather_rows(positions, local, total, kind)
        return gathered
