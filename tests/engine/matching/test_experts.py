"""Experts: hours of training that must not be lost, taken for others, or drawn in part."""

from __future__ import annotations

import fcntl
import itertools
import json
import math
import os
import pickle
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from engine.config import Preset
from engine.config.schema import ExpertsSection
from engine.data.batches import RealClips
from engine.errors import DataError, DivergedError, StopRequested, StorageError
from engine.matching import experts
from engine.matching.experts import (
    FlatParameters,
    Record,
    Training,
    Trajectories,
    batch_of,
    chance,
    finished,
    nbytes,
    open_or_train,
)
from engine.models import Network
from engine.seeds import generator
from tests.tiny import PYTHON, FakeView, make_pixels, make_real, make_spec, normalised, wait_until

SPEC = make_spec(classes=("dark", "bright"), frames=1, height=2)
INPUTS, HIDDEN = 12, 3
SIZE = HIDDEN * INPUTS + HIDDEN + 2 * HIDDEN + 2
CPU = torch.device("cpu")


class TinyNetwork(Network):
    """logits = w2 dropout(tanh(w1 x + b1)) + b2, from a random start."""

    def __init__(self, number: int, dropout: float = 0.5) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(number)
        for name, shape in {"w1": (HIDDEN, INPUTS), "b1": (HIDDEN,), "w2": (2, HIDDEN), "b2": (2,)}.items():
            self.register_parameter(name, nn.Parameter(0.3 * torch.randn(shape, generator=rng)))
        self.dropout = nn.Dropout(dropout)

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        return self.dropout(nn.functional.linear(batch.flatten(1), self.w1, self.b1).tanh())

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(self.embed(batch), self.w2, self.b2)


class WatchedView(FakeView):
    """Remembers which clips were read."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.read: list[list[int]] = []

    def clips(self, indices: Any) -> np.ndarray:
        self.read.append([int(i) for i in indices])
        return super().clips(indices)


def separable(count: int = 10, seed: int = 0) -> RealClips:
    """Dark and bright clips in turn."""
    pixels = make_pixels(count, SPEC, seed) // 3
    pixels[1::2] += 170
    return RealClips(cast(Any, WatchedView(pixels, [i % 2 for i in range(count)])), SPEC, CPU)


def never() -> None:
    """Nothing stops the training."""


def make(
    folder: Path,
    real: RealClips | None = None,
    test: RealClips | None = None,
    *,
    snapshots: int = 4,
    new_network: Callable[[int], Network] = TinyNetwork,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
    check: Callable[[], None] = never,
    at_once: int = 4,
    made_from: dict[str, Any] | None = None,
    seed: int = 0,
    **table: Any,
) -> Training:
    recipe = ExpertsSection(**({"number": 2, "lr": 0.1, "momentum": 0.9, "batch": 4} | table))
    origin = {"data": "abc", "snapshots": snapshots, "stored": recipe.stored} | (made_from or {})
    return Training(
        folder,
        origin,
        new_network,
        separable() if real is None else real,
        test,
        recipe,
        snapshots,
        seed,
        torch.float32,
        progress,
        check,
        at_once=at_once,
    )


def opened(training: Training, number: int | None = None) -> Trajectories:
    wanted = training.section.number if number is None else number
    return Trajectories.open(training.folder, training.made_from, TinyNetwork(0), wanted, CPU)


def trained(folder: Path, *arguments: Any, **changes: Any) -> Trajectories:
    training = make(folder, *arguments, **changes)
    training.run()
    return opened(training)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- by hand, in float64 ---------------------------------------------------------------------------------------------


def epochs_by_hand(
    x: np.ndarray, labels: np.ndarray, number: int, epochs: int, lr: float, momentum: float, decay: float
):
    """The weights after each epoch of one step on all clips, without dropout; the gradient is written out."""
    first = FlatParameters(TinyNetwork(number)).gather(TinyNetwork(number)).double().numpy()
    bounds = np.cumsum([HIDDEN * INPUTS, HIDDEN, 2 * HIDDEN])
    weights, velocity, kept = first.copy(), np.zeros(SIZE), [first]
    for _ in range(epochs):
        w1, b1, w2, b2 = np.split(weights, bounds)
        w1, w2, gradient = w1.reshape(HIDDEN, INPUTS), w2.reshape(2, HIDDEN), decay * weights
        for clip, label in zip(x.reshape(len(x), -1), labels, strict=True):
            hidden = np.tanh(w1 @ clip + b1)
            logits = w2 @ hidden + b2
            wrong = np.exp(logits) / np.exp(logits).sum() - np.eye(2)[label]
            back = (w2.T @ wrong) * (1 - hidden**2)
            parts = [np.outer(back, clip).ravel(), back, np.outer(wrong, hidden).ravel(), wrong]
            gradient = gradient + np.concatenate(parts) / len(x)
        velocity = momentum * velocity + gradient
        weights = weights - lr * velocity
        kept.append(weights)
    return kept


@pytest.mark.parametrize("stored", ["float32", "float16"])
def test_the_weights_after_every_epoch_are_those_of_training_by_hand(tmp_path: Path, stored: str) -> None:
    """Students would be pulled towards weights that no network trained on the real clips ever had."""
    real = separable(6)
    trajectories = trained(
        tmp_path,
        real,
        new_network=lambda number: TinyNetwork(number, dropout=0.0),
        batch=100,
        weight_decay=0.01,
        stored=stored,
    )
    x = normalised(cast(FakeView, real.view).pixels, SPEC)
    for number in range(2):
        wanted = epochs_by_hand(x, real.labels.numpy(), number, 3, lr=0.1, momentum=0.9, decay=0.01)
        for epoch in range(4):
            found = trajectories.weights(number, epoch).double().numpy()
            moved = np.abs(wanted[epoch] - wanted[0]).max()
            tolerance = 1e-6 + (0.0 if stored == "float32" else 2.0**-11 * moved)
            np.testing.assert_allclose(found, wanted[epoch], rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("clips", "given", "batch"), [(3570, 0, 224), (9537, 0, 256), (300, 0, 19), (40, 0, 16), (300, 256, 256)]
)
def test_an_epoch_of_small_data_has_steps_too(clips: int, given: int, batch: int) -> None:
    """The published batch of 256 makes one step of an epoch of 200 clips: nothing that a student could follow."""
    assert batch_of(ExpertsSection(batch=given), clips) == batch


def test_an_epoch_takes_every_clip_once_in_an_order_of_its_own(tmp_path: Path) -> None:
    """Clips that are left out are not learned from; the same order each time makes all experts alike."""
    real = separable(10)
    training = make(tmp_path, real, batch=4, at_once=3, number=2, snapshots=3)
    training.run()
    reads = cast(WatchedView, real.view).read
    tests = [list(range(start, min(start + 3, 10))) for start in (0, 3, 6, 9)]
    per_epoch = [3, 1, 3, 1, 2]
    orders = []
    for number in range(2):
        own = reads[number * 14 : (number + 1) * 14]
        assert [len(batch) for batch in own[:10]] == per_epoch * 2
        assert own[10:] == tests
        orders += [list(itertools.chain(*own[:5])), list(itertools.chain(*own[5:10]))]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_clips_per_pass_do_not_decide_the_weights(tmp_path: Path) -> None:
    """A user with less memory would otherwise follow other experts."""
    whole, parts = (
        trained(tmp_path / str(at_once), at_once=at_once, new_network=lambda n: TinyNetwork(n, 0.0), stored="float32")
        for at_once in (4, 3)
    )
    torch.testing.assert_close(whole.weights(1, 3), parts.weights(1, 3), rtol=1e-5, atol=1e-6)


def test_more_epochs_than_are_kept_are_trained_and_the_first_are_kept(tmp_path: Path) -> None:
    """The published recipe trains on; a student starts in the first epochs only."""
    few, many = trained(tmp_path / "few"), trained(tmp_path / "many", epochs=8)
    assert few.epochs == many.epochs == 3
    assert torch.equal(few.weights(1, 3), many.weights(1, 3))
    told: list[tuple[int, int, str]] = []
    make(tmp_path / "told", epochs=8, progress=lambda *progress: told.append(progress)).run()
    assert [done for done, total, _ in told] == sorted(done for done, _, _ in told)
    assert {total for _, total, _ in told} == {16} and told[0][0] == 0 and told[-1][0] == 16
    assert "expert 2 of 2, epoch 3 of 8" in [what for _, _, what in told]


def test_accuracies_are_of_the_finished_network_without_dropout(tmp_path: Path) -> None:
    """They say whether the experts are worth following."""
    real, test = separable(10), separable(8, seed=5)
    training = make(tmp_path, real, test, snapshots=10, number=2)
    training.run()
    trajectories = opened(training)
    for record in trajectories.records:
        network = TinyNetwork(0).eval()
        FlatParameters(network).scatter(trajectories.weights(record.number, 9), network)
        for clips, accuracy in ((real, record.train_accuracy), (test, record.test_accuracy)):
            logits = network(clips.clips(torch.arange(len(clips))))
            assert accuracy == (logits.argmax(1) == clips.labels).double().mean().item()
        assert record.train_accuracy is not None and record.train_accuracy > 0.9
        assert record.finite and not record.failed
    assert trajectories.warnings() == []


# --- interruptions ---------------------------------------------------------------------------------------------------


@given(stops=st.lists(st.integers(1, 25), min_size=1, max_size=4))
@settings(max_examples=15)
def test_experts_that_were_interrupted_end_with_the_same_bytes(
    stops: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Otherwise an evening's training would be lost, or the run not be the one that its seed promises."""
    folder = tmp_path_factory.mktemp("experts")
    make(folder / "whole", epochs=5).run()
    for stop in stops:
        left = iter(range(stop))

        def check(left: Any = left) -> None:
            if next(left, None) is None:
                raise StopRequested

        try:
            make(folder / "parts", epochs=5, check=check).run()
        except StopRequested:
            continue
    make(folder / "parts", epochs=5).run()
    assert contents(folder / "parts") == contents(folder / "whole")


def stopped_in(folder: Path, calls: int) -> None:
    """A training that was stopped after so many passes."""
    left = iter(range(calls))

    def check() -> None:
        if next(left, None) is None:
            raise StopRequested

    with pytest.raises(StopRequested):
        make(folder, check=check).run()


def test_epochs_that_are_done_are_not_done_again(tmp_path: Path) -> None:
    """An epoch may take an hour."""
    stopped_in(tmp_path, calls=9)  # the second epoch of expert 0 has begun: 1 call, and 3 or 4 for every epoch
    told: list[str] = []
    make(tmp_path, progress=lambda done, total, what: told.append(what)).run()
    assert told[0] == "expert 1 of 2, epoch 3 of 3"


def test_a_partial_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """Its name can be foreseen, and folders of runs are shared: the file that it leads to would be written over."""
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "experts").mkdir()
    (tmp_path / "experts" / "000.partial").symlink_to(tmp_path / "precious")
    with pytest.raises(StorageError, match="link"):
        make(tmp_path / "experts").run()
    assert (tmp_path / "precious").read_bytes() == b"precious"


def tear_file(folder: Path) -> None:
    with (folder / "000.partial").open("ab") as file:
        file.write(b"half of a row")


def tear_state(folder: Path) -> None:
    path = folder / "000.training.npz"
    path.write_bytes(path.read_bytes()[:-100])


def lose_rows(folder: Path) -> None:
    os.truncate(folder / "000.partial", 200)


def lose_state(folder: Path) -> None:
    (folder / "000.training.npz").unlink()


@pytest.mark.parametrize("harm", [tear_file, tear_state, lose_rows, lose_state])
def test_what_a_crash_leaves_behind_does_not_show_in_the_result(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """A machine that lost its power writes half a row, or a state without its rows."""
    make(tmp_path / "whole").run()
    stopped_in(tmp_path / "parts", calls=9)
    harm(tmp_path / "parts")
    make(tmp_path / "parts").run()
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_only_what_is_needed_is_left(tmp_path: Path) -> None:
    """Gigabytes of leftovers are nobody's to clean up."""
    make(tmp_path, number=1).run()
    assert sorted(contents(tmp_path)) == ["000.json", "000.npy", "index.json"]


# --- several processes -----------------------------------------------------------------------------------------------


def test_two_at_once_train_every_expert_once(tmp_path: Path) -> None:
    """Two runs that were started together would otherwise write over each other, or do the work twice."""
    make(tmp_path / "alone", number=6).run()
    # ``seeded`` is of a process, so threads would disturb each other's dropout.
    program = (
        "import sys; from pathlib import Path; from tests.engine.matching import test_experts as t; "
        "t.make(Path(sys.argv[1]), number=6).run()"
    )
    running = [subprocess.Popen([PYTHON, "-c", program, str(tmp_path / "shared")]) for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")


def test_an_expert_that_another_process_trains_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a user who gives up waiting can stop."""
    monkeypatch.setattr(experts, "WAIT_SECONDS", 0.001)
    other_stops, told, calls = threading.Event(), [], iter(range(30))

    def hold() -> None:
        if not other_stops.wait(30):
            raise AssertionError("nobody came")
        raise StopRequested

    def train() -> None:
        with pytest.raises(StopRequested):
            make(tmp_path, number=1, check=hold).run()

    def progress(done: int, total: int, what: str) -> None:
        told.append(what)

    def check() -> None:
        if next(calls, None) is None:
            other_stops.set()

    other = threading.Thread(target=train)
    other.start()
    wait_until((tmp_path / "000.partial").exists)
    wait_until(lambda: not is_free(tmp_path / "000.partial"))
    make(tmp_path, number=1, progress=progress, check=check).run()
    other.join(30)
    assert told[0].startswith("waiting for another process that trains expert 1")
    assert finished(tmp_path, 0) is not None


def is_free(path: Path) -> bool:
    """Whether nobody holds the file."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


# --- what is drawn ---------------------------------------------------------------------------------------------------


def test_all_experts_and_epochs_are_drawn(tmp_path: Path) -> None:
    """The reference trained 30 experts and drew from 10 of them."""
    trajectories = trained(tmp_path, number=3, snapshots=4)
    by_bytes = {trajectories.weights(k, epoch).numpy().tobytes(): (k, epoch) for k in range(3) for epoch in range(4)}
    assert len(by_bytes) == 12
    seen = set()
    for step in range(150):
        start, target = trajectories.draw(generator(0, "test", step), range(2), expert_epochs=2)
        assert start.dtype == target.dtype == torch.float32 and start.shape == target.shape == (SIZE,)
        (k, epoch), (other, later) = by_bytes[start.numpy().tobytes()], by_bytes[target.numpy().tobytes()]
        assert k == other and later == epoch + 2
        seen.add((k, epoch))
    assert seen == {(k, epoch) for k in range(3) for epoch in range(2)}


def test_fewer_experts_than_there_are_may_be_used_and_more_be_added(tmp_path: Path) -> None:
    """A trial with two experts is a part of the run with all of them."""
    training = make(tmp_path, number=2)
    training.run()
    before = contents(tmp_path)
    make(tmp_path, number=3).run()
    assert opened(training).number == 2 and opened(training, 3).number == 3
    assert before.items() <= contents(tmp_path).items()


def test_float16_is_precise_where_it_matters(tmp_path: Path) -> None:
    """The way between two epochs is short: weights rounded to float16 would be off by a good part of it."""

    def slow(number: int) -> Network:
        return TinyNetwork(number, dropout=0.0)

    exact, stored = (
        trained(tmp_path / kind, new_network=slow, lr=1e-4, momentum=0.0, stored=kind)
        for kind in ("float32", "float16")
    )
    way = (exact.weights(0, 1) - exact.weights(0, 0)).norm()
    off = (stored.weights(0, 1) - exact.weights(0, 1)).norm()
    rounded = (exact.weights(0, 1).half().float() - exact.weights(0, 1)).norm()
    assert off < 0.001 * way
    assert rounded > 0.1 * way, "or this test says nothing"


def test_flat_weights_go_back_to_their_places() -> None:
    """A permuted weight is a random network that nobody trained."""
    network, other = TinyNetwork(1), TinyNetwork(2)
    parameters = FlatParameters(network)
    flat = parameters.gather(network)
    assert flat.shape == (SIZE,) == (parameters.size,)
    parameters.scatter(flat, other)
    for (name, wanted), found in zip(network.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(found, wanted) and torch.equal(parameters.views(flat)[name], wanted)
    column_major = nn.Linear(3, 2)
    column_major.weight = nn.Parameter(torch.arange(6.0).reshape(3, 2).T)
    assert FlatParameters(column_major).gather(column_major)[:6].tolist() == [0, 2, 4, 1, 3, 5]


def test_sizes_are_told_beforehand(tmp_path: Path) -> None:
    """Thirty experts of ConvNet3D are gigabytes; that should not be found out on a full disk."""
    for stored in ("float16", "float32"):
        trajectories = trained(tmp_path / stored, number=2, snapshots=5, stored=stored)
        sizes = [path.stat().st_size for path in trajectories.folder.glob("*.npy")]
        assert trajectories.nbytes == sum(sizes)
        told = nbytes(TinyNetwork(0), 2, 5, stored)
        assert told == 2 * SIZE * (4 + 4 * (2 if stored == "float16" else 4))
        assert told < sum(sizes) < told + 2 * 400


# --- experts that did not learn --------------------------------------------------------------------------------------


def test_experts_that_learned_nothing_are_named(tmp_path: Path) -> None:
    """A synthetic set that follows them cannot teach anything either."""
    training = make(tmp_path, lr=1e-6, number=2)
    training.run()
    records = opened(training).records
    failed = [record.number for record in records if record.failed]
    assert failed == [r.number for r in records if cast(float, r.train_accuracy) <= 0.5 + 2 * (0.25 / 10) ** 0.5] != []
    (warning,) = opened(training).warnings()
    assert f"{len(failed)} of 2 experts" in warning and "chance" in warning and "experts.lr" in warning
    assert opened(training).number == 2, "they are drawn all the same"


@pytest.mark.parametrize(("counts", "wanted"), [([50, 50], 0.6), ([90, 10], 0.96), ([25, 25, 25, 25], 0.25 + 0.0866)])
def test_chance_is_naming_the_largest_class(counts: list[int], wanted: float) -> None:
    """With classes of unequal size a network that always says the same would pass for one that has learned."""
    assert chance(torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))) == pytest.approx(wanted, abs=1e-4)


def diverging(numbers: set[int]) -> Callable[[int], Network]:
    """Networks of which those of ``numbers`` leave the finite numbers in their first step."""

    def new_network(number: int) -> Network:
        network = TinyNetwork(number)
        if number in numbers:
            with torch.no_grad():
                network.w2.fill_(3e38)
        return network

    return new_network


def test_experts_that_diverge_are_named_and_not_drawn(tmp_path: Path) -> None:
    """One of them would make all memories NaN, some steps later."""
    training = make(tmp_path, number=3, new_network=diverging({1}))
    training.run()
    trajectories = opened(training)
    assert trajectories.number == 2
    assert [record.finite for record in trajectories.records] == [True, False, True]
    (warning,) = [warning for warning in trajectories.warnings() if "diverged" in warning]
    assert "1 of 3 experts (numbered 1 from 0)" in warning
    assert all(torch.isfinite(trajectories.weights(k, 3)).all() for k in range(2))
    before = contents(tmp_path)
    make(tmp_path, number=3, new_network=diverging({1}), check=lambda: pytest.fail("trained again")).run()
    assert contents(tmp_path) == before


def test_without_a_single_good_expert_there_is_nothing_to_follow(tmp_path: Path) -> None:
    """The run would otherwise fail in its first step, with something about an empty list."""
    training = make(tmp_path, number=2, new_network=diverging({0, 1}))
    training.run()
    with pytest.raises(DivergedError) as caught:
        opened(training)
    assert "All 2 experts" in caught.value.problem and "experts.lr" in caught.value.hint


# --- other people's files --------------------------------------------------------------------------------------------


def refused(training: Training) -> DataError:
    with pytest.raises(DataError) as caught:
        opened(training)
    assert caught.value.hint and "\n" not in caught.value.problem + caught.value.hint
    return caught.value


def test_experts_of_something_else_are_refused(tmp_path: Path) -> None:
    """Following them would lead nowhere, and take days to do so."""
    make(tmp_path).run()
    other = make(tmp_path, made_from={"data": "xyz"}, number=3)
    assert "data differ" in refused(other).problem
    with pytest.raises(DataError):
        other.run()
    training = make(tmp_path)
    with pytest.raises(DataError) as caught:
        Trajectories.open(tmp_path, training.made_from, nn.Linear(3, 2), 2, CPU)
    assert "parameters" in caught.value.problem


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"format": "other"}', b'{"format": "vdtui.experts"}', None])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """A folder that says nothing of its experts may have any."""
    training = make(tmp_path)
    training.run()
    index = tmp_path / "index.json"
    index.unlink() if content is None else index.write_bytes(content)
    refused(training)
    with pytest.raises(DataError):
        make(tmp_path, number=3).run()


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    """What it means is not known here."""
    training = make(tmp_path)
    training.run()
    index = json.loads((tmp_path / "index.json").read_text()) | {"version": 2}
    (tmp_path / "index.json").write_text(json.dumps(index))
    assert "version" in refused(training).problem


def nan_in_the_file(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2:] = np.float16("nan").tobytes()
    path.write_bytes(bytes(content))


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(np.zeros(3)))


def object_array(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


HARMS: dict[str, Callable[[Path], Any]] = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size - 1),
    "header only": lambda path: os.truncate(path, 100),
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(os.urandom(2000)),
    "pickle": pickled,
    "objects": object_array,
    "other shape": lambda path: np.save(path, np.zeros((4, SIZE), np.float16)),
    "other size": lambda path: np.save(path, np.zeros(1, experts._layout(SIZE + 1, 4, "float16"))),
    "folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("harm", HARMS)
def test_damaged_files_are_refused_and_mended_by_deleting_them(tmp_path: Path, harm: str) -> None:
    """A traceback of numpy, or weights that are noise; and the hint must be true."""
    training = make(tmp_path)
    training.run()
    path, before = tmp_path / "001.npy", contents(tmp_path)
    HARMS[harm](path)
    assert "001.npy" in refused(training).problem
    path.rmdir() if harm == "folder" else path.unlink()
    assert "1 of 2 experts" in refused(training).problem
    training.run()
    assert contents(tmp_path) == before


def test_weights_that_are_not_numbers_are_refused_when_they_are_drawn(tmp_path: Path) -> None:
    """They would make all memories NaN."""
    training = make(tmp_path)
    training.run()
    nan_in_the_file(tmp_path / "001.npy")
    trajectories = opened(training)
    assert torch.isfinite(trajectories.weights(1, 2)).all()
    with pytest.raises(DataError) as caught:
        trajectories.weights(1, 3)
    assert "001.npy" in caught.value.problem


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"number": 0}'])
def test_an_expert_without_a_record_is_not_finished(tmp_path: Path, content: str) -> None:
    """Whether it may be drawn is not known, so it is trained again."""
    training = make(tmp_path)
    training.run()
    before = contents(tmp_path)
    (tmp_path / "000.json").write_text(content)
    assert finished(tmp_path, 0) is None
    training.run()
    assert contents(tmp_path) == before


# --- from a preset ---------------------------------------------------------------------------------------------------


def preset_of(seed: int = 0, **tables: Any) -> Preset:
    """One expert of two snapshots, so that ConvNet3D is trained for one epoch."""
    small = {
        "dynamic": {"objective": "mtt", "mtt": {"max_start_epoch": 1, "expert_epochs": 1}},
        "experts": {"number": 1, "batch": 2},
        "run": {"seed": seed},
    }
    return Preset.model_validate(small | tables)


def opened_for(preset: Preset, folder: Path, real: RealClips, fingerprint: str = "abc", check: Any = never):
    told: list[tuple[int, int, str]] = []
    learned: list[tuple[int, int, float]] = []
    made = open_or_train(
        folder,
        preset,
        real,
        None,
        fingerprint,
        torch.float32,
        lambda *progress: told.append(progress),
        check,
        lambda *epoch: learned.append(epoch),
    )
    assert all(done <= total and math.isfinite(loss) for done, total, loss in learned)
    assert bool(learned) == bool(told), "hours of training would have no curve"
    return *made, told


def test_a_run_trains_the_experts_that_it_needs_once(tmp_path: Path) -> None:
    """The next run on the same data must find them, and a run on other data or with another recipe must not."""
    real = make_real(make_spec(frames=8, height=64), [1, 1])
    trajectories, warnings, told = opened_for(preset_of(), tmp_path, real)
    assert told[0][:2] == (0, 1) and told[-1][:2] == (1, 1)
    assert (trajectories.number, trajectories.epochs) == (1, 1)
    start, target = trajectories.draw(generator(0, "test"), range(1), 1)
    assert 0 < (target - start).norm() < 1
    assert len(warnings) == int(trajectories.records[0].failed)
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("convnet3d-")

    again, _, told = opened_for(preset_of(), tmp_path, real, check=lambda: pytest.fail("trained again"))
    assert told == [] and torch.equal(again.weights(0, 1), target)


def test_whatever_decides_the_experts_decides_their_folder() -> None:
    """Experts of other data, clips, network or recipe would be taken for these."""
    spec = make_spec(frames=8, height=64)
    real, usual = make_real(spec, [1, 1]), preset_of()

    def name(preset: Preset = usual, clips: RealClips = real, data: str = "abc", kind: Any = torch.float32) -> str:
        return experts._digest(experts._made_from(preset, clips, data, kind))

    held_out = RealClips(cast(Any, FakeView(make_pixels(2, spec), real.view.labels, [0, 3])), spec, CPU)
    recipes = (
        {"lr": 0.02},
        {"momentum": 0.5},
        {"weight_decay": 0.1},
        {"batch": 3},
        {"stored": "float32"},
        {"epochs": 4},
    )
    longer = {"dynamic": {"objective": "mtt", "mtt": {"max_start_epoch": 2, "expert_epochs": 1}}}
    names = [
        name(),
        name(data="xyz"),
        name(kind=torch.bfloat16),
        name(clips=held_out),
        name(clips=make_real(make_spec(frames=8, height=65), [1, 1])),
        name(clips=make_real(make_spec(("a", "b", "c"), frames=8, height=64), [1, 1])),
        name(preset_of(seed=1)),
        name(preset_of(**longer)),
        *(name(preset_of(experts=recipe)) for recipe in recipes),
    ]
    assert len(set(names)) == len(names)
    assert name(preset_of(experts={"number": 7, "batch": 2})) == name(), "more of the same"


def test_a_record_says_what_is_needed_of_it(tmp_path: Path) -> None:
    """Others read these files too."""
    trained(tmp_path, test=separable(4))
    document = json.loads((tmp_path / "001.json").read_text())
    assert Record(**document) == finished(tmp_path, 1)
    assert document.keys() == {"number", "seed", "finite", "failed", "train_accuracy", "test_accuracy"}
