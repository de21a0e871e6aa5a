"""Training with the whole model in every process, on GPUs or CPUs."""

from __future__ import annotations

from lightning.pytorch.strategies import DDPStrategy
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.nn.parallel import DistributedDataParallel


class DataParallelStrategy(DDPStrategy):
    """Lightning's DDP, which sends no buffers: none is trained, and evaluation batches are not even over processes.

    `compress_gradients` is `bf16`, or None: gradients are added over the processes in bfloat16, half the bytes and
    three digits, and are float32 again where the optimizer and the clipping see them.
    """

    def __init__(self, compress_gradients: str | None = None, process_group_backend: str | None = None) -> None:
        if compress_gradients not in (None, "bf16"):
            raise ValueError(f"compress_gradients={compress_gradients} is not one of bf16, null")
        super().__init__(process_group_backend=process_group_backend)
        self.compress_gradients = compress_gradients

    def configure_ddp(self) -> None:
        """Wraps the model on the stream that computes. Lightning's own way takes another one, as CUDA graphs want it:
        then two streams wait for each other at every gradient of every step. And its hooks are for GPUs alone, and
        silent elsewhere.
        """
        assert self.model is not None
        self.model = DistributedDataParallel(
            self.model,
            device_ids=self.determine_ddp_device_ids(),
            forward_sync_buffers=False,
            gradient_as_bucket_view=True,
        )
        if self.compress_gradients is not None:
            self.model.register_comm_hook(None, bf16_compress_hook)
