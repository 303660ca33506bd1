"""Groups of clips as the fewest bytes that show them again: what a set's file is made of.

At a few hundred bytes per class, what a video file says beside its pictures is as large as the pictures. So the clips
of a group share one head (parameter sets, sequence header, tables), and nothing is written that follows from the
shape of the group or from the bytes themselves: no container, no time stamps, no start codes, no remarks of an
encoder. Every clip can be shown without the others: pictures of another clip have never been worth predicting from.

    coding = Coding.parse("h264-35@half:repeat4")
    content = coding.encode(clips)                 # uint8 (N, T, H, W, 3 or 1)
    shown = coding.decode(content, clips.shape)    # what is trained on

A group that went through a codec is a row of units, each behind its length (LEB128); first those of the head:

    h264        NAL units without start codes: SPS, PPS; then one per frame
    av1, avif   OBUs without their header byte: sequence header; then all others (0x1a before those that begin with a
                bit 1, which show a frame again, 0x32 before the rest)
    jpeg        DQT, SOF0 and SOS segments; then the scan of each frame (tables of Huffman codes are the standard's)

Raw groups are their values, little-endian. A coder is deterministic on one machine: one thread, and none of the
machine code that is not. Decoding takes PyAV and Pillow only, refuses what does not fit the declared shape before it
takes memory for it, and raises DataError for damage.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar

import av
import numpy as np
import torch
from av.error import FFmpegError
from PIL import Image, UnidentifiedImageError, features

from engine.config.storage import LEAST_SIDE, PARTS
from engine.errors import DataError, UsageError
from engine.synthetic.pictures import Frames, even, from_planes, resized, to_planes
from engine.synthetic.temporal import Temporal
from engine.text import one_line

Shape = tuple[int, int, int, int, int]
"""Clips, frames, height, width, channels."""

MOST_SIDE = 1 << 13
"""Pixels: the largest side that a group may say that it shows."""
MOST_PER_BYTE = 1 << 16
"""Values that a byte may stand for. Of real clips it is some thousands; a made-up file could ask for all memory."""
_DTYPES = {"uint8": "|u1", "float16": "<f2", "float32": "<f4"}
_FULL_RANGE, _BT601 = 2, 6
"""Values of FFmpeg's color_range and colorspace: as in a JPEG, all 256 levels are used."""
_SYNTAX = "Write uint8, float16, float32, or CODEC-QUALITY[@SIDE][:repeatK][:444] such as h264-35@half:repeat4."
_HINT = "Use another copy of the file; a damaged one cannot be mended."


def damaged(reason: object) -> DataError:
    """The error for content that does not decode to what it is said to hold."""
    said = one_line(str(reason).partition("\n")[0])[:120]
    return DataError(f"The stored clips are damaged ({said}).", _HINT)


@dataclasses.dataclass(frozen=True)
class Coded:
    """One clip through a codec: the units that all clips of its group share, and its own."""

    head: tuple[bytes, ...]
    body: tuple[bytes, ...]


@dataclasses.dataclass(frozen=True)
class Coding:
    """The coding of a group of clips.

    ``name`` is raw (``uint8``, ``float16``, ``float32``) or a codec with a ``quality`` on its own scale. Pictures of
    bytes may be stored smaller (``side``: at most so many pixels high and wide, or a ``half`` or ``quarter`` of their
    own), and fewer: ``stored`` frames, shown as ``interpolation`` says (see Temporal). ``chroma`` is 420 (a quarter of
    the colours) or 444 (all). Raises UsageError for what a codec does not have.
    """

    name: str
    quality: int | None = None
    side: int | str | None = None
    stored: int | None = None
    interpolation: str = "duplicate"
    chroma: str = "420"

    def __post_init__(self) -> None:
        if self.name in CODERS:
            CODERS[self.name].check(self.quality)
        elif self.name not in _DTYPES or self.quality is not None or self.chroma != "420":
            raise UsageError(f"There is no way to store clips named {one_line(str(self)[:60])!r}.", _SYNTAX)
        if self.name.startswith("float") and (self.side, self.stored) != (None, None):
            raise UsageError(f"Clips stored as {self.name} are stored whole.", "Leave out its side and its frames.")
        if isinstance(self.side, int) and self.side < LEAST_SIDE:
            problem = f"Pictures cannot be stored as squares of {self.side} pixels."
            raise UsageError(problem, f"Choose a side of {LEAST_SIDE} pixels or more.")
        if self.stored is not None and self.stored < 1:
            raise UsageError("A clip cannot be stored as no frame at all.", "Choose one frame or more.")

    @classmethod
    def parse(cls, text: str) -> Coding:
        """The coding of the form ``h264-35@32:repeat4:444``, the inverse of ``str``. Raises UsageError.

        ``repeatK`` and ``linearK`` store K frames: shown again and again, or with what is between them.
        """
        found = _TEXT.fullmatch(text)
        if found is None:
            raise UsageError(f"There is no way to store clips named {one_line(text[:60])!r}.", _SYNTAX)
        quality, side, stored = found["quality"], found["side"], found["stored"]
        return cls(
            found["name"],
            None if quality is None else int(quality),
            int(side) if side is not None and side.isdigit() else side,
            None if stored is None else int(stored),
            _INTERPOLATIONS[found["time"] or "repeat"],
            found["chroma"] or "420",
        )

    def __str__(self) -> str:
        """The text that ``parse`` reads."""
        times = {interpolation: word for word, interpolation in _INTERPOLATIONS.items()}
        quality = "" if self.quality is None else f"-{self.quality}"
        side = "" if self.side is None else f"@{self.side}"
        time = "" if self.stored is None else f":{times[self.interpolation]}{self.stored}"
        return self.name + quality + side + time + ("" if self.chroma == "420" else f":{self.chroma}")

    def stored_shape(self, shape: Shape) -> Shape:
        """The shape of the pictures that are stored of clips of ``shape``; smaller and fewer ones stay as they are."""
        clips, frames, height, width, channels = shape
        if isinstance(self.side, int):
            height, width = min(height, self.side), min(width, self.side)
        elif self.side is not None:
            parts = PARTS[self.side]
            height, width = -(-height // parts), -(-width // parts)
        return clips, min(frames, self.stored or frames), height, width, channels

    def encode(self, clips: np.ndarray) -> bytes:
        """The content that stores ``clips`` (N, T, H, W, 3 or 1): uint8, or of any number type for raw floats.

        Raises DataError for values that float16 cannot hold.
        """
        return self.join([self.encode_clip(clip) for clip in clips])

    def encode_clip(self, clip: np.ndarray) -> Coded:
        """One clip (T, H, W, 3 or 1) of ``encode``, for those who encode some of a group's clips anew."""
        assert clip.ndim == 4 and clip.shape[3] in (1, 3), clip.shape
        if self.name.startswith("float"):
            return Coded((), (_raw(clip, self.name),))
        assert clip.dtype == np.uint8, clip.dtype
        frames = self._stored(clip)
        if self.name == "uint8":
            return Coded((), (frames.tobytes(),))
        return CODERS[self.name].encode(frames, self.quality or 0, self.chroma)

    def join(self, coded: Sequence[Coded]) -> bytes:
        """The content that stores the clips ``coded``, of one shape, in this order."""
        if self.name in _DTYPES:
            return b"".join(unit for clip in coded for unit in clip.body)
        assert all(clip.head == coded[0].head for clip in coded), "clips of one shape have one head"
        units = [*coded[0].head, *(unit for clip in coded for unit in clip.body)]
        return b"".join(_varint(len(unit)) + unit for unit in units)

    def decode(self, content: bytes, shape: Shape) -> np.ndarray:
        """The clips of ``shape`` (N, T, H, W, 3 or 1) in ``content``: uint8, or float32 of raw floats.

        Raises DataError for content that does not hold them, UsageError for a codec that this machine lacks.
        """
        _check_shape(shape, len(content), self)
        stored = self.stored_shape(shape)
        if self.name in _DTYPES:
            frames = _from_raw(content, self.name, stored)
        else:
            frames = CODERS[self.name].decode(_units(content), stored, self.chroma)
        return self._shown(frames, shape)

    def _temporal(self, frames: int) -> Temporal:
        return Temporal(frames, min(frames, self.stored or frames), 1, self.interpolation)

    def _stored(self, clip: Frames) -> Frames:
        """Return the frames to store of ``clip``: those that show it again with the least error, made smaller."""
        temporal = self._temporal(len(clip))
        if temporal.compresses:
            mixed = temporal.compress(torch.from_numpy(np.ascontiguousarray(clip)).to(torch.float64), 0)
            clip = mixed.round().clamp(0, 255).to(torch.uint8).numpy()
        return resized(clip, self.stored_shape((1, *clip.shape))[2:4])  # type: ignore[arg-type]

    def _shown(self, frames: np.ndarray, shape: Shape) -> np.ndarray:
        """The inverse of ``_stored`` for all clips (N, stored, h, w, channels), but for its losses."""
        if frames.shape[2:4] != shape[2:4]:
            large = resized(frames.reshape(-1, *frames.shape[2:]), shape[2:4])
            frames = large.reshape(*frames.shape[:2], *shape[2:])
        temporal = self._temporal(shape[1])
        if not temporal.compresses:
            return frames
        if temporal.interpolation == "duplicate":
            return temporal.stretch(torch.from_numpy(frames), 1).numpy()
        mixed = temporal.stretch(torch.from_numpy(frames).to(torch.float32), 1)
        return mixed.round().clamp(0, 255).to(torch.uint8).numpy()


_INTERPOLATIONS = {"repeat": "duplicate", "linear": "linear"}
_TEXT = re.compile(
    r"(?P<name>[a-z]+[a-z0-9]*?)(?:-(?P<quality>\d{1,3}))?(?:@(?P<side>\d{1,4}|half|quarter))?"
    r"(?::(?P<time>repeat|linear)(?P<stored>\d{1,4}))?(?::(?P<chroma>444))?"
)


# Raw values.


def _raw(clip: np.ndarray, name: str) -> bytes:
    if name == "float16" and np.abs(clip).max(initial=0) > np.finfo(np.float16).max:
        problem = f"There are values up to {np.abs(clip).max():.3g}, beyond what float16 can hold."
        raise DataError(problem, "Store them as float32.")
    return np.ascontiguousarray(clip, dtype=_DTYPES[name]).tobytes()


def _from_raw(content: bytes, name: str, shape: Shape) -> np.ndarray:
    values = np.frombuffer(content, dtype=_DTYPES[name]).reshape(shape)  # its length has been checked
    return values.copy() if name == "uint8" else values.astype(np.float32)


def _check_shape(shape: Shape, size: int, coding: Coding) -> None:
    """Raise DataError for a shape that ``size`` bytes stored by ``coding`` cannot have."""
    if not all(type(number) is int and number >= 1 for number in shape) or shape[4] not in (1, 3):
        raise damaged(f"a shape of {list(shape)}")
    if max(shape[2:4]) > MOST_SIDE or math.prod(shape) > MOST_PER_BYTE * size:
        raise damaged(f"{size} bytes for clips of {list(shape)}")
    if coding.name in _DTYPES and math.prod(coding.stored_shape(shape)) * int(_DTYPES[coding.name][2:]) != size:
        raise damaged(f"{size} bytes of {coding.name} for clips of {list(shape)}")


# Units.


def _varint(number: int) -> bytes:
    """LEB128: seven bits a byte, the least first; all bytes but the last have the highest bit."""
    parts = [number & 127]
    while number := number >> 7:
        parts[-1] |= 128
        parts.append(number & 127)
    return bytes(parts)


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    """The number at ``at`` and the place behind it. Raises DataError where none ends, or above 2^35."""
    number = 0
    for shift in range(0, 35, 7):
        if at == len(content):
            break
        number |= (content[at] & 127) << shift
        at += 1
        if content[at - 1] < 128:
            return number, at
    raise damaged("a length without an end")


def _units(content: bytes) -> list[bytes]:
    units, at = [], 0
    while at < len(content):
        length, at = _read_varint(content, at)
        if not 0 < length <= len(content) - at:
            raise damaged(f"a unit of {length} bytes where {len(content) - at} are left")
        units.append(content[at : at + length])
        at += length
    return units


# Codecs.


class Coder(ABC):
    """A codec: pictures of the stored size to units and back."""

    name: ClassVar[str]
    scale: ClassVar[tuple[int, int]]
    """The least and the largest quality."""
    example: ClassVar[int]
    """A quality that a hint may name."""

    def check(self, quality: int | None) -> None:
        """Raise UsageError unless there is this quality, and the codec on this machine."""
        least, most = self.scale
        if quality is None or not least <= quality <= most:
            problem = f"There is no {self.name} quality {'of that kind' if quality is None else quality}."
            raise UsageError(problem, f"Choose a number from {least} to {most}, such as {self.name}-{self.example}.")

    @abstractmethod
    def encode(self, frames: Frames, quality: int, chroma: str) -> Coded:
        """The units of one clip (T, h, w, 3 or 1)."""

    @abstractmethod
    def decode(self, units: Sequence[bytes], shape: Shape, chroma: str) -> np.ndarray:
        """The uint8 clips of ``shape`` in ``units``. Raises DataError; their number is checked before they are made."""


def _from_pictures(planes: np.ndarray, shape: Shape, chroma: str) -> np.ndarray:
    """Clips of ``shape`` of the decoded planes of all their frames, whose sides were made even."""
    clips, frames, height, width, channels = shape
    high, wide = height + height % 2, width + width % 2
    # FFmpeg shows gray H.264 in colour, with a chroma that says nothing.
    shown = planes[:, :high, :, None] if channels == 1 else from_planes(planes, high, wide, chroma)
    return np.ascontiguousarray(shown[:, :height, :width]).reshape(clips, frames, height, width, channels)


def _pix_fmt(channels: int, chroma: str) -> str:
    return "gray" if channels == 1 else f"yuv{chroma}p"


def _decoded(decoder: str, packets: Sequence[bytes], number: int, shape: Shape, chroma: str) -> list[np.ndarray]:
    """The planes of the ``number`` pictures in ``packets``, each of the even sides of ``shape``. Raises DataError."""
    height, width = (side + side % 2 for side in shape[2:4])
    context = av.CodecContext.create(decoder, "r")
    assert isinstance(context, av.VideoCodecContext)
    context.thread_count = 1
    # FFmpeg counts whole blocks, in rows of whole cache lines; more are refused before there is memory for them.
    context.options = {"err_detect": "explode", "max_pixels": str((height + 16) * (width + 64))}
    formats = {"gray", "yuv420p", "yuvj420p"} if shape[4] == 1 else {f"yuv{chroma}p", f"yuvj{chroma}p"}
    planes: list[np.ndarray] = []
    try:
        for packet in [*(av.Packet(packet) for packet in packets), None]:
            for picture in context.decode(packet):
                fits = (picture.height, picture.width) == (height, width) and picture.format.name in formats
                if not fits or len(planes) == number:
                    raise damaged(f"a picture of {picture.height} x {picture.width} {picture.format.name}")
                planes.append(picture.to_ndarray()[:height] if shape[4] == 1 else picture.to_ndarray())
    except (FFmpegError, ValueError) as error:
        raise damaged(f"a clip that cannot be decoded: {error}") from error
    if len(planes) != number:
        raise damaged(f"{len(planes)} pictures instead of {number}")
    return planes


class H264(Coder):
    """H.264 by libx264 at a constant rate factor (0 to 51, less is better).

    Preset ``veryslow``, tuned for the least error: at 8 x 64 x 64 that takes 17 % less than x264's defaults for the
    eye at the same error, ``placebo`` takes no less, and ``medium`` 4 % more in half of the time. Three B-frames
    at most, no weighted prediction, and a key frame distance that is no longer than the clip, since numbers in every
    slice's head grow with it.
    """

    name, scale, example = "h264", (0, 51), 35
    preset = "veryslow"

    def encode(self, frames: Frames, quality: int, chroma: str) -> Coded:
        """SPS and PPS; a NAL unit for each frame."""
        frames = even(frames)
        pix_fmt = _pix_fmt(frames.shape[3], chroma)
        context = self._encoder(frames, quality, pix_fmt)
        stream = b""
        for number, plane in enumerate(to_planes(frames, chroma)):
            picture = av.VideoFrame.from_ndarray(plane, format=pix_fmt)
            picture.pts, picture.time_base = number, context.time_base
            picture.color_range, picture.colorspace = _FULL_RANGE, _BT601
            stream += b"".join(bytes(packet) for packet in context.encode(picture))
        stream += b"".join(bytes(packet) for packet in context.encode(None))
        units = stream.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]
        head = tuple(unit for unit in units if unit[0] & 31 in (7, 8))
        body = tuple(unit for unit in units if unit[0] & 31 in (1, 5))
        assert len(head) == 2 and len(body) == len(frames), [unit[0] & 31 for unit in units]
        return Coded(head, body)

    def _encoder(self, frames: Frames, quality: int, pix_fmt: str) -> av.VideoCodecContext:
        context = av.CodecContext.create("libx264", "w")
        assert isinstance(context, av.VideoCodecContext)
        context.height, context.width, context.pix_fmt = frames.shape[1], frames.shape[2], pix_fmt
        context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
        context.thread_count = 1
        context.color_range, context.colorspace = _FULL_RANGE, _BT601
        settings = "threads=1:lookahead-threads=1:sliced-threads=0:scenecut=0:weightp=0:bframes=3"
        context.options = {
            "crf": str(quality),
            "preset": self.preset,
            "tune": "psnr",
            "x264-params": f"{settings}:keyint={len(frames)}:asm={_x264_machine_code()}",
        }
        return context

    def decode(self, units: Sequence[bytes], shape: Shape, chroma: str) -> np.ndarray:
        """A decoder for each clip, so that a clip is the same whatever stands before it; else see Coder."""
        number, frames = shape[:2]
        if [unit[0] & 31 for unit in units[:2]] != [7, 8] or len(units) != 2 + number * frames:
            raise damaged(f"{len(units)} units for {number} clips of {frames} frames")
        start = b"\0\0\1"
        head = start + units[0] + start + units[1]
        planes = []
        for first in range(2, len(units), frames):
            packets = [start + unit for unit in units[first : first + frames]]
            planes += _decoded("h264", [head + packets[0], *packets[1:]], frames, shape, chroma)
        return _from_pictures(np.stack(planes), shape, chroma)


@functools.cache
def _x264_machine_code() -> str:
    """x264's setting ``asm``: with AVX-512 it gives other bytes once in twelve clips where several threads encode.

    With AVX2 it never did, and is four times as fast as with none; other processors have not been tried.
    """
    return "AVX2" if torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") else "0"


_SEQUENCE, _DELIMITER = 1, 2
_SHOW_EXISTING, _FRAME = 0x1A, 0x32
"""Header bytes of AV1's units: of a frame header alone (type 3) and of a whole frame (type 6), each with a length."""
_AV1_TOOLS = ("alt-ref", "order-hint", "cdef", "restoration", "global-motion", "warped-motion", "obmc")
_AV1_OPTIONS = {"tune": "psnr"} | {f"{'auto' if tool == 'alt-ref' else 'enable'}-{tool}": "0" for tool in _AV1_TOOLS}
"""Tools that take more bits in every frame's head than they save in pictures of 64 pixels are left out."""


class Av1(Coder):
    """AV1 by libaom, which Pillow has for AVIF, at a quality from 0 to 100 (more is better); dav1d decodes.

    ``stills`` makes every frame a picture of its own, a file of which would be an AVIF.
    """

    scale, example = (0, 100), 10
    speed = 3
    """The speed of libaom, 0 (slowest) to 10. 2 takes twice as long for 1 % fewer bytes, 4 two thirds for 3 % more."""

    def __init__(self, name: str, stills: bool) -> None:
        self.name = name  # type: ignore[misc]
        self.stills = stills

    def check(self, quality: int | None) -> None:
        """See Coder; the encoder is Pillow's."""
        super().check(quality)
        if not features.check("avif"):
            raise UsageError("This Pillow has been built without AVIF.", "Choose h264, or install pillow from PyPI.")

    def encode(self, frames: Frames, quality: int, chroma: str) -> Coded:
        """The sequence header; then what is left of each frame's units."""
        clips = [frames[number : number + 1] for number in range(len(frames))] if self.stills else [frames]
        heads, body = set(), []
        for clip in clips:
            for kind, payload in _obus(_avif_content(even(clip), quality, chroma, self.speed)):
                if kind == _SEQUENCE:
                    heads.add(payload)
                elif kind != _DELIMITER:
                    assert kind == _obu_header(payload) >> 3 & 15, kind
                    body.append(payload)
        assert len(heads) == 1, len(heads)
        return Coded(tuple(heads), tuple(body))

    def decode(self, units: Sequence[bytes], shape: Shape, chroma: str) -> np.ndarray:
        """See Coder; frames that units show are counted first."""
        number, frames = (shape[0] * shape[1], 1) if self.stills else shape[:2]
        if not units:
            raise damaged("no units")
        head, still = b"\x0a" + _varint(len(units[0])) + units[0], bool(units[0][0] & 8)
        clips: list[bytes] = []
        packet, shown = head, 0
        for unit in units[1:]:
            packet += bytes([_obu_header(unit)]) + _varint(len(unit)) + unit
            shown += still or _is_shown(unit[0])
            if shown == frames:
                clips.append(packet)
                packet, shown = head, 0
        if len(clips) != number or packet != head:
            raise damaged(f"units of {len(clips)} clips of {frames} frames instead of {number}")
        planes = [plane for clip in clips for plane in _decoded("libdav1d", [clip], frames, shape, chroma)]
        return _from_pictures(np.stack(planes), shape, chroma)


def _obu_header(payload: bytes) -> int:
    return _SHOW_EXISTING if payload[0] & 0x80 else _FRAME


def _is_shown(first: int) -> bool:
    """Return whether a unit that begins so shows a frame: show_existing_frame, or show_frame behind frame_type."""
    return bool(first & 0x90)


def _obus(stream: bytes) -> list[tuple[int, bytes]]:
    """Types and payloads of the units of an AV1 stream, each of which has a length."""
    units, at = [], 0
    while at < len(stream):
        header = stream[at]
        length, begin = _read_varint(stream, at + 1)
        at = begin + length
        units.append((header >> 3 & 15, stream[begin:at]))
    return units


def _avif_content(frames: Frames, quality: int, chroma: str, speed: int) -> bytes:
    """The AV1 stream in the AVIF file that Pillow makes of ``frames``: all of its ``mdat`` box."""
    gray = frames.shape[3] == 1
    pictures = [Image.fromarray(np.ascontiguousarray(frame[..., 0] if gray else frame)) for frame in frames]
    subsampling = "4:0:0" if gray else ":".join(chroma)
    buffer = io.BytesIO()
    pictures[0].save(
        buffer,
        "AVIF",
        save_all=len(pictures) > 1,
        append_images=pictures[1:],
        duration=40,
        quality=quality,
        subsampling=subsampling,
        speed=speed,
        codec="aom",
        max_threads=1,
        autotiling=False,
        advanced=_AV1_OPTIONS,
    )
    file, at = buffer.getvalue(), 0
    while True:
        length, kind = int.from_bytes(file[at : at + 4], "big"), file[at + 4 : at + 8]
        if kind == b"mdat":
            return file[at + 8 : at + length]
        at += length


class Jpeg(Coder):
    """JPEG by libjpeg-turbo at a quality from 1 to 95 (more is better): every frame a picture of its own."""

    name, scale, example = "jpeg", (1, 95), 50

    def encode(self, frames: Frames, quality: int, chroma: str) -> Coded:
        """The tables and heads of a frame and its scan; then each scan."""
        subsampling = {"420": "4:2:0", "444": "4:4:4"}[chroma]
        heads, body = set(), []
        for frame in frames:
            buffer = io.BytesIO()
            picture = Image.fromarray(np.ascontiguousarray(frame[..., 0] if frame.shape[2] == 1 else frame))
            extra = {} if frame.shape[2] == 1 else {"subsampling": subsampling}
            picture.save(buffer, "JPEG", quality=quality, optimize=False, progressive=False, **extra)
            head, scan = _jpeg_parts(buffer.getvalue())
            heads.add(head)
            body.append(scan)
        assert len(heads) == 1, len(heads)
        return Coded(tuple(heads), tuple(body))

    def decode(self, units: Sequence[bytes], shape: Shape, chroma: str) -> np.ndarray:
        """See Coder."""
        number, frames, height, width, channels = shape
        if len(units) != 1 + number * frames:
            raise damaged(f"{len(units)} units for {number * frames} pictures")
        files = [b"\xff\xd8" + units[0] + scan + b"\xff\xd9" for scan in units[1:]]
        return np.stack([_jpeg_picture(file, (height, width, channels)) for file in files]).reshape(shape)


def _jpeg_parts(file: bytes) -> tuple[bytes, bytes]:
    """Return the segments of a baseline JPEG without remarks (APP0) and Huffman tables (DHT), and its scan."""
    head, at = b"", 2
    while True:
        marker, end = file[at + 1], at + 2 + int.from_bytes(file[at + 2 : at + 4], "big")
        if marker in (0xDB, 0xC0, 0xDA):
            head += file[at:end]
        if marker == 0xDA:
            return head, file[end:-2]
        at = end


_DAMAGE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError)
"""The errors of Pillow for damaged pictures."""


def _jpeg_picture(file: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(file), formats=["JPEG"]) as picture:
            if picture.size != (shape[1], shape[0]):  # before a pixel is decoded: a bomb stays closed
                raise damaged(f"a picture of {picture.size} pixels")
            return np.asarray(picture.convert("L" if shape[2] == 1 else "RGB")).reshape(shape)
    except _DAMAGE as error:
        raise damaged(f"a picture that cannot be decoded: {error}") from error


CODERS: dict[str, Coder] = {
    coder.name: coder for coder in (H264(), Av1("av1", stills=False), Av1("avif", stills=True), Jpeg())
}
