"""Compressed baselines: what a user loses here is that a set competes with the best of what its bytes can hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config import load_preset
from engine.config.budget import MOST_RUNGS
from engine.data.batches import RealClips
from engine.errors import UsageError
from engine.evaluation import baselines
from engine.evaluation.baselines import (
    FIXED,
    Held,
    Rung,
    Shelf,
    all_clips,
    chosen_order,
    fixed,
    held,
    judged_rungs,
    ladder,
    random_order,
)
from engine.evaluation.judge import Judge
from engine.evaluation.subjects import Subject
from engine.evaluation.trainers import Request
from engine.models.registry import VIDEO_MODELS
from engine.selection import clip_features, coverage, herding
from engine.synthetic import Coreset, decode_set, encode_set
from engine.synthetic.compressed import Storage
from tests.tiny import TinyClassifier, make_real, make_spec

SPEC = make_spec("ab", frames=4, height=32)
TRAIN = make_real(SPEC, (6, 6), still=True)
LARGEST = 1 << 30
CODEC = Storage.parse(FIXED).codec()
DRAWS = 4


def shelf(budget: int, most: int = 6, folder: Path | None = None, train: RealClips = TRAIN) -> Shelf:
    return Shelf("compressed-random", train, budget, most, random_order(train, 3), draws=DRAWS, seed=3, folder=folder)


def size(storage: str, per_class: int) -> int:
    """Bytes of the largest draw with so many clips of each class."""
    return subject_of(storage, LARGEST, per_class).nbytes


def subject_of(storage: str, budget: int, most: int = 6, folder: Path | None = None) -> Subject:
    """The row of clips stored so."""
    here = shelf(budget, most, folder)
    found = here.held(Rung(storage))
    assert found is not None
    return here.subject(found)


def test_the_ladder_goes_from_the_best_to_the_coarsest() -> None:
    """A rung that stood before a better one would be kept beside it; two ladders would choose differently."""
    rungs = ladder(SPEC)
    assert rungs == ladder(SPEC) and len({rung.storage for rung in rungs}) == len(rungs)
    for number, rung in enumerate(rungs):
        way = Storage.parse(rung.storage)
        assert str(way) == rung.storage
        assert not any(rung.as_good(before) for before in rungs[:number])
    assert rungs[0].storage == "h264-18" and FIXED in [rung.storage for rung in rungs]
    assert all(rung.side >= 16 for rung in rungs) and rungs[-1].storage == "h264-51@16:repeat1"


@pytest.mark.parametrize("factor", [1.0, 1.7, 3.3])
def test_no_draw_takes_a_byte_more_than_the_set(factor: float) -> None:
    """All draws have as many clips as the row says, and the row says the largest of their files."""
    budget = int(factor * size("h264-35", 1))
    subject = subject_of("h264-35", budget)
    assert subject.nbytes <= budget and subject.storage == "h264-35" and subject.precision == "codec"
    draws = [subject.data(k) for k in range(DRAWS)]
    assert all(isinstance(draw, Coreset) and draw.ipc == subject.ipc for draw in draws)
    assert len({draw.tensors()["pixels"].sum().item() for draw in draws if isinstance(draw, Coreset)}) == DRAWS
    assert subject.stored_values == subject.ipc * 2 * 4 * 32 * 32 * 3


def test_a_cap_is_told() -> None:
    """A baseline with fewer clips than would fit is weaker than it could be, and the row must say so."""
    assert subject_of("h264-28", LARGEST, 2).capped and subject_of("h264-28", LARGEST, 2).ipc == 2
    assert not subject_of("h264-28", LARGEST, 6).capped
    assert not subject_of("h264-28", size("h264-28", 2), 5).capped


def test_of_large_bytes_only_the_best_rung_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding all of the ladder, and training on it, would cost hours where nothing can be gained."""
    encoded: list[str] = []
    inner = baselines.compressed_clips

    def spy(real: Any, budget: int, order: Any, how: Any, **named: Any) -> Any:
        encoded.append(str(how))
        return inner(real, budget, order, how, **named)

    monkeypatch.setattr(baselines, "compressed_clips", spy)
    found = held(shelf(LARGEST, 2), ladder(SPEC))
    assert [one.rung.storage for one in found] == ["h264-18"]
    assert encoded == ["h264-18"] * DRAWS


def test_of_small_bytes_no_rung_is_left_that_another_one_beats() -> None:
    """Against all pairs: what stays holds more clips, or keeps more of each, than any other."""
    budget, rungs = size("h264-35", 1), ladder(SPEC)
    number = {rung: one.per_class for rung in rungs if (one := shelf(budget).held(rung)) is not None}
    best = {
        rung
        for rung in number
        if not any(
            other != rung
            and other.codec in ("h264", rung.codec)
            and other.side >= rung.side
            and other.frames >= rung.frames
            and other.quality <= rung.quality
            and number[other] >= number[rung]
            for other in number
        )
    }
    found = held(shelf(budget), rungs)
    assert 1 < len(found) <= MOST_RUNGS and {one.rung for one in found} <= best
    assert len(found) == min(MOST_RUNGS, len(best))
    assert all(one.nbytes <= budget and one.per_class == number[one.rung] for one in found)
    assert [one.per_class for one in found] == sorted(one.per_class for one in found)


def test_without_validation_the_rung_is_fixed_or_the_next_coarser_one() -> None:
    """Chosen on test it would flatter the baseline; a budget too small for h264-28 still has one if any fits."""
    rungs = ladder(SPEC)
    usual, small = fixed(shelf(LARGEST), rungs), fixed(shelf(size("h264-28", 1) - 1, most=1), rungs)
    assert usual is not None and usual.rung.storage == FIXED
    assert small is not None and small.nbytes < size("h264-28", 1)
    assert small.rung.storage == "h264-35"
    assert fixed(shelf(10), rungs) is None and held(shelf(10), rungs) == []


def test_a_storage_that_is_no_codec_is_refused() -> None:
    """Clips as plain numbers, or stills that are none, would be no compressed clips."""
    for storage in ("uint8", "jpeg-80+h264-28"):
        with pytest.raises(UsageError, match="one codec"):
            shelf(LARGEST).held(Rung(storage))


def test_what_is_kept_is_not_encoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes on would spend its time on the ladder again; other bytes or clips are other files."""
    budget = size("h264-35", 2)
    first = subject_of("h264-35", budget, folder=tmp_path)
    rest = held(shelf(budget, folder=tmp_path), ladder(SPEC))
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(baselines, "compressed_clips", None)
    again = subject_of("h264-35", budget, folder=tmp_path)
    assert (again.nbytes, again.ipc) == (first.nbytes, first.ipc)
    assert held(shelf(budget, folder=tmp_path), ladder(SPEC)) == rest
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept
    with pytest.raises(TypeError):
        shelf(budget + 1, folder=tmp_path).held(Rung("h264-35"))


def test_a_rung_is_chosen_on_validation_by_networks_that_do_not_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spy on every network: its test clips are those of validation, its seed is none of the table's."""
    monkeypatch.setitem(VIDEO_MODELS, "tiny", TinyClassifier)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # networks are trained in this process
    section = load_preset("default", {"evaluation.epochs": 2, "evaluation.selection_repeats": 2}).evaluation
    judge = Judge(section.model_copy(update={"models": ("tiny",)}), TRAIN, 0, torch.float32, tmp_path)
    asked: list[Request] = []
    inner = Judge.request

    def spy(self: Judge, *arguments: Any) -> Request:
        asked.append(inner(self, *arguments))
        return asked[-1]

    monkeypatch.setattr(Judge, "request", spy)
    val, store = make_real(SPEC, (3, 3), seed=7), shelf(LARGEST)
    rungs = [Held(Rung(name, 4, 32, 0), 6, 0) for name in ("h264-18", "h264-51@16")]
    told: list[tuple[str, float]] = []
    found = judged_rungs(
        store, rungs, judge, val, tmp_path, lambda queue: None,
        lambda one, trial: told.append((one.rung.storage, trial.outcome.top1)),
    )  # fmt: skip
    assert len(asked) == 4 and all(request.real is val for request in asked)
    assert [request.seed for request in asked] == judge.seeds("selection", 2) * 2
    assert not {request.seed for request in asked} & set(judge.seeds("final", section.repeats))
    assert [name for name, _ in told] == ["h264-18"] * 2 + ["h264-51@16"] * 2
    assert found == [(told[0][1] + told[1][1]) / 2, (told[2][1] + told[3][1]) / 2]


def test_coverage_is_for_the_bytes_of_each_clip() -> None:
    """In the order of what a clip adds for its bytes, by features and files written down."""
    network = VIDEO_MODELS["convnet3d_small"](2, 8, 64)
    train = make_real(make_spec("ab", frames=8, height=64), (6, 4), still=True)
    found = chosen_order(train, "coverage", 5, 0, lambda: network, torch.float32)(3)
    for label, order in enumerate(found):
        own = train.of_class(label)
        costs = torch.tensor([sum(map(len, CODEC.encode_clip(train.view.clips(clip.numpy())).body)) for clip in own])
        assert len(set(costs.tolist())) > 1
        chosen = own[coverage(clip_features(train, label, network), 5, costs)]
        assert order.tolist() == chosen[torch.arange(5) % len(chosen)].tolist()
    herded = chosen_order(train, "herding", 5, 0, lambda: network, torch.float32)(0)
    assert herded[0].tolist() == train.of_class(0)[herding(clip_features(train, 0, network), 5)].tolist()


def test_all_clips_take_what_their_file_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the file of a set of all clips; of a sample it is told that it is an estimate."""
    every = torch.stack([TRAIN.of_class(label) for label in range(2)])
    whole = encode_set(Coreset.of(TRAIN, every), FIXED)
    found = all_clips(TRAIN, 0, tmp_path / "all.json")
    assert (found["clips"], found["encoded"], found["storage"]) == (12, 12, FIXED)
    assert found["bytes"] == pytest.approx(whole.nbytes, abs=64)  # its clips lie in another order
    assert isinstance(decode_set(whole.blob), Coreset)
    monkeypatch.setattr(baselines, "SAMPLED", 6)
    sampled = all_clips(TRAIN, 0)
    assert sampled["encoded"] == 6 and sampled["bytes"] == pytest.approx(whole.nbytes, rel=0.5)
    assert all_clips(TRAIN, 0, tmp_path / "all.json") == found
