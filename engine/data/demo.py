"""The demo data: discs and squares that move, as real video files.

It must need no download, be done in seconds, and be such that the point shows: shape can be seen in any one frame,
direction only in several. The files go through the same prepare as a user's own, so the demo also tries out decoding.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from engine.data.layouts import list_videos
from engine.data.prepare import Check, Progress, prepare
from engine.data.sampling import Sampling
from engine.errors import UsageError
from engine.files import draft, storage_errors, sweep, try_lock, unlinked

SHAPES = ("disc", "square")
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
CLASSES = tuple(sorted(f"{shape}-{direction}" for shape in SHAPES for direction in DIRECTIONS))
TRAIN_PER_CLASS, TEST_PER_CLASS = 64, 24
FRAMES, SIZE, INTERVAL = 8, 64, 1
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class DemoLook:
    """Every number that decides how hard the demo is. Lengths are pixels, speeds pixels per frame, colours 0 to 255."""

    background: float = 90.0
    background_spread: float = 10.0
    waves: int = 3
    wave_cycles: float = 2.0
    """Most cycles of a background wave across the picture."""
    wave_amplitude: float = 4.0
    object: float = 190.0
    object_spread: float = 12.0
    radius: tuple[float, float] = (6.5, 9.0)
    square_side: float = 0.89
    """Half the side of a square, in radii: about the area of the disc."""
    speed: tuple[float, float] = (4.0, 5.5)
    offset: float = 6.0
    """The farthest that the middle of the path may lie from the middle of the picture, along each axis."""
    noise: float = 4.0
    crf: int = 12
    fps: int = 8


LOOK = DemoLook()


def version() -> str:
    """8 hex digits that change with anything that changes the demo data."""
    choices = [asdict(LOOK), CLASSES, TRAIN_PER_CLASS, TEST_PER_CLASS, FRAMES, SIZE, INTERVAL, 1]
    return hashlib.sha256(json.dumps(choices).encode()).hexdigest()[:8]


def draw_clip(generator: np.random.Generator, shape: str, direction: str, look: DemoLook = LOOK) -> np.ndarray:
    """One clip of class ``shape-direction``, uint8 (FRAMES, SIZE, SIZE, 3)."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    background = _background(generator, x, y, look)
    colour = (look.object + generator.uniform(-look.object_spread, look.object_spread, 3)).astype(np.float32)
    radius, speed = generator.uniform(*look.radius), generator.uniform(*look.speed)
    middle = SIZE / 2 + generator.uniform(-look.offset, look.offset, 2)
    times = np.arange(FRAMES) - (FRAMES - 1) / 2
    path = middle + np.outer(times * speed, DIRECTIONS[direction])  # (T, 2)
    right, below = x - path[:, 0, None, None], y - path[:, 1, None, None]  # (T, H, W)
    if shape == "disc":
        distance = np.hypot(right, below) - radius
    else:
        distance = np.maximum(np.abs(right), np.abs(below)) - radius * look.square_side
    inside = np.clip(0.5 - distance, 0, 1)[..., None].astype(np.float32)
    noise = generator.standard_normal((FRAMES, SIZE, SIZE, 1), np.float32) * np.float32(look.noise)
    return np.clip(background + inside * (colour - background) + noise, 0, 255).astype(np.uint8)


def _background(generator: np.random.Generator, x: np.ndarray, y: np.ndarray, look: DemoLook) -> np.ndarray:
    """A colour with a few gentle waves of other colours, float32 (H, W, 3)."""
    picture = np.tile(
        look.background + generator.uniform(-look.background_spread, look.background_spread, 3), (SIZE, SIZE, 1)
    )
    for _ in range(look.waves):
        wave = generator.uniform(-look.wave_cycles, look.wave_cycles, 2) * 2 * np.pi / SIZE
        phase = generator.uniform(0, 2 * np.pi)
        amplitude = generator.uniform(-look.wave_amplitude, look.wave_amplitude, 3)
        picture += np.sin(wave[0] * x + wave[1] * y + phase)[..., None] * amplitude
    return picture.astype(np.float32)


def make_demo(
    folder: Path,
    seed: int = 0,
    train_per_class: int = TRAIN_PER_CLASS,
    test_per_class: int = TEST_PER_CLASS,
    progress: Progress | None = None,
    check: Check | None = None,
) -> Path:
    """Write the demo's videos to ``folder``/{train,test}/<class>/NNN.mp4, all or none; the same bytes for a seed.

    Raises :class:`UsageError` if ``folder`` exists.
    """
    if folder.exists():
        raise UsageError(f"{folder} exists already.", "Remove it, or choose another folder.")
    sweep(folder.parent)
    with storage_errors(folder), draft(folder.parent) as apart:
        made = apart / "videos"
        _write_videos(made, seed, {"train": train_per_class, "test": test_per_class}, progress, check)
        made.rename(folder)
    return folder


def _write_videos(
    folder: Path, seed: int, counts: dict[str, int], progress: Progress | None, check: Check | None
) -> None:
    names = [(split, name, number) for split in counts for name in CLASSES for number in range(counts[split])]
    for done, (split, name, number) in enumerate(names):
        if check:
            check()
        # Seeded by its own name, so that no video depends on how many others there are.
        key = [seed, list(counts).index(split), CLASSES.index(name), number]
        shape, direction = name.split("-")
        path = folder / split / name / f"{number:03d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        _encode(path, draw_clip(np.random.default_rng(np.random.SeedSequence(key)), shape, direction))
        if progress:
            progress(done + 1, len(names), f"{split}/{name}/{number:03d}.mp4")


def _encode(path: Path, frames: np.ndarray) -> None:
    options = {"crf": str(LOOK.crf), "preset": "ultrafast", "threads": "1"}
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=LOOK.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        stream.codec_context.thread_count = 1
        reformatter = VideoReformatter()
        for number, pixels in enumerate(frames):
            frame = reformatter.reformat(av.VideoFrame.from_ndarray(pixels, "rgb24"), format="yuv420p", threads=1)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def prepare_demo(folder: Path, seed: int = 0, progress: Progress | None = None, check: Check | None = None) -> Path:
    """The demo's clips file in ``folder``, made if absent; its name tells seed and version.

    Two processes may ask at once: the second waits for the first, calling ``check`` meanwhile.
    """
    clips = folder / f"demo-{seed}-{version()}.h5"
    if clips.exists():
        return clips
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / ".demo.lock", "ab", opener=unlinked) as lock:
            _wait_for(lock.fileno(), check or _nothing)
            if not clips.exists():
                _make_clips(clips, seed, progress, check)
    return clips


def _make_clips(clips: Path, seed: int, progress: Progress | None, check: Check | None) -> None:
    videos = demo_videos(clips.parent, seed, _part_of(progress, 0), check)
    listing = list_videos("demo", videos)
    sampling = Sampling(FRAMES, SIZE, INTERVAL)
    prepare(listing, clips, sampling, progress=_part_of(progress, 1), check=check)
    shutil.rmtree(videos, ignore_errors=True)


def _part_of(progress: Progress | None, part: int) -> Progress | None:
    """Tell ``progress`` of one of the two parts, videos made and videos decoded, as of the whole."""
    if progress is None:
        return None
    return lambda done, total, name: progress(part * total + done, 2 * total, name)


def demo_videos(folder: Path, seed: int, progress: Progress | None = None, check: Check | None = None) -> Path:
    """The folder of the demo's videos inside ``folder``, made if absent."""
    videos = folder / f"demo-{seed}-{version()}-videos"
    return videos if videos.is_dir() else make_demo(videos, seed, progress=progress, check=check)


def _wait_for(lock: int, check: Callable[[], None]) -> None:
    while True:
        check()
        with suppress(BlockingIOError):
            try_lock(lock)
            return
        time.sleep(POLL_SECONDS)


def _nothing() -> None:
    pass
