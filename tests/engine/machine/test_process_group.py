"""Several processes on one run: they must make the memories that one makes, and lose nothing when one of them dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.config import load_preset
from engine.distilling.process import carry_out
from engine.machine.process_group import Group
from engine.runs import RunDirectory
from engine.runs.new import new_run, with_data
from engine.synthetic import load_synthetic
from tests.forked import Forked
from tests.tiny import ROOT
from tests.tiny_run import QUICK, make_clips

# In bfloat16 what a pass rounds depends on how many clips are in it, so float32 also where the CPU has both.
COMMON = (*QUICK, "evaluation.epochs=1", "evaluation.repeats=1", "run.device=cpu", "run.precision=float32")
FEWER = ("static.steps=2", "dynamic.steps=2", "dynamic.eval_every=100")
METHODS = {
    "dm": ("static.objective=dc", "dynamic.objective=dm"),
    "mtt": (
        "static.objective=dm",
        "dynamic.objective=mtt",
        "dynamic.mtt.syn_steps=2",
        "dynamic.mtt.max_start_epoch=1",
        "dynamic.mtt.experts_per_step=3",
        "experts.number=3",
        *FEWER,
    ),
    "through": (
        "synthetic.kind=pixels",
        "dynamic.objective=dm",
        "dynamic.lr_dynamic=0.01",
        "storage.how=uint8@half",
        "storage.learn_through=true",
        "storage.every=3",
        "dynamic.eval_every=100",
    ),
    "frepo": (
        "dynamic.objective=frepo",
        "dynamic.frepo.batch_real=5",
        "dynamic.frepo.pool=2",
        "dynamic.optimiser=adam",
        "dynamic.lr_dynamic=0.01",
        "dynamic.lr_static=0.01",
        "synthetic.labels=learned",
        *FEWER,
    ),
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("clips"), per_class=6)


def queued(folder: Path, clips: Path, name: str, method: str) -> RunDirectory:
    preset = with_data(load_preset("default", [*COMMON, *METHODS[method]]), clips)
    return new_run(preset, None, folder, name, name, ["test"])


def torchrun(run: RunDirectory, processes: int = 2) -> subprocess.Popen[str]:
    options = ["--standalone", f"--nproc-per-node={processes}", "--monitor-interval=0.1"]
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *options, "-m", "engine.worker", str(run.path)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def forked(run: RunDirectory, processes: int = 2) -> list[Forked]:
    """The same without torchrun itself: processes with its variables, to skip what all of them would import."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    common |= {"TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": 1, "OMP_WAIT_POLICY": "PASSIVE"}
    command, started = [sys.executable, "-m", "engine.worker", str(run.path)], []
    with open(run.engine_log, "ab") as log:
        for rank in range(processes):
            own = {name: str(value) for name, value in (common | {"RANK": rank, "LOCAL_RANK": rank}).items()}
            started.append(Forked(command, ROOT, {**os.environ, **own}, log))
    return started


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_make_the_memories_of_one(tmp_path: Path, clips: Path, method: str) -> None:
    """More GPUs must give the same result sooner, not another result."""
    alone, together = (queued(tmp_path, clips, name, method) for name in ("alone", "together"))
    carry_out(alone)
    if method == "dm":
        process = torchrun(together)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    else:
        assert [one.wait(300) for one in forked(together)] == [0, 0], together.engine_log.read_text()
    assert together.state() == "completed"
    one, two = (load_synthetic(run.last).tensors() for run in (alone, together))
    for name, tensor in one.items():
        # Sums are taken in another order, which four steps at a rate of 10 enlarge in single pixels.
        error = (two[name] - tensor).norm() / tensor.norm().clamp_min(1e-6)
        # The bias begins at 0: it is four gradients and nothing else, and these are of pixels that differ so much.
        assert error < (5e-2 if name == "hallucinator.bias" else 2e-3), (name, error)
    for run in (alone, together):
        told = [line for line in _lines(run) if "unroll = auto" in line]
        assert len(told) == (method == "mtt"), "how the student is differentiated is told once, by the leader"


def test_after_a_lost_process_the_next_start_goes_on(tmp_path: Path, clips: Path) -> None:
    """A node that dies in the night: the others end with a message, and nothing but minutes is lost."""
    run = queued(tmp_path, clips, "lossy", "dm")
    process = torchrun(run)
    try:
        end = time.monotonic() + 200
        while not any('"checkpoint_saved"' in line for line in _lines(run)):
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.05)
        os.kill(_worker_of_rank(process.pid, 1), signal.SIGKILL)
        process.communicate(timeout=100)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode != 0 and run.state() in ("failed", "crashed", "stopped")
    assert [one.wait(200) for one in forked(run)] == [0, 0] and run.state() == "completed", run.engine_log.read_text()
    starts = [json.loads(line) for line in _lines(run) if '"run_started"' in line]
    assert [start["resumed"] for start in starts] == [False, True]


def _lines(run: RunDirectory) -> list[str]:
    return run.events_file.read_text().splitlines() if run.events_file.exists() else []


def _worker_of_rank(parent: int, rank: int) -> int:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            own = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if own == parent and f"RANK={rank}".encode() in environment:
            return int(folder.name)
    raise AssertionError("no such worker")


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_shares_are_a_partition(count: int) -> None:
    """Each class exactly once, whatever the number of processes, also more of them than classes."""
    shares = [Group(rank, count).share(range(5)) for rank in range(count)]
    assert sorted(label for share in shares for label in share) == list(range(5))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
