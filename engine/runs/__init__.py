"""Runs on the disk: directory, event log, status, control, lock, checkpoints, folded state."""

from engine.runs.directory import RunDirectory, create_run, find_run, list_runs, runs_folder
from engine.runs.log import EventLog, EventTail
from engine.runs.removal import remove_run
from engine.runs.state import RunState, fold
from engine.runs.status import ALIVE, ENDED, STATES, Status, actual_state

__all__ = [
    "ALIVE",
    "ENDED",
    "STATES",
    "EventLog",
    "EventTail",
    "RunDirectory",
    "RunState",
    "Status",
    "actual_state",
    "create_run",
    "find_run",
    "fold",
    "list_runs",
    "remove_run",
    "runs_folder",
]
