"""Runs of a sweep as processes of their own: each gets its resolved config, and the sweep can be resumed."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from diptych.config import building
from diptych.config.command_line import shown_command, starting_command
from diptych.config.folder import user_config_folder
from diptych.config.override_words import as_meant, override
from diptych.storage.json_files import write_json
from diptych.storage.run_status import RunStatus, read_status, same_overrides
from diptych.sweeping.cluster import Cluster, Run
from diptych.sweeping.prepared_run import finish_run, in_a_line, prepared_run
from diptych.sweeping.resuming import COMMAND, TRUST

log = logging.getLogger(__name__)


class RunLauncher(Launcher):
    """Hydra's launcher of `train.py -m`, and of evaluations and pipelines. Run number n lies in `<sweep>/<n>`: one that
    is done there already, with the same overrides, is not run again; one that was interrupted is resumed.

    A run that fails does not stop the others.
    """

    def __init__(self) -> None:
        self.config: DictConfig | None = None
        self._hydra: HydraContext | None = None
        self._preparing = threading.Lock()

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra; `config` is the sweep's, composed without the overrides that are swept."""
        self._hydra, self.config = hydra_context, config
        self.folder = Path(str(config.hydra.sweep.dir)).resolve()
        self.cluster: Cluster = building.build(config.cluster)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs all, then writes the sweep's table, which it prints too, and its plot.

        Raises:
            ValueError: some have not ended well; names them and the command that resumes the sweep.
        """
        numbered = [(initial_job_idx + place, words) for place, words in enumerate(job_overrides)]
        statuses = self.launch_runs(numbered)
        self.tabulate()
        unfinished = [number for (number, _), status in zip(numbered, statuses, strict=True) if status.state != "done"]
        if unfinished:
            raise ValueError(self._how_to_go_on(unfinished))
        return [_returned(status) for status in statuses]

    def launch_runs(self, numbered: Sequence[tuple[int, Sequence[str]]]) -> list[RunStatus]:
        """The statuses of these runs, once all have ended, well or not. May be called from several threads."""
        assert self.config is not None
        with self._preparing:  # Hydra composes one config at a time
            setup_globals()
            configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
            self._keep_command()
            runs = [self._prepare(number, words) for number, words in numbered]
        with ThreadPoolExecutor(self.cluster.at_once or len(runs)) as threads:
            return list(threads.map(lambda run: finish_run(self.cluster, run), runs))

    def tabulate(self) -> None:
        """Writes the table of all runs in the sweep's folder, which is printed too, and their plot."""
        from diptych.sweeping.plot import write_plot  # here: Hydra imports this file for every command
        from diptych.sweeping.table import write_table

        write_plot(self.folder, write_table(self.folder))

    def _how_to_go_on(self, unfinished: Sequence[int]) -> str:
        """What to say and do about runs that have not ended well."""
        reasons = [f"  {number}: {in_a_line(read_status(self.folder / str(number)))}" for number in unfinished]
        return (
            f"{len(unfinished)} runs of {self.folder} are not done:\n" + "\n".join(reasons) + "\n"
            f"Resume them: {shown_command('-m', override('sweep.resume', self.folder))}"
        )

    def _keep_command(self) -> None:
        path = self.folder / COMMAND
        if not path.exists():
            write_json(path, {"words": sys.argv[1:]})

    def _prepare(self, number: int, words: Sequence[str]) -> Run:
        """The run's folder with its config and status."""
        folder = self.folder / str(number)
        trust = next((word for word in words if word.startswith("trust_run=")), None)
        words = [as_meant(word) for word in words if word != trust]
        own = [word for word in words if word.split("=")[0].split(".")[0].lstrip("+~") not in ("cluster", "hydra")]
        status = read_status(folder)
        if status is not None and not same_overrides(status, own):
            raise ValueError(
                f"{folder} holds a run of {' '.join(status.overrides)}, not of {' '.join(own)}: the sweep was another "
                "one; choose another folder (hydra.sweep.dir=...)"
            )
        assert self.config is not None
        command = str(self.config.hydra.job.config_name)
        for_cluster = self.cluster.overrides(dict(word.split("=", 1) for word in words if "=" in word))
        config = self._composed([*words, *for_cluster])
        configs = user_config_folder(sys.argv[1:])
        start = (*starting_command(), *([f"--config-dir={configs}"] if configs else []))
        trusted = None if trust is None else trust == TRUST
        return prepared_run(command, config, own, [*own, *for_cluster], folder, start, trusted)

    def _composed(self, words: Sequence[str]) -> DictConfig:
        """The run's own config."""
        assert self._hydra is not None and self.config is not None
        config = self._hydra.config_loader.load_sweep_config(self.config, list(words))
        config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        OmegaConf.set_readonly(config, False)
        return config


def _returned(status: RunStatus) -> JobReturn:
    returned = JobReturn(overrides=list(status.overrides), status=JobStatus.COMPLETED)
    returned.return_value = status.objective and status.objective.value
    return returned
