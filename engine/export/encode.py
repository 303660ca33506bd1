"""Frames to bytes: mp4, gif, png. Nothing here touches the disk, so a failing encoder leaves nothing behind."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
from PIL import Image

from engine.errors import UsageError
from engine.export.pictures import Pixels8, evenly

MOST_FPS = {"mp4": 120.0, "gif": 50.0, "png": 120.0}
"""A gif counts time in hundredths of a second, and viewers slow down anything below two of them."""

PALETTE_SAMPLE = 1 << 17
"""Pixels that the colours of a gif are found by."""


def check_fps(fps: float, kind: str) -> None:
    """Raise UsageError unless ``fps`` (frames per second) can be shown by a file of ``kind``."""
    if not 0.1 <= fps <= MOST_FPS[kind]:
        problem = f"A {kind} cannot be shown at {fps:g} frames per second."
        raise UsageError(problem, f"Choose --fps between 0.1 and {MOST_FPS[kind]:g}.")


def mp4(frames: Iterable[Pixels8], fps: float) -> bytes:
    """An H.264 video of ``frames`` (H, W, 3), yuv420p as every player shows it; odd sizes gain an edge pixel."""
    import av
    from av.video.reformatter import Colorspace

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "18"}
        # Said explicitly, or players guess the colour matrix by the size of the picture.
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1
        for index, frame in enumerate(map(_even, frames)):
            if index == 0:
                stream.height, stream.width = frame.shape[:2]
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture = picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=1)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return buffer.getvalue()


def _even(frame: Pixels8) -> Pixels8:
    height, width = frame.shape[:2]
    return np.ascontiguousarray(np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"))


def gif(frames: Iterable[Pixels8], fps: float, palette: Pixels8 | None = None) -> bytes:
    """An animated gif of ``frames`` that loops for ever, at real speed on average.

    Frames are (H, W, 3), reduced to 256 colours that all of them share; or (H, W) indices into ``palette``
    (colours, 3). Frames that equal the one before are joined with it, so a still video becomes a still picture.
    """
    pictures = [Image.fromarray(np.ascontiguousarray(frame)) for frame in frames]
    if palette is None:
        shared = _shared_palette(pictures)
        pictures = [picture.quantize(palette=shared, dither=Image.Dither.NONE) for picture in pictures]
    else:
        for picture in pictures:
            picture.putpalette(palette.flatten().tolist())
    buffer = io.BytesIO()
    first, *rest = pictures
    moving = {"save_all": True, "append_images": rest, "duration": list(_delays(len(pictures), fps)), "loop": 0}
    first.save(buffer, "GIF", **(moving if rest else {}))
    return buffer.getvalue()


def _shared_palette(pictures: list[Image.Image]) -> Image.Image:
    """256 colours of a sample of all frames; a palette for each frame would flicker, and takes far longer to find."""
    stack = np.concatenate([np.asarray(pictures[index]) for index in evenly(len(pictures), 4)])
    every = max(1, math.isqrt(stack.shape[0] * stack.shape[1] // PALETTE_SAMPLE))
    sample = np.ascontiguousarray(stack[::every, ::every])
    return Image.fromarray(sample).quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def _delays(number: int, fps: float) -> Iterator[int]:
    """Milliseconds of each frame in whole hundredths of a second; their sum stays true to ``fps``."""
    ends = [round(100 * index / fps) for index in range(number + 1)]
    return (10 * (end - begin) for begin, end in itertools.pairwise(ends))


def png(picture: Pixels8) -> bytes:
    """A png of ``picture`` (H, W, 3); its pixels are kept exactly."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "PNG")
    return buffer.getvalue()
