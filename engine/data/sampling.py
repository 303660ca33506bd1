"""Which frames of a video become clips, and how they are made square.

Published results differ in exactly these choices, so they are one frozen value that is recorded in the clips file as
it stands, and the only code that turns a length into frame numbers is here. Nothing here reads a file.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from engine.errors import UsageError

LARGEST_SIZE = 1024
LARGEST_FRAMES = 10_000
LARGEST_NUMBER = 10_000
"""The most clips per video; a mistyped number must not fill the memory before the first video is opened."""

EXACT = 1e-6
"""Frame numbers that are whole up to this are whole: 0.29 * 100 is 28.999999999999996, and means frame 29."""

EARLY = 0.0011
"""Seconds that a frame may come late and still be the one shown: many containers round times to milliseconds."""

Where = Literal["uniform", "random", "sliding"]
Resize = Literal["published", "pad", "centre-crop", "shorter-side"]
Spacing = Literal["interval", "fps", "uniform"]


def _check(option: str, value: int | None, largest: int | None = None) -> None:
    """Raise :class:`UsageError` unless ``value`` is from 1 to ``largest``."""
    if value is None or value < 1:
        raise UsageError(f"--{option} is {value}, which makes no clips.", f"Give --{option} 1 or more.")
    if largest is not None and value > largest:
        raise UsageError(f"--{option} {value} is too large.", f"Give --{option} a number up to {largest}.")


@dataclass(frozen=True)
class Placement:
    """The number of clips of a video, and the places in time where they begin.

    ``uniform``: one clip from the middle, several at equal distances, of which the first begins at the first frame and
    the last ends at the last one. ``random``: begins drawn from the seed and the video's name, in order of time.
    ``sliding``: as many as fit, one every ``stride`` frames from the first; ``number`` is then None.

    Raises :class:`UsageError` for what cannot be.
    """

    where: Where = "uniform"
    number: int | None = 1
    stride: int | None = None

    def __post_init__(self) -> None:
        if self.where not in get_args(Where):
            raise UsageError(f"There is no placement {self.where!r}.", f"Choose one of: {', '.join(get_args(Where))}.")
        if self.where == "sliding":
            if self.number is not None:
                raise UsageError("A sliding window takes as many clips as fit.", "Leave out --clips-per-video.")
            if self.stride is None or self.stride < 1:
                raise UsageError("A sliding window needs a stride of 1 or more frames.", "Add --stride N.")
        else:
            if self.stride is not None:
                raise UsageError(
                    f"Placement {self.where} has no stride.", "Leave out --stride, or choose the placement sliding."
                )
            _check("clips-per-video", self.number, LARGEST_NUMBER)


@dataclass(frozen=True)
class Sampling:
    """The clips' shape and their rule in time and space.

    ``spacing`` of a clip's frames: ``interval``, every ``interval``-th frame; ``fps``, frames at ``fps`` per second of
    the video's own time, by the times of its frames where they do not come evenly; ``uniform``, the middle of each of
    ``frames`` equal parts of the whole video (TSN; Wang et al. 2016).

    ``size`` S and ``resize``: ``published``, resized to S*160/112 x S*120/112, whatever the aspect, and centre-cropped
    to S x S (for S = 112: 160 x 120, cropped to 112 x 112). The others keep the aspect in which a player shows the
    frame: ``pad``, resized to fit, black around; ``centre-crop``, the shorter side resized to S, then centre-cropped;
    ``shorter-side``, the same with S*8/7.
    """

    frames: int
    size: int
    interval: int = 1
    fps: float | None = None
    spacing: Spacing = "interval"
    train: Placement = Placement()
    test: Placement = Placement()
    """The clips of test and validation videos."""
    resize: Resize = "published"
    seed: int = 0
    """Decides random placements."""
    folder_fps: float | None = None
    """Frames per second of folders of frames, which do not say it themselves."""

    def __post_init__(self) -> None:
        _check("frames", self.frames, LARGEST_FRAMES)
        _check("size", self.size, LARGEST_SIZE)
        _check("interval", self.interval)
        for name, value, kinds in (("--resize", self.resize, Resize), ("spacing", self.spacing, Spacing)):
            if value not in get_args(kinds):
                raise UsageError(f"There is no {name} {value!r}.", f"Choose one of: {', '.join(get_args(kinds))}.")
        for option, rate in (("fps", self.fps), ("folder-fps", self.folder_fps)):
            if rate is not None and not 0 < rate < 10_000:
                raise UsageError(f"--{option} {rate:g} is no rate of frames.", f"Give --{option} frames per second.")
        if (self.fps is not None) != (self.spacing == "fps") or (self.interval != 1 and self.spacing != "interval"):
            raise UsageError(
                "A clip's frames are spaced in one way.", "Give one of --interval, --fps and --uniform, with its value."
            )
        if self.spacing == "uniform" and "sliding" in (self.train.where, self.test.where):
            raise UsageError(
                "Uniform frames span the whole video, so a window has nowhere to slide.",
                "Choose another --placement, or --interval N.",
            )

    def placement(self, split: str) -> Placement:
        """Return the placement of clips in the videos of ``split``."""
        return self.train if split == "train" else self.test

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """(T, S, S, 3)."""
        return self.frames, self.size, self.size, 3

    @property
    def needs_rate(self) -> bool:
        """True if the video's frames per second decide which frames are taken."""
        return self.spacing == "fps"

    def step(self, length: int, rate: float | None = None) -> float:
        """Distance of a clip's frames in a video of ``length`` frames at ``rate`` frames per second.

        That of ``interval`` or ``fps``; ``length // frames``, but 1 at least, where the video is shorter than
        ``frames`` times that (the published rule). Meaningless for ``uniform``.
        """
        wanted: float = self.interval
        if self.spacing == "fps":
            assert rate is not None and self.fps is not None
            wanted = rate / self.fps
        return wanted if length + EXACT >= self.frames * wanted else min(wanted, max(1, length // self.frames))

    def indices(
        self,
        length: int,
        *,
        rate: float | None = None,
        times: np.ndarray | None = None,
        split: str = "train",
        name: str = "",
    ) -> np.ndarray:
        """Frame numbers (clips, frames), int32, in a video of ``length`` >= 1 frames.

        Where even every frame is not enough, the last one is repeated. ``rate`` is needed for ``fps``, and is the mean
        one where ``times``, in seconds and growing, say that frames do not follow each other evenly; ``name`` and the
        seed decide random placements. A video that is a stretch of a file counts from the stretch's first frame.
        """
        assert length >= 1
        placement = self.placement(split)
        if self.spacing == "uniform":
            within = self._within(placement, name)
            wanted = _whole((np.arange(self.frames) + within[:, None]) * length / self.frames)
        elif self.spacing == "fps" and times is not None:
            assert rate is not None and len(times) == length
            wanted = self._shown(times, self.step(length, rate) / rate, placement, name)
        else:
            offsets = _whole(self.step(length, rate) * np.arange(self.frames))
            slack = max(0, length - 1 - int(offsets[-1]))
            wanted = self._starts(placement, slack, name)[:, None] + offsets
        return np.minimum(wanted, length - 1).astype(np.int32)

    def _shown(self, times: np.ndarray, step: float, placement: Placement, name: str) -> np.ndarray:
        """The frames that a player shows ``step`` seconds apart, (clips, frames); with even ``times``, those that
        counting gives."""
        gaps = np.diff(times) if len(times) > 1 else np.zeros(1)
        early = min(EARLY, gaps.min() / 2)

        def frame_at(time: Any) -> Any:
            return np.searchsorted(times, time + early, "right") - 1

        offsets = step * np.arange(self.frames)
        end = times[-1] + gaps.mean()  # as if the last frame were shown for as long as others are
        last = max(0, int(np.searchsorted(times, end - offsets[-1] - early)) - 1)
        if placement.where == "sliding":
            starts = self._starts(placement, last, name)
        elif placement.where == "random":
            assert placement.number is not None
            draws = np.array([draw / 2**64 for draw in self._draws(placement.number, name)])
            room = (times[last + 1] if last + 1 < len(times) else end) - times[0]
            starts = np.minimum(last, frame_at(times[0] + draws * room))
        else:
            number = placement.number or 1
            shares = np.array([0.5]) if number == 1 else np.arange(number) / (number - 1)
            starts = frame_at(times[0] + shares * (times[last] - times[0]))
        return frame_at(times[starts][:, None] + offsets)

    def _starts(self, placement: Placement, slack: int, name: str) -> np.ndarray:
        """First frames of the clips, of which each is at most ``slack``."""
        if placement.where == "sliding":
            assert placement.stride is not None
            return np.array(range(0, slack + 1, placement.stride))
        assert placement.number is not None
        if placement.where == "random":
            return np.array([draw * (slack + 1) >> 64 for draw in self._draws(placement.number, name)])
        if placement.number == 1:
            return np.array([slack // 2])
        return slack * np.arange(placement.number) // (placement.number - 1)

    def _within(self, placement: Placement, name: str) -> np.ndarray:
        """Return the place of each clip's frames inside the equal parts of a video, in [0, 1)."""
        assert placement.number is not None
        if placement.where == "random":
            return np.array([draw / 2**64 for draw in self._draws(placement.number, name)])
        return (np.arange(placement.number) + 0.5) / placement.number

    def _draws(self, number: int, name: str) -> list[int]:
        """Random numbers below 2^64, ascending; from hashes, since what NumPy draws may change with its version."""
        texts = (f"{draw}/{self.seed}/{name}".encode("utf-8", "surrogateescape") for draw in range(number))
        return sorted(int.from_bytes(hashlib.sha256(text).digest()[:8], "big") for text in texts)

    def record(self) -> dict[str, Any]:
        """Everything, as the clips file records it."""
        return asdict(self)


def _whole(positions: np.ndarray) -> np.ndarray:
    """Positions in frames to the numbers of the frames that they lie in."""
    return np.floor(positions + EXACT).astype(np.int64)
