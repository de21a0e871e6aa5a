"""A worker of a search whose runs compute a function instead of training: as a program, or for a test in-process.

python search_worker.py FOLDER TRIALS WORKERS [HANGS_AT]   works when that many are there; notes runs in FOLDER/runs.txt
"""

import functools
import os
import sys
import threading
import time
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext
from optuna.samplers import TPESampler
from optuna.storages import InMemoryStorage

sys.path += [str(folder) for folder in Path(__file__).resolve().parents if folder.name == "tests"]  # as a program

import patience
from diptych.storage.run_status import Objective, RunStatus, write_status
from diptych.sweeping.optuna_sweeper import OptunaSweeper

CONFIG = """
name: parabola
x: 0.0
y: 0
z: a
steps: 10
callbacks: {checkpointing: {monitor: val/height, mode: max}}
"""
WORDS = ("x=interval(-2,2)", "y=choice(0,1,2)")
TPE = functools.partial(TPESampler, seed=1, n_startup_trials=4)


def height(words):
    """The function that is searched: 10 at x=1, y=2."""
    values = dict(word.split("=") for word in words)
    return 10 - (float(values.get("x", 0)) - 1) ** 2 - abs(int(values.get("y", 0)) - 2)


class FakeLauncher:
    """Like the launcher, but a run ends at once, as `end(number, words)` says."""

    def __init__(self, folder, end=None, seconds=0.0):
        self.folder, self.end, self.seconds, self.runs, self.lock = folder, end, seconds, [], threading.Lock()

    def tabulate(self):
        pass

    def launch_runs(self, numbered):
        statuses = []
        for number, words in numbered:
            self.runs.append((number, tuple(words)))
            with self.lock, (self.folder / "runs.txt").open("a") as file:
                file.write(f"{number} {os.getpid()} {' '.join(words)}\n")
            time.sleep(self.seconds)
            status = (self.end or ended)(number, words)
            write_status(self.folder / str(number), status)
            statuses.append(status)
        return statuses


def ended(number, words, metric="val/height", mode="max"):
    return RunStatus("done", tuple(words), objective=Objective(metric, mode, height(words)))


@functools.cache
def memory(folder):
    """A storage for searches of one process: SQLite waits for the disk at every step."""
    return InMemoryStorage()


def make_sweeper(folder, trials=6, end=None, seconds=0.0, mode="max", more="", **settings):
    """A sweeper in `folder` on a config of a few keys, with a launcher of its own in `.launcher`."""
    folder = Path(folder)
    (folder / "conf").mkdir(parents=True, exist_ok=True)
    (folder / "conf/c.yaml").write_text(CONFIG.replace("mode: max", f"mode: {mode}") + more)
    settings = {"study": "parabola", "sampler": TPE, "storage": memory(folder)} | settings
    sweeper = OptunaSweeper(trials=trials, **settings)
    GlobalHydra.instance().clear()
    initialize_config_dir(str(folder / "conf"), version_base="1.3")
    sweeper.config = compose("c", overrides=[f"hydra.sweep.dir={folder}"], return_hydra_config=True)
    sweeper.hydra_context = HydraContext(GlobalHydra.instance().config_loader(), callbacks=None)
    sweeper.launcher = FakeLauncher(folder, end, seconds)
    return sweeper


def run_worker(folder, trials, workers, hangs_at=None):
    def end(number, words):
        (folder / f"began.{os.getpid()}").touch()
        patience.wait_until(lambda: len(list(folder.glob("began.*"))) >= workers)  # none does the work of all
        if number == hangs_at:
            (folder / "hangs").touch()
            time.sleep(3600)  # until it is killed
        return ended(number, words)

    sweeper = make_sweeper(folder, trials, end, seconds=0.2, storage=None)
    (folder / f"ready.{os.getpid()}").touch()
    patience.wait_until(lambda: len(list(folder.glob("ready.*"))) >= workers)
    sweeper.sweep(list(WORDS))


if __name__ == "__main__":
    run_worker(Path(sys.argv[1]), *(int(word) for word in sys.argv[2:]))
