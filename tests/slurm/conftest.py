"""One SLURM for all checks in this folder, the data that they train on, and the runs that they must equal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback_cluster import LoopbackCluster
from sweep_runs import ALL_AT_ONCE, RUN, TWO_HERE, Place, same_weights

from tiny_sets import tiny_set


@pytest.fixture(scope="session")
def slurm() -> Iterator[LoopbackCluster]:
    with LoopbackCluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def place(slurm: LoopbackCluster, tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("place")
    tiny_set("rooms", folder / "data/rooms")
    return Place(folder, slurm)


@pytest.fixture(scope="session")
def undisturbed(place: Place) -> Path:
    """A sweep of seeds 1, 2 and 3 without SLURM, two processes a run: its folder."""
    sweep = place.folder / "undisturbed"
    words = ["-m", *RUN, *TWO_HERE, *ALL_AT_ONCE, "seed=1,2,3", f"hydra.sweep.dir={sweep}"]
    place.train("undisturbed_sweep", *words).finish()
    assert not same_weights(sweep / "0", sweep / "1"), "what the checks compare must be able to differ"
    return sweep
