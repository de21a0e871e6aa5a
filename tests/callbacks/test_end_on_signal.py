"""While batches are at work, SIGTERM is not Lightning's."""

import signal

import lightning as L
import pytest
from torch.utils.data import DataLoader

from diptych.callbacks.end_on_signal import EndOnSignal


class Watching(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.seen = []

    def test_step(self, batch):
        self.seen.append(signal.getsignal(signal.SIGTERM))

    predict_step = test_step


@pytest.mark.parametrize("task", ["test", "predict"])
def test_the_signal_ends_the_process_as_before(task):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    before = signal.getsignal(signal.SIGTERM)
    for callbacks, is_as_before in (([], False), ([EndOnSignal()], True)):
        module = Watching()
        getattr(L.Trainer(accelerator="cpu", callbacks=callbacks, **quiet), task)(module, DataLoader([1, 2]))
        assert [handler == before for handler in module.seen] == [is_as_before] * 2
    assert signal.getsignal(signal.SIGTERM) == before
