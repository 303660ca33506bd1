"""Codecs: frames to bytes and back, as cameras and phones store them.

A float32 memory and an H.264 clip of the same number of bytes are rivals only if both are counted as they lie on the
disk, so a codec here gives the bytes themselves and takes nothing but these bytes to show the frames again. Every
stream stands alone; what streams of one setting have in common (parameter sets, tables) is left to the file that
holds them, which stores it once. All coders run in one thread: the same frames give the same bytes.
"""

from __future__ import annotations

import io
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import av
import numpy as np
from av.error import FFmpegError
from PIL import Image, UnidentifiedImageError, features

from engine.errors import UsageError
from engine.synthetic.pictures import Frames, even, from_planes, resized, to_planes

LEAST_SIZE = 8
"""The smallest square that a codec may be asked to store frames as."""
_SEI = 6
"""The H.264 unit that says nothing of the pictures: x264 writes 680 bytes of its own settings into one."""
_FULL_RANGE, _BT601 = 2, 6
"""Values of FFmpeg's color_range and colorspace: as in a JPEG, all 256 levels are used."""


class DamagedStreamError(ValueError):
    """Bytes that do not decode to the frames that they are said to hold; who reads a file makes a DataError of it."""


@dataclass(frozen=True)
class Codec(ABC):
    """A way to store frames, at a ``quality`` on the codec's own scale.

    With ``size``, frames are stored at most ``size`` pixels high and wide, and shown at their own size again
    (both bicubic); smaller ones stay as they are.
    """

    quality: int
    size: int | None = None
    name: ClassVar[str]
    scale: ClassVar[tuple[int, int]]
    """The least and the largest quality."""

    def __post_init__(self) -> None:
        least, most = self.scale
        if not least <= self.quality <= most:
            problem = f"There is no {self.name} quality {self.quality}."
            raise UsageError(problem, f"Choose a number from {least} to {most}, such as {self.name}-{self.example}.")
        if self.size is not None and self.size < LEAST_SIZE:
            problem = f"Frames cannot be stored as squares of {self.size} pixels."
            raise UsageError(problem, f"Choose a size of {LEAST_SIZE} pixels or more.")

    @property
    @abstractmethod
    def example(self) -> int:
        """A quality that a hint may name."""

    def __str__(self) -> str:
        """The form that ``Storage.parse`` reads: ``h264-35@48``."""
        return f"{self.name}-{self.quality}" + (f"@{self.size}" if self.size else "")

    def stored_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the stored frames of a clip."""
        return (height, width) if self.size is None else (min(height, self.size), min(width, self.size))

    @abstractmethod
    def streams(self, frames: int) -> int:
        """How many streams hold ``frames`` frames."""

    def encode(self, frames: Frames) -> list[bytes]:
        """The streams that store ``frames``."""
        assert frames.dtype == np.uint8 and frames.ndim == 4 and frames.shape[3] in (1, 3), frames.shape
        return self._encode(resized(frames, self.stored_size(*frames.shape[1:3])))

    def decode(self, streams: list[bytes], shape: tuple[int, int, int, int]) -> Frames:
        """The frames of ``shape`` (T, H, W, 1 or 3) in ``streams``. Raises DamagedStreamError."""
        stored = (shape[0], *self.stored_size(*shape[1:3]), shape[3])
        if len(streams) != self.streams(shape[0]):
            raise DamagedStreamError(f"{len(streams)} streams for {shape[0]} frames")
        return resized(self._decode(streams, stored), shape[1:3])

    @abstractmethod
    def _encode(self, frames: Frames) -> list[bytes]:
        """As ``encode``, of frames of the stored size."""

    @abstractmethod
    def _decode(self, streams: list[bytes], shape: tuple[int, int, int, int]) -> Frames:
        """As ``decode``, of frames of the stored size; their number and shape are checked before they are made."""


class H264(Codec):
    """H.264 by libx264 at constant rate factor ``quality`` (0 to 51, less is better): a clip is one Annex B stream.

    Preset ``veryslow``: of JHMDB clips it takes 2 to 6 % less than ``medium``, and no more than ``placebo``. Colour is
    Y'CbCr 4:2:0 (BT.601, full range); gray frames have no chroma at all. A clip starts with its only key frame.
    """

    name = "h264"
    scale = (0, 51)
    example = 23

    def streams(self, frames: int) -> int:
        """One, with all frames: each is told by what has changed."""
        return 1

    def _encode(self, frames: Frames) -> list[bytes]:
        frames = even(frames)
        pix_fmt = "gray" if frames.shape[3] == 1 else "yuv420p"
        context = self._encoder(frames.shape[1], frames.shape[2], pix_fmt)
        packets = []
        for number, plane in enumerate(to_planes(frames)):
            picture = av.VideoFrame.from_ndarray(plane, format=pix_fmt)
            picture.pts, picture.time_base = number, context.time_base
            picture.color_range, picture.colorspace = _FULL_RANGE, _BT601
            packets += context.encode(picture)
        packets += context.encode(None)
        return [_without_remarks(b"".join(bytes(packet) for packet in packets))]

    def _encoder(self, height: int, width: int, pix_fmt: str) -> av.VideoCodecContext:
        context = av.CodecContext.create("libx264", "w")
        assert isinstance(context, av.VideoCodecContext)
        context.height, context.width, context.pix_fmt = height, width, pix_fmt
        context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
        context.thread_count = 1
        context.color_range, context.colorspace = _FULL_RANGE, _BT601
        context.options = {
            "crf": str(self.quality),
            "preset": "veryslow",
            # asm=0: with AVX-512 this x264 gives other bytes once in 50 clips, where several threads encode at once.
            "x264-params": "threads=1:lookahead-threads=1:sliced-threads=0:keyint=infinite:scenecut=0:asm=0",
        }
        return context

    def _decode(self, streams: list[bytes], shape: tuple[int, int, int, int]) -> Frames:
        frames, height, width, channels = shape
        size = (height + height % 2, width + width % 2)
        planes = np.stack(_h264_planes(streams[0], frames, size))
        # The decoder shows gray streams in colour, with a chroma that says nothing.
        shown = planes[:, : size[0], :, None] if channels == 1 else from_planes(planes, *size)
        return np.ascontiguousarray(shown[:, :height, :width])


_DAMAGE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError)
"""What Pillow raises for damaged pictures; RuntimeError is AVIF's."""


class _Stills(Codec):
    """A codec of pictures by Pillow: every frame is a stream of its own."""

    pillow: ClassVar[str]

    def streams(self, frames: int) -> int:
        """One for each frame."""
        return frames

    @abstractmethod
    def _options(self) -> dict[str, int | str | bool]:
        """What Pillow's encoder is told."""

    def _encode(self, frames: Frames) -> list[bytes]:
        streams = []
        for frame in frames:
            buffer = io.BytesIO()
            picture = Image.fromarray(np.ascontiguousarray(frame[..., 0] if frame.shape[2] == 1 else frame))
            picture.save(buffer, self.pillow, **self._options())
            streams.append(buffer.getvalue())
        return streams

    def _decode(self, streams: list[bytes], shape: tuple[int, int, int, int]) -> Frames:
        return np.stack([self._picture(stream, shape[1:]) for stream in streams])

    def _picture(self, stream: bytes, shape: tuple[int, int, int]) -> np.ndarray:
        try:
            with Image.open(io.BytesIO(stream), formats=[self.pillow]) as picture:
                if picture.size != (shape[1], shape[0]):  # before a pixel is decoded: a bomb stays closed
                    raise DamagedStreamError(f"a picture of {picture.size} pixels")
                pixels = np.asarray(picture.convert("L" if shape[2] == 1 else "RGB"))
        except _DAMAGE as error:
            raise DamagedStreamError(f"a picture that cannot be decoded: {error}") from error
        return pixels.reshape(shape)


class Jpeg(_Stills):
    """JPEG at ``quality`` (1 to 95, more is better).

    With the standard's Huffman tables: these take 440 bytes, but all pictures share them, and on JHMDB frames of 64
    pixels that is 10 % (quality 80) to 20 % (50) less than tables of each picture's own.
    """

    name, pillow = "jpeg", "JPEG"
    scale = (1, 95)
    example = 80

    def _options(self) -> dict[str, int | str | bool]:
        return {"quality": self.quality, "optimize": False, "progressive": False}


class Avif(_Stills):
    """AVIF at ``quality`` (0 to 100, more is better). Raises UsageError where Pillow has been built without it."""

    name, pillow = "avif", "AVIF"
    scale = (0, 100)
    example = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        if not features.check("avif"):
            raise UsageError("This Pillow has been built without AVIF.", "Choose jpeg, or install pillow from PyPI.")

    def _options(self) -> dict[str, int | str | bool]:
        return {"quality": self.quality, "speed": 6, "max_threads": 1}


CODECS: dict[str, type[Codec]] = {codec.name: codec for codec in (H264, Jpeg, Avif)}
_TEXT = re.compile(r"([a-z0-9]+)-(\d{1,3})(?:@(\d{1,4}))?")


def parse_codec(text: str) -> Codec | None:
    """The codec that ``text`` names (``h264-35@48``), or None if it names none. Raises UsageError for its numbers."""
    found = _TEXT.fullmatch(text)
    if found is None or found[1] not in CODECS:
        return None
    return CODECS[found[1]](int(found[2]), None if found[3] is None else int(found[3]))


def _without_remarks(stream: bytes) -> bytes:
    """An Annex B stream without its SEI units, and with the shorter of the two start codes before each other.

    Start codes cannot occur inside units: the format escapes them.
    """
    units = stream.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]
    return b"".join(b"\0\0\1" + unit for unit in units if unit[0] & 31 != _SEI)


def _h264_planes(stream: bytes, frames: int, size: tuple[int, int]) -> list[np.ndarray]:
    """The ``frames`` pictures in ``stream`` as yuv420p planes, each of ``size``. Raises DamagedStreamError."""
    context = av.CodecContext.create("h264", "r")
    assert isinstance(context, av.VideoCodecContext)
    context.thread_count = 1
    context.options = {"err_detect": "explode"}
    planes: list[np.ndarray] = []
    try:
        for packet in [*context.parse(stream), *context.parse(None), None]:
            for picture in context.decode(packet):
                fits = (picture.height, picture.width) == size and picture.format.name in ("yuv420p", "yuvj420p")
                if not fits or len(planes) == frames:
                    raise DamagedStreamError(f"a frame of {picture.height} x {picture.width} {picture.format.name}")
                planes.append(picture.to_ndarray())
    except (FFmpegError, ValueError) as error:
        raise DamagedStreamError(f"a clip that cannot be decoded: {error}") from error
    if len(planes) != frames:
        raise DamagedStreamError(f"{len(planes)} frames instead of {frames}")
    return planes
