"""Networks trained at once: what a user loses here is that a number means the same however it was computed."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.data.batches import RealClips
from engine.data.spec import ClipSpec
from engine.data.store import ClipStore
from engine.errors import DataError, RunError
from engine.evaluation import QueueState, Recipe, Request, Trainers, TrainingData, TrialCache, run_trial
from engine.evaluation import trainers as module
from engine.evaluation.trainers import shares
from engine.models.convnet3d import ConvNet3D
from engine.models.registry import VIDEO_MODELS
from tests.tiny import ROOT, FakeView, make_pixels, make_spec, make_static_dynamic, wait_until
from tests.tiny_run import make_clips

CPU = torch.device("cpu")
RECIPE = Recipe("telltale", 2, 0.01, 0.9, 5e-4, 4)
SPEC = make_spec(("still", "moving"), frames=8, height=64)


class Telltale(ConvNet3D):
    """Leaves the fingerprint of its weights, to the last bit, in a folder of its process, when it is tested."""

    def eval(self) -> Telltale:
        sha = hashlib.sha256(b"".join(value.numpy().tobytes() for value in self.state_dict().values()))
        folder = Path(os.environ["TELLTALE"]) / str(os.getpid())
        folder.mkdir(exist_ok=True)
        (folder / sha.hexdigest()).touch()
        return cast(Telltale, super().eval())


class View(FakeView):
    """Where it comes to a process, it brings the network along."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        VIDEO_MODELS["telltale"] = Telltale


@pytest.fixture
def prints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], tuple[set[str], set[str]]]:
    """Fingerprints of the networks that were trained in this process, and in others."""
    monkeypatch.setitem(VIDEO_MODELS, "telltale", Telltale)
    folder = tmp_path / "fingerprints"
    folder.mkdir()
    monkeypatch.setenv("TELLTALE", str(folder))

    def found() -> tuple[set[str], set[str]]:
        here = {file.name for file in folder.glob(f"{os.getpid()}/*")}
        return here, {file.name for file in folder.glob("*/*")} - here

    return found


@pytest.fixture(autouse=True)
def two_cores() -> Iterator[None]:
    """What torch would say on a machine of two cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def make_test(spec: ClipSpec = SPEC) -> RealClips:
    return RealClips(cast(Any, View(make_pixels(6, spec), [0, 1] * 3)), spec, CPU)


def request(seed: int, folder: Path, data: TrainingData | None = None, recipe: Recipe = RECIPE) -> Request:
    shown = make_static_dynamic(SPEC, seed=7) if data is None else data
    return Request(lambda: shown, make_test(shown.spec), recipe, seed, TrialCache(folder, "x"))


def children(trainers: Trainers) -> list[int]:
    return [process._popen.pid for process in trainers._processes]


def has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


# --- how cores are shared --------------------------------------------------------------------------------------------


@given(st.integers(1, 256), st.integers(1, 40))
def test_cores_are_shared_so_that_none_is_asked_twice(cores: int, networks: int) -> None:
    """More threads than cores wait for each other; and one process alone must compute as it always did."""
    threads, processes = shares(cores, networks)
    assert 1 <= threads * processes <= cores and processes <= networks
    assert processes == min(cores, networks)
    assert threads == max(share for share in range(1, cores + 1) if share == 1 or share * networks <= cores)
    if processes == 1:
        assert threads == cores


# --- the same numbers ------------------------------------------------------------------------------------------------


def test_a_network_is_the_same_to_the_bit_wherever_it_is_trained(
    prints: Callable[[], tuple[set[str], set[str]]], tmp_path: Path
) -> None:
    """Three networks in two processes of one thread, one of them on real clips from their file, beside the same three
    one after the other. What is pressed in the terminal meanwhile is the parent's to answer, not the processes'."""
    told: list[QueueState] = []
    with ClipStore.open(make_clips(tmp_path)) as store, Trainers(CPU) as trainers:
        spec = ClipSpec(store.classes, store.frames, store.height, store.width, store.mean, store.std)
        real = RealClips(store.split("train"), spec, CPU).keep_on_device()

        def watch(going: QueueState) -> None:
            if not told:
                for pid in children(trainers):
                    os.kill(pid, signal.SIGINT)
                    os.kill(pid, signal.SIGTERM)
            told.append(going)

        def requests(folder: Path) -> list[Request]:
            return [request(5, folder, real), request(6, folder), request(7, folder)]

        at_once = list(trainers.trials(requests(tmp_path / "a"), 3, watch))
        _, there = prints()
        assert len(there) == 3
        torch.set_num_threads(1)
        alone = [run_trial(one.data(), one.real, one.recipe, one.seed, one.cache) for one in requests(tmp_path / "b")]
        here, _ = prints()
        assert len(here) == 3 and here == there
        assert [(trial.seed, trial.outcome) for trial in at_once] == [(trial.seed, trial.outcome) for trial in alone]
        done = [going.networks for going in told]
        assert done == sorted(done) and done[-1] == 3 and max(len(going.now) for going in told) == 2
        assert real.resident is not None, "the parent's own clips stay where they were"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_Process", lambda: pytest.fail("a process for what is known"))
            torch.set_num_threads(2)
            assert list(trainers.trials(requests(tmp_path / "a"), 3)) == at_once


def test_what_is_known_changes_nothing_for_the_rest(
    prints: Callable[[], tuple[set[str], set[str]]], tmp_path: Path
) -> None:
    """After an interruption one network is left: it must not get both cores, and so other bits."""
    torch.set_num_threads(1)
    for seed in (1, 2, 3):
        one = request(seed, tmp_path / "whole")
        run_trial(one.data(), one.real, one.recipe, seed, one.cache)
    (tmp_path / "left").mkdir()
    for seed in (1, 3):
        (tmp_path / f"left/x-{seed}.json").write_bytes((tmp_path / f"whole/x-{seed}.json").read_bytes())
    torch.set_num_threads(2)
    here, _ = prints()
    told: list[QueueState] = []
    with Trainers(CPU) as trainers:
        found = [
            trial.seed for trial in trainers.trials([request(s, tmp_path / "left") for s in (1, 2, 3)], 3, told.append)
        ]
    folders = [folder for folder in (tmp_path / "fingerprints").iterdir() if folder.name != str(os.getpid())]
    (there,) = (file.name for folder in folders for file in folder.iterdir())
    assert found == [1, 2, 3] and there in here and told[-1] == QueueState(3, 2, ())


@pytest.mark.parametrize("reason", ["torchrun", "cuda", "one network", "one core"])
def test_elsewhere_networks_are_trained_here(
    reason: str, prints: Callable[[], tuple[set[str], set[str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two networks on one GPU would fight for its memory, and torchrun has shared the cores already."""
    monkeypatch.setattr(module, "_Process", lambda: pytest.fail("a process"))
    if reason == "torchrun":
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    if reason == "one core":
        torch.set_num_threads(1)
    told: list[QueueState] = []
    trainers = Trainers(torch.device("cuda") if reason == "cuda" else CPU)
    quick = dataclasses.replace(RECIPE, epochs=1)
    requests = [request(seed, tmp_path, recipe=quick) for seed in (1, 2)]
    found = list(trainers.trials(requests, 1 if reason == "one network" else 2, told.append))
    assert [trial.seed for trial in found] == [1, 2] and len(prints()[0]) == 2
    assert told[0] == QueueState(0, 0, ((0, 0.0),)) and told[-1] == QueueState(1, 0, ((1, 1.0),))
    told.clear()
    assert list(
        trainers.trials(
            [*requests, request(3, tmp_path, recipe=quick)], 1 if reason == "one network" else 2, told.append
        )
    )
    assert told[0] == QueueState(2, 2, ((2, 0.0),))


# --- the end of processes --------------------------------------------------------------------------------------------


class _Stopped(Exception):  # noqa: N818
    """What a run's session raises when it shall stop."""


def test_processes_end_with_what_asked_for_them(tmp_path: Path) -> None:
    """A stopped run must not go on computing, and an error in a process is told as if it were one's own."""
    endless = Recipe("convnet3d", 10**6, 0.01, 0.9, 5e-4, 4)

    def stop(going: QueueState) -> None:
        if going.now[0][1] > 0 or began:
            raise _Stopped
        began.append(True)

    began: list[bool] = []
    with Trainers(CPU) as trainers:
        wrong = make_static_dynamic(make_spec("ab", frames=2, height=8))
        with pytest.raises(DataError, match="2 frames of 8 x 8"):
            list(trainers.trials([request(1, tmp_path, wrong, endless)], 2))
        asked = trainers.trials([request(1, tmp_path, recipe=endless)], 2, stop)
        with pytest.raises(_Stopped):
            next(asked)
        assert trainers._processes == []
        killed: list[int] = []

        def kill(going: QueueState) -> None:
            for pid in children(trainers):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

        with pytest.raises(RunError, match="was killed") as error:
            list(trainers.trials([request(2, tmp_path, recipe=endless)], 2, kill))
        assert killed and all(map(has_ended, killed))
        assert "\n" not in error.value.problem + error.value.hint and "OMP_NUM_THREADS=1" in error.value.hint


def test_a_process_that_cannot_be_started_is_said_in_plain_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container with a limit on processes, or a Python that has gone."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    with Trainers(CPU) as trainers, pytest.raises(RunError, match="cannot be started: No such file"):
        list(trainers.trials([request(1, tmp_path)], 2))
    monkeypatch.undo()
    monkeypatch.setattr(module, "PROGRAM", "import sys; sys.exit(3)")
    with Trainers(CPU) as trainers, pytest.raises(RunError, match="ended with code 3"):
        list(trainers.trials([request(1, tmp_path)], 2))
    monkeypatch.setattr(module, "PROGRAM", "import time; time.sleep(60)")
    monkeypatch.setattr(module, "START_SECONDS", 0.3)
    with Trainers(CPU) as trainers:
        with pytest.raises(RunError, match="did not begin"):
            list(trainers.trials([request(1, tmp_path)], 2))
        assert trainers._processes == []


ORPHANS = """
import sys, torch
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from engine.evaluation import *
from tests.tiny import *
torch.set_num_threads(2)
spec = make_spec("ab", frames=8, height=64)
recipe, data, real = Recipe("convnet3d", 10**6, 0.01, 0.9, 5e-4, 4), make_static_dynamic(spec), make_real(spec, (2, 2))
trainers = Trainers(torch.device("cpu"))
def watch(going):
    if len(trainers._processes) == 2 and all(process._listens for process in trainers._processes):
        print(*(process._popen.pid for process in trainers._processes), flush=True)
list(trainers.trials([Request(lambda: data, real, recipe, s, TrialCache(Path(sys.argv[2]), "x")) for s in (1, 2)], 2,
                     watch))
"""


def test_no_process_is_left_when_its_parent_is_killed(tmp_path: Path) -> None:
    """After `kill -9` nobody would end them: they would train for hours, for nobody.

    The script has no main guard, like most notebooks and scripts of users.
    """
    script = tmp_path / "script.py"
    script.write_text(ORPHANS)
    with subprocess.Popen(
        [sys.executable, str(script), str(ROOT), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as parent:
        assert parent.stdout is not None
        try:
            pids = [int(word) for word in parent.stdout.readline().split()]
            assert len(pids) == 2 and not any(map(has_ended, pids))
        finally:
            parent.kill()
        parent.communicate(timeout=30)  # the pipe closes when the last process that holds it is gone
    wait_until(lambda: all(has_ended(pid) or _is_zombie(pid) for pid in pids))


def _is_zombie(pid: int) -> bool:
    """Where nobody collects orphans, as in a container, their numbers stay."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False
