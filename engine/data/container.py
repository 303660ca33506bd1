"""A video file opened: the stream of pictures that is taken, its packets, and its decoder. Nothing of clips is known
here.

Files come from strangers: what may be opened, and how large its pictures may be, is decided here.
"""

from __future__ import annotations

import errno
import math
import os
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import chain, islice
from types import TracebackType
from typing import Any, BinaryIO

import av
import av.error
import av.logging
import numpy as np

FORMATS = (
    "apng,asf,avi,av1,dhav,dirac,dv,flv,gif,h261,h263,h264,hevc,ivf,m4v,matroska,mjpeg,mjpeg_2000,mov,mpeg,mpegts,"
    "mpegvideo,mxf,nut,obu,ogg,rm,vc1,vvc,webp,yuv4mpegpipe,bmp_pipe,gif_pipe,j2k_pipe,jpeg_pipe,jpegxl_anim,"
    "jpegxl_pipe,pgm_pipe,png_pipe,ppm_pipe,tiff_pipe,webp_pipe"
)
"""Demuxers that may be used: containers of video and images. Not those that turn text into pictures, and not playlists
(hls, dash, concat, ...), which read other files than the one that is named as a video."""

PROTOCOLS = "none"
"""Ways in which a demuxer may open a file besides the one it is given."""

PACKET_IS_FRAME = frozenset({"av1", "h264", "hevc", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4", "vp9"})
"""Codecs of which a packet makes one frame, so that counting packets is counting frames. VP8 is not one: it has packets
that are never shown."""

LARGEST_PICTURE = 40_000_000
"""Pixels; 7680 x 4320 are 33 million. A header may claim any size, and FFmpeg reserves memory for it."""

LATEST = 2**62
"""In ticks; a stretch that begins there is empty."""


class UnreadableError(Exception):
    """A reason to skip that FFmpeg has no error for."""


def stretch_limit(time: float) -> Fraction:
    """A limit of a stretch, a microsecond early: 0.1 is more than a tenth as a float, and means the frame there."""
    if not math.isfinite(time):
        raise UnreadableError("its stretch of time is no number")
    return Fraction(time) - Fraction(1, 10**6)


def too_large(width: int, height: int) -> str:
    """Return the reason for which pictures of that size are not decoded."""
    return f"its pictures of {width} x {height} are too large, more than {LARGEST_PICTURE // 10**6} megapixels"


def oversize(file: BinaryIO) -> str | None:
    """Return the reason why an open file gave no frames, if it is the size of its pictures; else None.

    FFmpeg says so in its log alone.
    """
    level, skipping = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)  # the file before may have failed alike
    try:
        with (
            av.logging.Capture() as said,
            suppress(av.error.FFmpegError, ValueError, UnreadableError),
            Video(file) as video,
        ):
            for packet in islice(video.packets(), 3):
                video.decode(packet)
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skipping)
    for _, _, line in said:
        if (found := OVERSIZE.match(line)) and "(repeated" not in line:
            return too_large(int(found[1]), int(found[2]))
    return None


OVERSIZE = re.compile(r"Picture size ([0-9]+)x([0-9]+) exceeds")


def is_cut_off(file: BinaryIO) -> bool:
    """Return whether the outermost parts of a file (AVI, MP4 and its kin, Matroska) go on beyond its end."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    head = file.read(64)
    if len(head) < 8:
        return False
    if head[:4] == b"RIFF":
        (rest,) = struct.unpack_from("<I", head, 4)
        return 0 < rest < 2**32 - 1 and 8 + rest > size
    if head[:4] == MATROSKA:
        return _matroska_end(head) > size
    return head[4:8] in BOXES and _boxes_end(file, size) > size


MATROSKA, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"})
MOST_BOXES = 1000


def _boxes_end(file: BinaryIO, size: int) -> int:
    """Return where the boxes of an MP4 file end, in bytes; of many, as in a broadcast, only the first are read."""
    at = 0
    for _ in range(MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            break
        (length,) = struct.unpack_from(">I", head)
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack_from(">Q", head, 8)
        if length < 8:  # to the end of the file, or damaged
            break
        at += length
        if at > size:
            break
    return at


def _matroska_end(head: bytes) -> int:
    """Return where the segment of a Matroska file ends, in bytes; 0 where that is not said."""
    at = 4
    for identity in (None, SEGMENT):
        if identity is not None:
            if head[at : at + 4] != identity:
                return 0
            at += 4
        if at >= len(head) or head[at] == 0:
            return 0
        width = 9 - head[at].bit_length()
        value = int.from_bytes(head[at : at + width], "big") & (1 << 7 * width) - 1
        if value == (1 << 7 * width) - 1:  # unknown, as of a live recording
            return 0
        at += width + value
    return at


class Source:
    """The file that PyAV reads through; places that do not exist are refused in FFmpeg's way, without an exception."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.read = file.read
        self.tell = file.tell

    def seek(self, offset: int, whence: int) -> int:
        try:
            return self.file.seek(offset, whence)
        except OSError:
            return -errno.EINVAL


def best_stream(streams: Sequence[Any]) -> Any:
    """Return the default video stream, else the one with the most frames and pixels; no thumbnails beside a film."""
    frames = [_frame_count(stream) for stream in streams]
    pixels = [
        stream.codec_context.width * stream.codec_context.height if stream.codec_context else 0 for stream in streams
    ]

    def is_thumbnail(at: int) -> bool:
        still = streams[at].disposition & (STILL | THUMBNAILS)
        fewer = any(
            4 * pixels[at] <= pixels[other] and 0 < 2 * frames[at] <= frames[other] for other in range(len(streams))
        )
        tiny = 16 * pixels[at] <= max(pixels)
        return bool(still or (frames[at] == 1 < max(frames)) or fewer or tiny)

    def rank(at: int) -> tuple[bool, bool, int, int]:
        default = bool(streams[at].disposition & av.stream.Disposition.default)
        return not is_thumbnail(at), default, frames[at] * pixels[at], pixels[at]

    return streams[max(range(len(streams)), key=rank)]


STILL, THUMBNAILS = av.stream.Disposition.still_image, av.stream.Disposition.timed_thumbnails


def _frame_count(stream: Any) -> int:
    """Return the number of frames that the container, or length and rate, say a stream has; 0 where neither is said."""
    if stream.frames > 0:
        return int(stream.frames)
    if stream.duration is None or not stream.average_rate or not stream.time_base:
        return 0
    return round(stream.duration * stream.time_base * stream.average_rate)


class Video:
    """The video stream of an open file, and its decoder.

    One thread, so that the frames do not depend on the machine.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.open()

    def open(self) -> None:
        """Begin at the file's beginning, with a fresh decoder."""
        self.file.seek(0)
        options = {
            "format_whitelist": FORMATS,
            "protocol_whitelist": PROTOCOLS,
            "max_pixels": str(LARGEST_PICTURE),
        }
        source: Any = Source(self.file)
        self.container = av.open(source, options=options, metadata_errors="replace", buffer_size=2**16)
        try:
            self.stream = self._choose_stream()
        except BaseException:
            self.container.close()
            raise
        self.used = False

    def _choose_stream(self) -> Any:
        """The video that a player would show; a song has its cover as one."""
        streams: list[Any] = [
            stream
            for stream in self.container.streams.video
            if not stream.disposition & av.stream.Disposition.attached_pic
        ]
        if not streams:
            raise UnreadableError("it has no video stream")
        stream = best_stream([stream for stream in streams if stream.codec_context is not None] or streams)
        self.place = (streams.index(stream) + 1, len(streams))
        codec = stream.codec_context
        if codec is None:
            raise UnreadableError("its codec is unknown here")
        if codec.width * codec.height > LARGEST_PICTURE:
            raise UnreadableError(too_large(codec.width, codec.height))
        for other in self.container.streams:
            if other is not stream:
                other.discard = av.stream.Discard.all
        codec.thread_count = 1
        codec.options = {"max_pixels": str(LARGEST_PICTURE)}
        return stream

    def __enter__(self) -> Video:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.container.close()

    @property
    def counts(self) -> bool:
        """True if a packet of this stream is a frame, and has its frame's timestamp."""
        codec = self.stream.codec_context.codec.canonical_name
        return codec in PACKET_IS_FRAME and bool(self.stream.time_base) and not self.reorders_without_times

    @property
    def reorders_without_times(self) -> bool:
        """AVI has a place for each frame and no times; what FFmpeg makes up is wrong where frames are reordered."""
        return bool(self.container.format.name == "avi" and self.stream.codec_context.has_b_frames)

    def ticks(self, seconds: float) -> int:
        """The first timestamp that is not before ``seconds`` from the file's beginning."""
        begin = self.container.start_time
        base = self.stream.time_base
        origin = (self.stream.start_time or 0) if begin is None else round(Fraction(begin, av.time_base) / base)
        return max(-LATEST, min(LATEST, origin + math.ceil(stretch_limit(seconds) / base)))

    def promised_frames(self) -> int:
        """Return the number of frames that the file says it has; 0 where it says nothing."""
        if self.stream.frames > 0:
            return int(self.stream.frames)
        duration, rate = self.container.duration, self.stream.average_rate
        return round(duration / av.time_base * float(rate)) if duration and duration > 0 and rate else 0

    def seconds(self) -> float:
        """Return the length of the file in seconds, as it says, or else as its packets say; then it begins anew."""
        said = self.container.duration
        if said is not None and said > 0:
            return said / av.time_base
        base = float(self.stream.time_base or 0)
        times = [packet.pts for packet in self.packets() if packet.pts is not None]
        self.container.close()
        self.open()
        return (max(times) - min(times)) * base if times else 0.0

    def packets(self) -> Iterator[Any]:
        """Packets of the stream that hold anything, from where the file is read now."""
        try:
            yield from (packet for packet in self.container.demux(self.stream) if packet.size)
        except IndexError:  # PyAV at the end of a broadcast in which streams came up that were not there when it began
            return

    def seek(self, time: int) -> None:
        """Read on at a key packet at or before ``time``, in ticks, as far as the container knows where that is."""
        self.container.seek(time, stream=self.stream)

    def decode(self, packet: Any) -> list[Any]:
        """Frames that come out when ``packet`` goes in; None for the last ones."""
        self.used = True
        frames: list[Any] = self.stream.codec_context.decode(packet)
        return frames

    def forget(self) -> None:
        """Prepare the decoder for packets that do not follow those it had."""
        if self.used:
            self.stream.codec_context.flush_buffers()

    def frames(self, packets: Sequence[Any] | None = None) -> Iterator[Any]:
        """All frames in order; damaged packets are passed over, as players do.

        ``packets`` are all of the stream's, if they are in memory.
        """
        good = damaged = 0
        for packet in chain(self.packets() if packets is None else packets, [None]):
            try:
                decoded = self.decode(packet)
            except av.error.FFmpegError:
                damaged += 1
                continue
            for frame in decoded:
                good += 1
                yield frame
        if damaged > good:
            raise UnreadableError("more of it is damaged than can be decoded")


def frame_rate(stream: Any, times: np.ndarray) -> float | None:
    """Frames per second: what the stream says, unless its ``times`` (in ticks, growing) say something else."""
    said, measured = stream.average_rate, None
    if len(times) > 1:
        measured = (len(times) - 1) / (int(times[-1]) - int(times[0])) / stream.time_base
    if said is not None and measured is not None and not 0.9 <= said / measured <= 1.1:
        said = None
    for rate in (said, measured):
        if rate is not None and 0 < rate < 10_000:
            return float(rate)
    return None


def uneven_times(stream: Any, times: np.ndarray, rate: float | None) -> np.ndarray | None:
    """Return the seconds at which frames are shown, float64, if counting at ``rate`` is wrong by a frame or more.

    ``times`` are in ticks and growing. None where frames come evenly enough to be counted, as nearly always.
    """
    if len(times) < 2 or rate is None:
        return None
    seconds = (times - times[0]) * float(stream.time_base)
    return seconds if np.abs(seconds * rate - np.arange(len(times))).max() >= 1 else None


def pixel_ratio(stream: Any) -> float:
    """A pixel's width over its height; 1 where that is unknown or absurd."""
    ratio = stream.sample_aspect_ratio
    return float(ratio) if ratio is not None and Fraction(1, 4) <= ratio <= 4 else 1.0
