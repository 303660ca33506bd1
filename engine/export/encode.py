"""Encoders of frames as mp4, gif and png. They return bytes, so one that fails leaves nothing on the disk."""

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

MOST_FPS = {"mp4": 120.0, "gif": 50.0, "png": 120.0, "folders": 120.0}
"""The most frames per second: a gif counts time in hundredths of a second, and viewers slow down frames below two."""

PALETTE_SAMPLE = 1 << 17
"""The number of pixels from which the colours of a gif are chosen."""


def check_fps(fps: float, kind: str) -> None:
    """Raise UsageError unless a file of ``kind`` can show ``fps`` frames per second."""
    if not 0.1 <= fps <= MOST_FPS[kind]:
        problem = f"A {kind} cannot be shown at {fps:g} frames per second."
        raise UsageError(problem, f"Choose --fps between 0.1 and {MOST_FPS[kind]:g}.")


def mp4(frames: Iterable[Pixels8], fps: float) -> bytes:
    """Return an H.264 video of ``frames`` (H, W, 3), in yuv420p, which every player shows; odd sizes gain a pixel."""
    import av
    from av.video.reformatter import Colorspace

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "18"}
        # Without these, players guess the colour matrix from the size of the picture.
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


def lossless(frames: Iterable[Pixels8], fps: float) -> bytes:
    """Return an mp4 of ``frames`` (H, W, 3), of any size, that decodes to the very same pixels: H.264 of RGB at crf 0.

    It has no frames that refer to later ones, so that the first one is shown at time 0 by every reader.
    """
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264rgb", rate=Fraction(fps).limit_denominator(1000))
        stream.pix_fmt = "rgb24"
        stream.options = {"crf": "0", "bf": "0", "threads": "1"}  # the same bytes on any number of cores
        for index, frame in enumerate(frames):
            if index == 0:
                stream.height, stream.width = frame.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def _even(frame: Pixels8) -> Pixels8:
    height, width = frame.shape[:2]
    return np.ascontiguousarray(np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"))


def gif(frames: Iterable[Pixels8], fps: float, palette: Pixels8 | None = None) -> bytes:
    """Return an animated gif of ``frames`` that loops for ever, at ``fps`` frames per second on average.

    Frames are (H, W, 3), reduced to 256 colours that all of them share, or (H, W) indices into ``palette``
    (colours, 3). A frame that equals the one before is joined with it, so a still video becomes a still picture.
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
    """Return 256 colours from a sample of all frames; a palette for each frame would flicker, and take far longer."""
    stack = np.concatenate([np.asarray(pictures[index]) for index in evenly(len(pictures), 4)])
    every = max(1, math.isqrt(stack.shape[0] * stack.shape[1] // PALETTE_SAMPLE))
    sample = np.ascontiguousarray(stack[::every, ::every])
    return Image.fromarray(sample).quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def _delays(number: int, fps: float) -> Iterator[int]:
    """Return the duration of each frame in milliseconds, as multiples of 10 whose sum stays true to ``fps``."""
    ends = [round(100 * index / fps) for index in range(number + 1)]
    return (10 * (end - begin) for begin, end in itertools.pairwise(ends))


def png(picture: Pixels8) -> bytes:
    """Return a png of ``picture`` (H, W, 3), which keeps its pixels exactly."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "PNG")
    return buffer.getvalue()
