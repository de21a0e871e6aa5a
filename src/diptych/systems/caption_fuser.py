"""The captioning system: pack -> loss -> log; prompts -> captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from diptych.contracts.models import Movable
from diptych.contracts.news import CaptionData, FusionBatch, FusionExample, TextTokenizer
from diptych.contracts.training import CaptionModel
from diptych.metrics.captions.caption_metric import CaptionMetric
from diptych.parallel.distributed import gather_rows, seed_step
from diptych.parallel.private_parts import nothing_missing
from diptych.systems.caption_generation import CaptionGenerator
from diptych.systems.latest_loss import LatestLoss
from diptych.systems.optimizing import bytes_of_state, clip_gradients, made_optimizer


@dataclass(frozen=True)
class CaptionJob(Movable):
    """Captions to write in an evaluation: prompts, the tokenizer that made them, the file that the captions go to, and
    what each record says beside the caption. `model` names the weights, so that a file begun with others is not
    continued; `tuned` False writes with the base model as it is, without the adapter.
    """

    model: str
    prompts: Sequence[FusionExample]
    tokenizer: TextTokenizer
    output: Path
    describe: Callable[[str], Mapping[str, Any]]
    tuned: bool = True


class CaptionFuserSystem(L.LightningModule):
    """Wires a fuser to its loss, its optimizer and the generation of captions.

    The loss of a step is the mean over all labelled tokens of the optimizer step, whatever rows, micro-batches or
    processes they are in. Checkpoints hold the adapter alone. A batch of `trainer.test` is a
    `CaptionJob`.
    """

    kind = "captions"
    # What to lower when memory is short.
    MEMORY_SETTINGS = (
        "data.batch_size and data.row_length, and raise trainer.accumulate_grad_batches, "
        "or system.model.recompute if it is a number"
    )

    def __init__(
        self,
        model: CaptionModel,
        loss: nn.Module,
        generator: CaptionGenerator,
        metrics: Mapping[str, CaptionMetric],
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model, self.loss, self.generator = model, loss, generator
        self.metrics = dict(metrics)
        self.optimizer_of, self.scheduler_of, self.seed = optimizer, scheduler, seed
        self.latest_loss = LatestLoss()
        self._checked_gradients = False
        self._losses: list[tuple[int, Tensor]] = []

    @property
    def wants(self) -> frozenset[str]:
        """What the loss wants of a batch: `prompt_labels`, or nothing, as a loss that does not say."""
        wanted: frozenset[str] = getattr(self.loss, "wants", frozenset())
        return wanted

    def load_pretrained(self, device: torch.device, weights_follow: bool = False) -> None:
        """Loads the base model onto this process's device, where a quantised one has to stay, and adds the adapter; an
        adapter's weights may follow, the base model's never do.
        """
        self.model.load(device)

    def cpu(self) -> CaptionFuserSystem:
        """Stays where it is: a quantised base model has to, and Lightning moves systems to the host when a fit ends."""
        return self

    # ------------------------------------------------------------------------------------------------ checkpoints

    def state_dict(  # type: ignore[override]  # torch can also fill a given dict: nobody asks
        self, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """The adapter's weights alone."""
        return {f"model.{name}": tensor for name, tensor in self.model.adapter_state_dict().items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Puts an adapter's weights in place.

        Raises:
            ValueError: some are missing, unknown, or of another shape.
        """
        self.model.load_adapter_state_dict({name.removeprefix("model."): value for name, value in state_dict.items()})
        return nothing_missing()

    # ------------------------------------------------------------------------------------------------ training

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Sees to it that nothing is saved after a loss that was not finite."""
        self.latest_loss.check_together()

    def on_fit_start(self) -> None:
        """Tells the model how much of the memory the rest of training takes."""
        self.model.plan_recompute(self._data.max_tokens_per_batch, bytes_of_state(self.trainer.optimizers[0]))

    def on_train_batch_start(self, batch: FusionBatch, batch_idx: int) -> None:
        """Makes the step's randomness (dropout) a function of seed, step and rank, so that a resumed run repeats it."""
        seed_step(self.seed, batch_idx)

    def training_step(self, batch: FusionBatch, batch_idx: int) -> Tensor:
        """The loss of a batch; one that is not finite stops the run and names the batch's photos."""
        normaliser = self._data.labelled_tokens_per_batch(batch_idx)
        loss, tokens = self._loss(batch, normaliser)
        self.latest_loss.note(loss, self.global_step, f"photos of the batch: {', '.join(batch.query_ids)}")
        share = (batch.segments == 0).float().mean()  # both are on the host
        mean = loss.detach() * normaliser / max(1, tokens)
        self.log_dict({"train/loss": mean, "train/padding_share": share}, batch_size=len(batch.query_ids))
        return loss

    def on_after_backward(self) -> None:
        """In the first step, sees that every adapter tensor has a gradient."""
        if not self._checked_gradients:
            self.model.check_gradients()
            self._checked_gradients = True

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer over the adapter."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        optimizer = made_optimizer(self.optimizer_of, trained, self)
        if self.scheduler_of is None:
            return {"optimizer": optimizer}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.scheduler_of(optimizer), "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips the gradients of all parameters together, whatever the optimizer and the precision."""
        clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def _loss(self, batch: FusionBatch, normaliser: float | None = None) -> tuple[Tensor, int]:
        terms = self.loss(self.model(batch), self.model.head(), batch.labels, normaliser)
        return terms["loss"], int(terms["tokens"])

    # ------------------------------------------------------------------------------------------------ validation

    def on_validation_epoch_start(self) -> None:
        """Forgets the last validation."""
        self._losses = []

    def validation_step(self, batch: FusionBatch, batch_idx: int) -> None:
        """Keeps the summed loss and the number of labelled tokens of a row."""
        loss, tokens = self._loss(batch)
        row = self._data.validation_row(batch_idx)
        self._losses.append((row, torch.tensor([float(loss) * tokens, tokens], dtype=torch.float64)))

    def on_validation_epoch_end(self) -> None:
        """Logs `val/loss`, the mean over all labelled tokens of the split, and the perplexity."""
        rows = torch.tensor([row for row, _ in self._losses])
        sums = torch.stack([values for _, values in self._losses])
        total = self._data.num_validation_rows
        gathered = gather_rows(rows, {"sums": sums}, total, "validation rows")["sums"].sum(dim=0)
        mean = gathered[0] / gathered[1]
        if not self.trainer.sanity_checking:
            self.log_dict({"val/loss": mean, "val/perplexity": mean.exp()}, sync_dist=False)

    def mode_of(self, metric: str) -> str:
        """`min`: a validation logs a loss and its exponential."""
        return "min"

    # ------------------------------------------------------------------------------------------------ captions

    def test_step(self, batch: CaptionJob, batch_idx: int) -> None:
        """Writes the captions of a job; every process its share."""
        if batch.tuned:
            self.model.merge()
        with nullcontext() if batch.tuned else self.model.disable_adapter():
            self.generator.generate(
                self.model.model,
                batch.tokenizer,
                batch.prompts,
                batch.output,
                batch.describe,
                model_fingerprint=batch.model,
            )

    @property
    def _data(self) -> CaptionData:
        data: CaptionData = self.trainer.datamodule  # type: ignore[attr-defined]  # set out of mypy's sight
        return data


def job_loader(jobs: Sequence[CaptionJob]) -> DataLoader[CaptionJob]:
    """What `trainer.test` is given to have these jobs done, by all processes together. Those without the adapter come
    first: once it is merged, the base model has to be read again.
    """
    in_order = sorted(jobs, key=lambda job: job.tuned)
    return DataLoader(in_order, batch_size=None)  # type: ignore[arg-type]  # a list is as good as a Dataset
