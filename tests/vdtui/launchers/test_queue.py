"""What SLURM says of jobs, by the commands that every cluster has."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import UsageError
from vdtui.launchers.queue import FORGOTTEN, JobState, cancel, job_states


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Put ``scripts`` on the PATH by their names, and nothing else of SLURM."""
    for name, script in scripts.items():
        program = folder / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_jobs_are_told_by_squeue_and_older_ones_by_sacct(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that ended some minutes ago would be taken for one that still runs, or be submitted twice."""
    squeue = "printf '17_0|RUNNING|None\\n17_1|PENDING|Resources\\n18|FAILED|NonZeroExitCode\\n99|RUNNING|None\\n'"
    sacct = "printf '15|CANCELLED by 0|None\\n16_2|TIMEOUT|None\\n'"
    programs(tmp_path, monkeypatch, squeue=squeue, sacct=sacct)
    states = job_states(["17_0", "17_1", "18", "15", "16_2", "14"])
    assert states["17_0"] == JobState("RUNNING") and not states["17_0"].ended and not states["17_0"].waits
    assert states["17_1"].waits and str(states["17_1"]) == "PENDING (Resources)"
    assert states["18"].ended and str(states["18"]) == "FAILED (NonZeroExitCode)"
    assert states["15"] == JobState("CANCELLED") and states["16_2"].ended
    assert states["14"] is FORGOTTEN and FORGOTTEN.ended and len(states) == 6
    assert job_states([]) == {}


def test_a_cluster_without_accounts_knows_recent_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small clusters have no sacct; a study there would end with an error."""
    failing = "echo 'Slurm accounting storage is disabled' >&2; exit 1"
    programs(tmp_path, monkeypatch, squeue="echo '17|COMPLETED|None'", sacct=failing)
    assert job_states(["17", "3"]) == {"17": JobState("COMPLETED"), "3": FORGOTTEN}


def test_where_slurm_is_missing_or_down_two_lines_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback does not tell that one is on the wrong machine."""
    programs(tmp_path, monkeypatch, squeue="echo 'slurm_load_jobs error: no\nroute' >&2; exit 1")
    with pytest.raises(UsageError, match="squeue failed: slurm_load_jobs error: no route"):
        job_states(["1"])
    with pytest.raises(UsageError, match="SLURM's scancel is not on this machine's PATH"):
        cancel("1")
