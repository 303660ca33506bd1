"""MLflow: a run at ``$MLFLOW_TRACKING_URI``, else in the SQLite file ``.mlflow.db`` beside the runs.

``mlflow ui --backend-store-uri sqlite:///RUNS/.mlflow.db`` shows those of all runs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from engine.runs.directory import RunDirectory
from engine.trackers.base import Point, Tracker
from engine.trackers.identity import identity

EXPERIMENT = "vdtui"
MOST_AT_ONCE = 500
"""Values of one request; MLflow takes at most 1000 metrics, and 100 parameters."""
_ENDS = {"completed": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MLflow(Tracker):
    """A run of MLflow in the experiment ``$MLFLOW_EXPERIMENT_NAME``, else ``vdtui``."""

    def __init__(self, run: RunDirectory, settings: Mapping[str, str]) -> None:
        place = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{run.path.parent.absolute() / '.mlflow.db'}"
        self._client = MlflowClient(tracking_uri=place)
        self._id = identity(run, "mlflow", lambda: self._made(run, settings))
        self._client.update_run(self._id, status="RUNNING")

    def _made(self, run: RunDirectory, settings: Mapping[str, str]) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        known = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if known is None else known.experiment_id
        made: str = self._client.create_run(experiment, run_name=run.name).info.run_id
        params = [Param(_name(key), value[:500]) for key, value in settings.items()]
        for first in range(0, len(params), 100):
            self._client.log_batch(made, params=params[first : first + 100])
        return made

    def log(self, points: Sequence[Point]) -> None:
        """Record ``points`` as metrics STAGE/NAME."""
        metrics = [
            Metric(_name(f"{point.stage}/{point.name}"), point.value, int(1000 * point.time), point.step)
            for point in points
        ]
        for first in range(0, len(metrics), MOST_AT_ONCE):
            self._client.log_batch(self._id, metrics=metrics[first : first + MOST_AT_ONCE])

    def close(self, state: str) -> None:
        """End the run in its state."""
        self._client.set_terminated(self._id, _ENDS[state])


def _name(text: str) -> str:
    """Return ``text`` in the letters that MLflow takes."""
    return re.sub(r"[^\w\-. /]", "_", text)
