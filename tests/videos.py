"""Tiny real videos for tests: written through PyAV, so that what is tested is what a user has."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path, PosixPath
from typing import Any

import av
import numpy as np

CODECS = {".mp4": "libx264", ".mkv": "libx264", ".ts": "libx264", ".avi": "mpeg4", ".webm": "libvpx-vp9", ".gif": "gif"}


def write_video(
    path: Path,
    frames: np.ndarray,
    codec: str | None = None,
    fps: int = 10,
    metadata: dict[str, str] | None = None,
    *,
    options: dict[str, str] | None = None,
    gop: int | None = None,
    b_frames: int | None = None,
    pixels: str = "yuv420p",
    turned: dict[str, Any] | None = None,
    aspect: Fraction | None = None,
    times: Sequence[int] | None = None,
) -> Path:
    """Write ``frames``, uint8 (T, H, W, 3) with even H and W; the codec goes by the suffix if it is not given.

    ``options`` are the encoder's, beside a high quality; ``gop`` is the distance of key frames. ``turned`` (degrees,
    hflip, vflip) says how a player shall turn the frames, ``aspect`` how wide it shall show a pixel of height 1.
    ``times`` are the frames' in milliseconds, where they do not come evenly.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    codec = codec or CODECS[path.suffix]
    quality = {"qscale": "2"} if codec == "mpeg4" else {"crf": "10"}
    with _priority_kept(), av.open(str(path), "w") as container:
        container.metadata.update(metadata or {})
        stream: Any = container.add_stream(codec, rate=fps, options={**quality, **(options or {})})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "rgb8" if codec == "gif" else pixels
        if gop is not None:
            stream.codec_context.gop_size = gop
        if b_frames is not None:
            stream.codec_context.max_b_frames = b_frames
        if turned is not None:
            stream.set_display_rotation(**turned)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if codec == "mpeg4":
            stream.codec_context.qmin = stream.codec_context.qmax = 2
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixels_of_frame in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels_of_frame, "rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@contextlib.contextmanager
def _priority_kept() -> Iterator[None]:
    """SVT-AV1 gives the thread that calls it real-time priority where it may, as for root, and leaves it there: this
    process and all that it starts would then keep everything else from the cores."""
    if not hasattr(os, "sched_getscheduler"):  # not Linux
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, parameters)


def write_image(path: Path, frame: np.ndarray) -> Path:
    """Write ``frame``, uint8 (H, W, 3), as .png or .jpg."""
    path.parent.mkdir(parents=True, exist_ok=True)
    codec, pixels = ("png", "rgb24") if path.suffix == ".png" else ("mjpeg", "yuvj420p")
    context: Any = av.CodecContext.create(codec, "w")
    context.height, context.width, context.pix_fmt, context.time_base = *frame.shape[:2], pixels, 1
    picture = av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format=pixels)
    path.write_bytes(b"".join(bytes(packet) for packet in [*context.encode(picture), *context.encode(None)]))
    return path


def grey_ramp(length: int, height: int = 32, width: int = 32, start: int = 10, step: int = 5) -> np.ndarray:
    """Flat frames, each ``step`` lighter than the one before: a frame's number can be read from its grey."""
    values = (start + step * np.arange(length)).astype(np.uint8)
    return np.broadcast_to(values[:, None, None, None], (length, height, width, 3)).copy()


def moving_square(length: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A light square that wanders over noise, below a bar that changes too: no two frames of 51 are alike."""
    frames = np.random.default_rng(0).integers(50, 70, (length, height, width, 3), np.uint8)
    for number, frame in enumerate(frames):
        left = 3 * number % (width - 10)
        frame[height // 3 : height // 3 + 10, left : left + 10] = 220
        frame[: height // 6] = 5 * number % 256
    return frames


def ramp_numbers(clip: np.ndarray, start: int = 10, step: int = 5) -> list[int]:
    """Which frames of :func:`grey_ramp` a clip (T, H, W, 3) shows."""
    return np.round((clip.mean(axis=(1, 2, 3)) - start) / step).astype(int).tolist()


def write_dataset(folder: Path, classes: tuple[str, ...] = ("a", "b"), each: int = 4, length: int = 6) -> Path:
    """``folder``/<class>/<number>.mp4 with a random brightness per video, 32 x 32."""
    generator = np.random.default_rng(0)
    for name in classes:
        for number in range(each):
            frames = grey_ramp(length, start=int(generator.integers(10, 100)))
            write_video(folder / name / f"{number}.mp4", frames, metadata={"title": f"{name} {number}"})  # no copies
    return folder


class CrashingPath(PosixPath):
    """A video on which the decoder dies, as it does in FFmpeg's native code."""

    def is_dir(self) -> bool:
        os._exit(11)
