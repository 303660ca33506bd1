"""The sampling rules, each against a second computation that follows the words of the documentation step by step."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.data.sampling import Placement, Sampling
from engine.errors import UsageError

LENGTHS = st.integers(1, 300)
FRAMES = st.integers(1, 20)


def step_of(length: int, frames: int, wanted: Fraction) -> Fraction:
    """The published rule for videos that are shorter than frames x step."""
    if length >= frames * wanted:
        return wanted
    shorter = length // frames
    if shorter == 0:
        shorter = 1
    return min(wanted, Fraction(shorter))


def last_start_of(length: int, frames: int, step: Fraction) -> int:
    """The latest first frame from which a whole clip fits; 0 if none does."""
    start = length - 1
    while start > 0 and start + int((frames - 1) * step) > length - 1:
        start -= 1
    return start


def clip_from(start: int, length: int, frames: int, step: Fraction) -> list[int]:
    return [min(start + int(t * step), length - 1) for t in range(frames)]


def placed(number: int) -> dict[str, Placement]:
    return {"train": Placement("uniform", number), "test": Placement("uniform", number)}


@given(LENGTHS, FRAMES, st.integers(1, 8), st.integers(1, 5))
def test_interval_rule(length: int, frames: int, interval: int, clips: int) -> None:
    """Other frames than published would make every accuracy incomparable."""
    found = Sampling(frames, 32, interval, **placed(clips)).indices(length)
    step = step_of(length, frames, Fraction(interval))
    last = last_start_of(length, frames, step)
    starts = [last // 2] if clips == 1 else [last * k // (clips - 1) for k in range(clips)]
    assert found.dtype == np.int32
    assert found.tolist() == [clip_from(start, length, frames, step) for start in starts]


@pytest.mark.parametrize(
    ("length", "frames", "interval", "expected"),
    [
        (100, 4, 4, [43, 47, 51, 55]),  # middle of a long video
        (16, 4, 4, [1, 5, 9, 13]),
        (15, 4, 4, [2, 5, 8, 11]),  # shorter than frames * interval: step 15 // 4
        (4, 4, 4, [0, 1, 2, 3]),
        (2, 4, 4, [0, 1, 1, 1]),  # the last one repeated
        (64, 16, 4, [1, 5, 9, 13, 17, 21, 25, 29, 33, 37, 41, 45, 49, 53, 57, 61]),  # as published: 16 x 4 of 64
        (63, 16, 4, [8, 11, 14, 17, 20, 23, 26, 29, 32, 35, 38, 41, 44, 47, 50, 53]),  # 63 // 16
    ],
)
def test_interval_by_hand(length: int, frames: int, interval: int, expected: list[int]) -> None:
    assert Sampling(frames, 32, interval).indices(length).tolist() == [expected]


@example(62, 15, 62, 15)
@given(LENGTHS, FRAMES, st.integers(1, 600), st.integers(1, 600))
def test_frames_per_second_rule(length: int, frames: int, rate: int, fps: int) -> None:
    """Clips of videos with different rates must show the same span of time. Rates in tenths. Where the video is just
    long enough, rounding errors must not make it short."""
    sampling = Sampling(frames, 32, fps=fps / 10, spacing="fps")
    step = step_of(length, frames, Fraction(rate, fps))
    start = last_start_of(length, frames, step) // 2
    found = sampling.indices(length, rate=rate / 10)
    assert found.tolist() == [clip_from(start, length, frames, step)]
    assert sampling.step(length, rate / 10) == pytest.approx(float(step))


def test_frames_per_second_by_hand() -> None:
    """Kinetics: 8 frames at 2 per second of a video of 10 s."""
    sampling = Sampling(8, 64, fps=2, spacing="fps")
    assert sampling.needs_rate
    assert sampling.indices(300, rate=30).tolist() == [[97, 112, 127, 142, 157, 172, 187, 202]]
    assert sampling.indices(250, rate=25).tolist() == [[81, 93, 106, 118, 131, 143, 156, 168]]  # 12.5 apart
    assert sampling.indices(300, rate=30000 / 1001).tolist()[0][:3] == [97, 111, 126]  # 14.985 apart
    # Half the speed of the video: every frame twice.
    assert Sampling(6, 64, fps=20, spacing="fps").indices(3, rate=10).tolist() == [[0, 0, 1, 1, 2, 2]]


@given(
    LENGTHS, FRAMES, st.integers(1, 60), st.integers(1, 10), st.sampled_from(["uniform", "random"]), st.integers(1, 4)
)
def test_times_of_even_frames_change_nothing(
    length: int, frames: int, rate: int, fps: int, where: Any, clips: int
) -> None:
    """Counting and looking at the clock are one rule; a video must not change because its times are looked at."""
    sampling = Sampling(frames, 32, fps=fps, spacing="fps", train=Placement(where, clips), seed=3)
    times = np.arange(length) / rate
    counted = sampling.indices(length, rate=rate, name="v")
    shown = sampling.indices(length, rate=rate, times=times, name="v")
    if (where == "uniform" and clips > 1) or where == "random":  # shares of whole frames, which floats may miss by one
        assert np.abs(counted[:, 0] - shown[:, 0]).max() <= 1
    else:
        assert counted.tolist() == shown.tolist()


@given(st.lists(st.integers(1, 900), min_size=1, max_size=80), FRAMES, st.integers(1, 20), st.integers(1, 5))
def test_uneven_times_by_the_clock(gaps: list[int], frames: int, fps: int, clips: int) -> None:
    """Every frame is the one that a player shows at its time, found by going through all of them."""
    begins = [sum(gaps[:number]) for number in range(len(gaps))]
    length = len(begins)
    rate = 1000 * (length - 1) / begins[-1] if length > 1 else 25.0
    sampling = Sampling(frames, 32, fps=fps, spacing="fps", **placed(clips))
    found = sampling.indices(length, rate=rate, times=np.array(begins) / 1000)
    step = 1000 * sampling.step(length, rate) / rate
    early = min([1.1, *(gap / 2 for gap in gaps[:-1])])  # a millisecond late is not late: containers round
    for clip in found.tolist():
        for number, frame in enumerate(clip):
            time = begins[clip[0]] + number * step + early
            shown = {max(at for at, begin in enumerate(begins) if begin <= time + slip) for slip in (-1e-6, 1e-6)}
            assert frame in shown


@given(LENGTHS, FRAMES)
def test_uniform_frames_are_the_middles_of_equal_parts(length: int, frames: int) -> None:
    """As TSN: part k spans [k L / T, (k + 1) L / T), in exact fractions here."""
    middles = [(2 * k + 1) * length // (2 * frames) for k in range(frames)]
    assert Sampling(frames, 32, spacing="uniform").indices(length).tolist() == [middles]


@given(LENGTHS, FRAMES, st.integers(1, 7))
def test_several_uniform_clips_see_other_parts(length: int, frames: int, clips: int) -> None:
    found = Sampling(frames, 32, spacing="uniform", **placed(clips)).indices(length)
    expected = [
        [int(Fraction((2 * clips * k + 2 * j + 1) * length, 2 * clips * frames)) for k in range(frames)]
        for j in range(clips)
    ]
    assert found.tolist() == expected


@given(LENGTHS, FRAMES, st.integers(1, 6), st.integers(1, 40))
def test_sliding_windows_cover_and_fit(length: int, frames: int, interval: int, stride: int) -> None:
    """A window that did not fit would repeat frames; one too few would leave the end unseen."""
    sampling = Sampling(frames, 32, interval, test=Placement("sliding", None, stride))
    found = sampling.indices(length, split="test")
    step = step_of(length, frames, Fraction(interval))
    last = last_start_of(length, frames, step)
    starts = []
    start = 0
    while start <= last:
        starts.append(start)
        start += stride
    assert found.tolist() == [clip_from(start, length, frames, step) for start in starts]
    assert last - starts[-1] < stride
    assert len(sampling.indices(length, split="train")) == 1


@given(LENGTHS, FRAMES, st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**70), st.text())
def test_random_placements_fit(length: int, frames: int, interval: int, clips: int, seed: int, name: str) -> None:
    """Every clip is a run of the video's own frames, in order of time, the same at every call."""
    sampling = Sampling(frames, 32, interval, train=Placement("random", clips), seed=seed)
    found = sampling.indices(length, name=name)
    step = step_of(length, frames, Fraction(interval))
    last = last_start_of(length, frames, step)
    starts = found[:, 0].tolist()
    assert starts == sorted(starts)
    assert all(0 <= start <= last for start in starts)
    assert found.tolist() == [clip_from(start, length, frames, step) for start in starts]
    assert np.array_equal(found, sampling.indices(length, name=name))


@pytest.mark.parametrize("spacing", ["interval", "uniform"])
def test_random_placements_depend_on_seed_and_name_alone(spacing: Any) -> None:
    """A clip that moved with the order of the videos would change with every file that is added."""
    random = Placement("random", 3)

    def starts(seed: int, name: str, split: str = "train") -> list[list[int]]:
        sampling = Sampling(4, 32, spacing=spacing, train=random, test=random, seed=seed)
        return sampling.indices(5000, split=split, name=name).tolist()

    assert starts(0, "a") == starts(0, "a", "test")
    assert len({str(starts(seed, name)) for seed in range(5) for name in ("a", "b", "ä")}) == 15
    assert starts(0, "a\udcff") != starts(0, "a")  # a name that is not UTF-8
    everywhere = np.concatenate([starts(seed, "x") for seed in range(300)])[:, 0]
    if spacing == "interval":
        assert everywhere.min() < 100
        assert everywhere.max() > 4890
        assert 2300 < everywhere.mean() < 2700


def test_random_placements_do_not_change_between_versions() -> None:
    """A clips file that is prepared again must be the same file; these numbers were drawn when the rule was made."""
    sampling = Sampling(2, 32, train=Placement("random", 4), seed=7)
    assert sampling.indices(1000, name="class/video.avi")[:, 0].tolist() == [9, 775, 860, 937]


def test_splits_have_their_own_placement() -> None:
    sampling = Sampling(4, 32, train=Placement(), test=Placement("uniform", 3))
    assert sampling.placement("train").number == 1
    assert {len(sampling.indices(100, split=split)) for split in ("test", "val")} == {3}


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "--frames": {"frames": 0},
    "--frames 1000000000": {"frames": 10**9},
    "--size": {"size": 0},
    "--size 1000000": {"size": 10**6},
    "--interval": {"interval": 0},
    "--fps 0": {"fps": 0.0, "spacing": "fps"},
    "--fps nan": {"fps": float("nan"), "spacing": "fps"},
    "--folder-fps -1": {"folder_fps": -1.0},
    "--resize": {"resize": "fit"},
    "spacing 'even'": {"spacing": "even"},
    "spaced in one way": {"fps": 3.0},
    "in one way": {"spacing": "fps"},
    "one way": {"spacing": "uniform", "interval": 4},
    "nowhere to slide": {"spacing": "uniform", "test": Placement("sliding", None, 3)},
}


@pytest.mark.parametrize("problem", IMPOSSIBLE)
def test_impossible_options_are_named(problem: str) -> None:
    """A typing mistake must not become a traceback, or an hour of the wrong work."""
    with pytest.raises(UsageError) as caught:
        Sampling(**{"frames": 8, "size": 64, **IMPOSSIBLE[problem]})
    assert problem in caught.value.problem
    assert caught.value.hint.endswith(".")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (("everywhere", 1, None), "placement 'everywhere'"),
        (("uniform", 0, None), "--clips-per-video"),
        (("random", None, None), "--clips-per-video"),
        (("random", 10**9, None), "too large"),
        (("uniform", 1, 4), "no stride"),
        (("sliding", 3, 4), "as many clips as fit"),
        (("sliding", None, None), "stride"),
        (("sliding", None, 0), "stride"),
    ],
)
def test_impossible_placements_are_named(values: tuple[Any, ...], problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        Placement(*values)
    assert problem in caught.value.problem


def test_everything_is_recorded() -> None:
    """A choice that the clips file does not name cannot be repeated."""
    sampling = Sampling(8, 64, fps=2.0, spacing="fps", test=Placement("sliding", None, 5), resize="pad", seed=3)
    record = json.loads(json.dumps(sampling.record()))
    placements = {split: Placement(**record.pop(split)) for split in ("train", "test")}
    assert Sampling(**record, **placements) == sampling
