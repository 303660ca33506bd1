"""torchrun's variables where there is no torchrun: what a user loses here is a night in a cluster's queue."""

from __future__ import annotations

import pytest
import torch

from engine.machine.process_group import ALONE, joined, local_device
from engine.machine.torchrun import leads, started_by_torchrun, without_torchrun

CLUSTER = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29555"}


def test_a_cluster_s_variables_make_nobody_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker waited five minutes for a second one, and crashed."""
    for name, value in CLUSTER.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert not started_by_torchrun() and leads() and local_device("auto") == "auto"
    with joined(torch.device("cpu")) as group:
        assert group is ALONE
    monkeypatch.setenv("WORLD_SIZE", "many")
    assert not started_by_torchrun()


@pytest.mark.parametrize(("rank", "leader"), [("0", True), ("1", False)])
def test_torchrun_s_own_processes_know_it(monkeypatch: pytest.MonkeyPatch, rank: str, leader: bool) -> None:
    """Two workers that both led would write one run twice."""
    for name, value in {**CLUSTER, "RANK": rank, "TORCHELASTIC_RUN_ID": "none"}.items():
        monkeypatch.setenv(name, value)
    assert started_by_torchrun() and leads() == leader
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not started_by_torchrun() and leads()


def test_nothing_else_is_taken_from_an_environment() -> None:
    """Threads, paths and devices are the user's to choose."""
    kept = {"PATH": "/bin", "OMP_NUM_THREADS": "3", "CUDA_VISIBLE_DEVICES": "1", "SLURM_PROCID": "1"}
    others = {"PET_NNODES": "2", "TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"}
    assert without_torchrun({**kept, **CLUSTER, **others}) == kept
