"""A video file opened: its one stream of pictures, its packets, and its decoder. Nothing of clips is known here.

Files come from strangers: what may be opened, and how large its pictures may be, is decided here.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain
from types import TracebackType
from typing import Any, BinaryIO

import av
import av.error
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


class Source:
    """What PyAV reads a file through; places that do not exist are refused in FFmpeg's way, not with an exception."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.read = file.read
        self.tell = file.tell

    def seek(self, offset: int, whence: int) -> int:
        try:
            return self.file.seek(offset, whence)
        except OSError:
            return -errno.EINVAL


class Video:
    """The first video stream of an open file, and its decoder.

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
        """The first that is a video; a song has its cover as one."""
        streams: list[Any] = [
            stream
            for stream in self.container.streams.video
            if not stream.disposition & av.stream.Disposition.attached_pic
        ]
        if not streams:
            raise UnreadableError("it has no video stream")
        stream = streams[0]
        codec = stream.codec_context
        if codec is None:
            raise UnreadableError("its codec is unknown here")
        if codec.width * codec.height > LARGEST_PICTURE:
            raise UnreadableError("its pictures are too large")
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
        """Whether a packet of this stream is a frame, and has its frame's timestamp."""
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
    """Seconds at which frames are shown, if counting at ``rate`` would tell them wrong by half a frame or more.

    ``times`` are in ticks and growing. None where frames come evenly enough to be counted, as nearly always.
    """
    if len(times) < 2 or rate is None:
        return None
    seconds = (times - times[0]) * float(stream.time_base)
    return seconds if np.abs(seconds * rate - np.arange(len(times))).max() >= 0.5 else None


def pixel_ratio(stream: Any) -> float:
    """A pixel's width over its height; 1 where that is unknown or absurd."""
    ratio = stream.sample_aspect_ratio
    return float(ratio) if ratio is not None and Fraction(1, 4) <= ratio <= 4 else 1.0
