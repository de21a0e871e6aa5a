"""What is imported lightly is whole: what was left out is there as soon as somebody uses it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import patience

pytestmark = pytest.mark.processes

SCRIPT = """
import sys
from diptych.config.light_imports import import_lightly
import_lightly()
loaded = lambda *names: [name for name in names if name in sys.modules]
print(*loaded("scipy", "timm", "wandb", "transformers", "matplotlib"))
import torch, open_clip, torchmetrics
from torchmetrics import Metric, MetricCollection
from torchmetrics.text import BLEUScore
assert issubclass(BLEUScore, Metric)
accuracy = torchmetrics.Accuracy(task="binary")(torch.ones(2), torch.ones(2).int())
print(torchmetrics.__version__.count("."), float(accuracy))
print(torchmetrics.functional.image.__name__)
from open_clip.timm_model import TimmModel
tower = TimmModel("resnet10t", 8, image_size=32).eval()
print(tower(torch.zeros(1, 3, 32, 32)).shape[1], *loaded("timm"))
from open_clip.hf_model import HFTextEncoder
import transformers
print(transformers.AutoConfig.__module__.split(".")[0], isinstance(tower, Metric))


class Last(Metric):
    def __init__(self):
        super().__init__()
        self.add_state("value", torch.zeros(()), "sum")
    def update(self, value): self.value = value
    def compute(self): return self.value


metric = Last()
metric.update(torch.tensor(2.0))
print(type(metric._plot()[0]).__name__)
"""


def test_nothing_is_imported_just_in_case_and_nothing_is_missing_not_even_the_plot_of_a_metric():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=patience.SECONDS)
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first == ""
    assert rest == ["2 1.0", "torchmetrics.functional.image", "8 timm", "transformers False", "Figure"]
