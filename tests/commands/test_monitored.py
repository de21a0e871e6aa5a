from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from diptych.commands.monitored import check_monitored
from diptych.contracts.retrieval import EvaluationProtocol, EvaluationSet, GalleryImage

PROTOCOL = EvaluationProtocol("own", 1, "all", True, "x", "x", recall_ks=(1,), left_out=("recall_at_50",))
SMALL = EvaluationSet("small", (), [GalleryImage("a", Path("a"))], PROTOCOL, {})
LARGE = replace(SMALL, name="large", protocol=replace(PROTOCOL, left_out=()))


def callbacks(monitor):
    return OmegaConf.create({"checkpointing": {"monitor": monitor, "every_n_steps": 1}, "progress": {}, "none": None})


@pytest.mark.parametrize(
    ("monitor", "sets"),
    [
        ("val/recall_at_50", [SMALL]),
        ("val/recall_at_50/changes_2", [SMALL]),
        ("val/recall_at_50", [SMALL, LARGE]),
        ("val/small/recall_at_50", [LARGE, SMALL]),
    ],
)
def test_a_run_is_not_judged_by_what_will_not_be_measured(monitor, sets):
    with pytest.raises(ValueError, match=rf"callbacks.checkpointing.monitor={monitor}: small has 1 images .* too few"):
        check_monitored(callbacks(monitor), sets)


@pytest.mark.parametrize("monitor", ["val/recall_at_1", "val/loss", "val/large/recall_at_50", "train/recall_at_50"])
def test_other_metrics_are_let_through(monitor):
    check_monitored(callbacks(monitor), [SMALL, LARGE])
