"""MLflow, with a run that a resumed training continues, in a file of its own unless a server is named."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only

from diptych.extras import require
from diptych.loggers.forgiving import Forgiving
from diptych.storage.whole import write_file

# MLflow's own defaults: seven attempts of two minutes each for every call, and reports of its use to its makers.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
_SILENT = {"MLFLOW_DISABLE_TELEMETRY": "true"}


class ForgivingMLflowLogger(Forgiving, MLFlowLogger):
    """Logs to the server or store `uri`; None: to MLFLOW_TRACKING_URI of the environment, or else, offline, into
    `folder/mlflow.db`, which `mlflow ui --backend-store-uri sqlite:///FOLDER/mlflow.db` shows. The run's id is kept in
    `folder/mlflow_run_id`, so that a resumed run continues there.

    Raises:
        ValueError: there can be no store at `uri`.
    """

    tracker = "MLflow"
    writes: ClassVar[Mapping[str, str]] = {"folder": "mlflow_run_id"}

    def __init__(
        self, folder: str, experiment: str = "diptych", name: str | None = None, uri: str | None = None
    ) -> None:
        for module in ("mlflow", "sqlalchemy", "alembic"):
            require(module, "choose logger=none")
        for variable, value in {**_PATIENCE, **_SILENT}.items():
            os.environ.setdefault(variable, value)
        first = rank_zero_only.rank == 0  # type: ignore[attr-defined]  # set out of mypy's sight
        self._id_file = Path(folder) / "mlflow_run_id"
        self._noted = False
        uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(folder).absolute()}/mlflow.db"
        if first:
            Path(folder).mkdir(parents=True, exist_ok=True)
        known = self._id_file.read_text().strip() if self._id_file.exists() else None
        try:
            super().__init__(
                experiment_name=experiment,
                run_name=name,
                tracking_uri=uri if first else "http://127.0.0.1",  # which is not asked: one rank makes the store
                run_id=known,
            )
        except Exception as error:
            raise ValueError(f"uri={uri}: MLflow cannot log there ({error!s:.200})") from error

    def note_run(self, experiment: Any) -> None:
        """Keeps the id of a new run; one that goes on is at work again."""
        if self._noted:
            return
        self._noted = True
        if self._id_file.exists():
            experiment.update_run(self._run_id, status="RUNNING")
        else:
            write_file(self._id_file, str(self._run_id).encode())
