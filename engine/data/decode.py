"""One video in, clips of one size out.

All that FFmpeg decodes for training data is decoded here; ``pictures`` makes it square. Real files lie (about their
length), are broken, or try to name other files; whatever a file does, the answer is either clips or a
:class:`SkippedVideo` that says why in plain words.

A clip needs a few frames of a video, and which ones depends on how many there are. The packets tell that without
decoding, if the file is regular (:class:`_Track`): then only what the wanted frames rest on is decoded, and each frame
that comes out is checked against the packets' timestamps. A file that is not, or that fails the check, is decoded from
its first frame to its last, and counted.
"""

from __future__ import annotations

import errno
import math
import os
import stat
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import av
import av.error
import numpy as np
from av.video.frame import PictureType

from engine.data.layouts.base import VideoEntry
from engine.data.layouts.folders import frame_files
from engine.data.layouts.scan import OUTSIDE
from engine.data.pictures import Pictures, Squarer
from engine.data.sampling import Sampling

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

SMALLEST_MPEG4 = 20
"""Bytes. A smaller packet of MPEG-4 may be no frame, but the gap that a packet with two frames leaves (packed DivX; the
limit is FFmpeg's, MAX_NVOP_SIZE)."""

HOLD_BYTES = 64 * 2**20
"""Packets kept in memory between counting and decoding; those of a larger file are read again."""

LARGEST_PICTURE = 40_000_000
"""Pixels; 7680 x 4320 are 33 million. A header may claim any size, and FFmpeg reserves memory for it."""

MOST_PACKETS = 4_000_000
"""More than a day of video at 45 frames per second."""

CLIP_BYTES = 2**30
"""Clips of one video, which are in memory together."""

NO_TIME = -(2**63)
LATEST = 2**62
"""In ticks; no file has such times, and a stretch that begins there is empty."""


@dataclass(frozen=True)
class DecodedVideo:
    """Clips of one video."""

    clips: np.ndarray
    """uint8 (clips, T, S, S, 3), RGB."""
    indices: np.ndarray
    """int32 (clips, T): which frames of the video they show. Of a stretch of a file, frame 0 is the stretch's first."""
    length: int
    """Frames in the whole video (the stretch), counted without decoding where that can be trusted."""
    rate: float | None = None
    """Frames per second; None where it is neither known nor needed."""


@dataclass(frozen=True)
class SkippedVideo:
    """A video that gave no clips, and why: one line in plain words, nothing taken from inside the file."""

    reason: str


def read_video(entry: VideoEntry, sampling: Sampling, root: Path | None = None) -> DecodedVideo | SkippedVideo:
    """Decode the clips of ``entry``: of a video file, a folder of images, or a stretch of time of either.

    Nothing outside of ``root`` is read, not even through a link; None allows everything.

    A stretch has the frames whose time t is start <= t < end, in seconds from the file's beginning as players count
    them. Pictures are turned and mirrored as the file says that they are to be shown (by right angles), then made
    square: see :class:`Sampling`. With ``published``, a frame whose own size is S x S is taken as it is, neither
    resized nor cropped: demo videos and data that was cropped before would lose their border otherwise.
    """
    try:
        path = _inside(entry.path, root)
        if entry.path.is_dir():
            return _read_folder(path, entry, sampling, root)
        with _open_file(path) as file:
            return _read_file(file, entry, sampling)
    except _UnreadableError as error:
        return SkippedVideo(str(error))
    except MemoryError:
        return SkippedVideo("its frames do not fit into memory")
    except (av.error.FFmpegError, ValueError):
        return SkippedVideo("it is damaged, or not a video that can be read here")
    except FileNotFoundError:
        return SkippedVideo("the file is missing")
    except PermissionError:
        return SkippedVideo("no permission to read it")
    except OSError as error:
        return SkippedVideo(f"it cannot be read from the disk ({error.strerror or 'read error'})")


class _UnreadableError(Exception):
    """A reason to skip that FFmpeg has no error for."""


class _IrregularError(Exception):
    """The packets promised other frames than came out of the decoder: all must be decoded and counted."""


def _inside(path: Path, root: Path | None) -> Path:
    """``path`` without links, if that is inside of ``root``."""
    if root is None:
        return path
    real = Path(os.path.realpath(path, strict=True))
    if not real.is_relative_to(os.path.realpath(root)):
        raise _UnreadableError(OUTSIDE)
    return real


def _open_file(path: Path) -> BinaryIO:
    """Open an ordinary file; a pipe or a device would hang, or never end.

    FFmpeg gets the open file without its name and may open none itself: a "video" may name another file, or an address
    in the network, and what is in a file decides what it is.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise _UnreadableError("it is not an ordinary file")
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # not to hang if it became a pipe meanwhile
    file = os.fdopen(number, "rb", buffering=0)
    if os.fstat(number).st_size == 0:
        file.close()
        raise _UnreadableError("the file is empty")
    return file


def _indices(length: int, rate: float | None, entry: VideoEntry, sampling: Sampling) -> np.ndarray:
    """Which frames the clips are made of; refuses more clips than fit into memory."""
    indices = sampling.indices(length, rate=rate, split=entry.split, name=entry.name)
    if 3 * indices.size * sampling.size**2 > max(CLIP_BYTES, 3 * sampling.frames * sampling.size**2):
        raise _UnreadableError(f"its {len(indices)} clips do not fit into memory; take fewer, or a larger --stride")
    return indices


# ---------------------------------------------------------------- folders of images


def _read_folder(path: Path, entry: VideoEntry, sampling: Sampling, root: Path | None) -> DecodedVideo | SkippedVideo:
    files = frame_files(path)
    if not files:
        return SkippedVideo("the folder holds no images")
    rate = sampling.folder_fps
    if rate is None and (sampling.needs_rate or (entry.start, entry.end) != (None, None)):
        return SkippedVideo("images do not say how many are shown per second; give --folder-fps")
    first, last = _stretch_of_frames(entry, len(files), rate)
    indices = _indices(last - first, rate, entry, sampling)
    pictures = Pictures(indices + first, Squarer(sampling))
    for number in pictures.numbers.tolist():
        try:
            with _open_file(_inside(files[number], root)) as file, _Video(file) as video:
                frame = next(video.frames(), None)
            if frame is None:
                raise ValueError
            pictures.offer(number, frame)
        except _UnreadableError as error:
            return SkippedVideo(f"image {number + 1} of {len(files)}: {error}")
        except (av.error.FFmpegError, ValueError):
            return SkippedVideo(f"image {number + 1} of {len(files)} cannot be decoded")
    return DecodedVideo(pictures.clips(indices + first), indices, last - first, rate)


def _stretch_of_frames(entry: VideoEntry, length: int, rate: float | None) -> tuple[int, int]:
    """Numbers of the first frame of the stretch and of the first after it, if frame i is shown at i / rate."""
    first, last = 0, length
    if entry.start is not None:
        assert rate is not None
        first = max(first, math.ceil(Fraction(rate) * (_seconds(entry.start))))
    if entry.end is not None:
        assert rate is not None
        last = min(last, math.ceil(Fraction(rate) * (_seconds(entry.end))))
    if first >= last:
        raise _UnreadableError(_no_frames(entry))
    return first, last


def _seconds(time: float) -> Fraction:
    """A limit of a stretch, a microsecond early: 0.1 is more than a tenth as a float, and means the frame there."""
    if not math.isfinite(time):
        raise _UnreadableError("its stretch of time is no number")
    return Fraction(time) - Fraction(1, 10**6)


def _no_frames(entry: VideoEntry) -> str:
    start = f"from {entry.start:g} s" if entry.start is not None else "from its beginning"
    end = f"to {entry.end:g} s" if entry.end is not None else "to its end"
    return f"it has no frames {start} {end}"


# ---------------------------------------------------------------- files


class _Source:
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


class _Video:
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
        source: Any = _Source(self.file)
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
            raise _UnreadableError("it has no video stream")
        stream = streams[0]
        codec = stream.codec_context
        if codec is None:
            raise _UnreadableError("its codec is unknown here")
        if codec.width * codec.height > LARGEST_PICTURE:
            raise _UnreadableError("its pictures are too large")
        for other in self.container.streams:
            if other is not stream:
                other.discard = av.stream.Discard.all
        codec.thread_count = 1
        codec.options = {"max_pixels": str(LARGEST_PICTURE)}
        return stream

    def __enter__(self) -> _Video:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.container.close()

    @property
    def counts(self) -> bool:
        """Whether a packet of this stream is a frame, and has its frame's timestamp."""
        codec = self.stream.codec_context
        reordered = self.is_avi and codec.has_b_frames
        return codec.codec.canonical_name in PACKET_IS_FRAME and bool(self.stream.time_base) and not reordered

    @property
    def is_avi(self) -> bool:
        """AVI has a constant rate and no times of frames; what FFmpeg makes up is wrong where they are reordered."""
        return bool(self.container.format.name == "avi")

    def ticks(self, seconds: float) -> int:
        """The first timestamp that is not before ``seconds`` from the file's beginning."""
        begin = self.container.start_time
        base = self.stream.time_base
        origin = (self.stream.start_time or 0) if begin is None else round(Fraction(begin, av.time_base) / base)
        return max(-LATEST, min(LATEST, origin + math.ceil(_seconds(seconds) / base)))

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
            raise _UnreadableError("more of it is damaged than can be decoded")


def _read_file(file: BinaryIO, entry: VideoEntry, sampling: Sampling) -> DecodedVideo:
    with _Video(file) as video:
        track = _survey(video, entry)
        if track.regular:
            try:
                return _read_wanted(video, track, entry, sampling)
            except (_IrregularError, av.error.FFmpegError):
                pass
        if video.used or track.packets is None or not track.whole:
            video.container.close()
            video.open()
            return _read_all(video, None, len(track.times), entry, sampling)
        return _read_all(video, track.packets, len(track.times), entry, sampling)


# ---------------------------------------------------------------- regular files: decode what is wanted


@dataclass(frozen=True)
class _Track:
    """What the packets of a stream, or of its part around a stretch of time, say before any is decoded.

    The arrays are in the order of the packets, which is that of decoding; sorting the times gives the order of the
    frames.
    """

    times: np.ndarray
    """int64, presentation timestamps in the stream's ticks."""
    reads: np.ndarray
    """int64, decoding timestamps, by which containers are searched."""
    keys: np.ndarray
    """bool: decoding can begin here."""
    shown: np.ndarray
    """bool: not cut away by an edit list."""
    packets: list[Any] | None
    """None where they are too many to hold."""
    lower: int | None
    """The stretch begins here, if it does not at the first frame..."""
    upper: int | None
    """...and ends before this."""
    whole: bool
    """Whether these are all packets of the file."""
    regular: bool
    """Whether each shown packet is one frame, with the packet's timestamp."""

    @cached_property
    def frame_times(self) -> np.ndarray:
        """Timestamps of all frames, in their order."""
        return np.sort(self.times[self.shown])

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self.times)

    @cached_property
    def _key_positions(self) -> np.ndarray:
        return np.flatnonzero(self.keys)

    def entry_point(self, time: int) -> int:
        """The packet at which decoding must begin for the frame at ``time``.

        That is the last key packet that is neither decoded nor shown after it; frames that are decoded after a key
        packet but shown before it rest on packets before it (open groups of pictures).
        """
        position = self._order[np.searchsorted(self.times, time, sorter=self._order)]
        for key in reversed(range(int(np.searchsorted(self._key_positions, position, "right")))):
            if self.times[self._key_positions[key]] <= time:
                return int(self._key_positions[key])
        raise _IrregularError


def _survey(video: _Video, entry: VideoEntry) -> _Track:
    """Read the packets of the video; of a stretch only those around it, if the file can be searched for it."""
    if not video.counts:
        return _collect(video, None, None)
    lower = None if entry.start is None else video.ticks(entry.start)
    upper = None if entry.end is None else video.ticks(entry.end)
    if lower is not None and entry.start is not None and entry.start > 1:
        try:
            video.seek(video.ticks(entry.start - 1))  # containers are searched by decoding times, which are earlier
            track = _collect(video, lower, upper, searched=True)
        except av.error.FFmpegError:
            pass
        else:
            if track.regular:
                return track
        video.container.close()
        video.open()
    return _collect(video, lower, upper)


def _collect(video: _Video, lower: int | None, upper: int | None, searched: bool = False) -> _Track:
    """Read packets from where the file is read now, which is its beginning unless it was ``searched``, to the end of
    the stretch."""
    times, reads, keys, shown = array("q"), array("q"), bytearray(), bytearray()
    whole = not searched
    packets: list[Any] | None = []
    held, smallest, sound = 0, SMALLEST_MPEG4, True
    for packet in video.packets():
        time, read, size = packet.pts, packet.dts, packet.size
        if upper is not None and read is not None and read >= upper:
            whole = False
            break
        if len(times) == MOST_PACKETS:
            raise _UnreadableError(f"it has more than {MOST_PACKETS} frames")
        times.append(NO_TIME if time is None else time)
        reads.append(NO_TIME if read is None else read)
        keys.append(packet.is_keyframe)
        shown.append(not packet.is_discard)
        sound = sound and time is not None and not packet.is_corrupt
        smallest, held = min(smallest, size), held + size
        if held > HOLD_BYTES:
            packets = None
        elif packets is not None:
            packets.append(packet)
    track = _Track(
        times=np.array(times, np.int64),
        reads=np.array(reads, np.int64),
        keys=np.array(keys, bool),
        shown=np.array(shown, bool),
        packets=packets,
        lower=lower,
        upper=upper,
        whole=whole,
        regular=False,
    )
    codec = video.stream.codec_context.codec.canonical_name
    sound = sound and video.counts and (codec != "mpeg4" or smallest >= SMALLEST_MPEG4)
    return replace(track, regular=sound and _begins_well(track, searched))


def _begins_well(track: _Track, searched: bool) -> bool:
    """Whether decoding can begin at the first packet without losing a frame, and all times differ."""
    if not len(track.times) or not track.keys[0] or not track.shown.any():
        return False
    first, earliest = int(track.times[0]), int(track.times.min())
    covered = first == earliest and not searched
    covered |= track.lower is not None and first <= track.lower
    return covered and len(np.unique(track.times)) == len(track.times)


def _read_wanted(video: _Video, track: _Track, entry: VideoEntry, sampling: Sampling) -> DecodedVideo:
    """Decode only what the clips rest on; raises :class:`_IrregularError` if the track was wrong."""
    times = track.frame_times
    first = 0 if track.lower is None else int(np.searchsorted(times, track.lower))
    last = len(times) if track.upper is None else int(np.searchsorted(times, track.upper))
    inside = times[first:last]
    if not len(inside):
        raise _UnreadableError(_no_frames(entry))
    rate = _rate(video.stream, inside)
    _require_rate(rate, sampling)
    indices = _indices(len(inside), rate, entry, sampling)
    pictures = Pictures(indices, Squarer(sampling, _stretched(video.stream)))
    wanted = deque(zip(pictures.numbers.tolist(), inside[pictures.numbers].tolist(), strict=True))
    while wanted:
        _decode_run(video, track, times, wanted, pictures)
    return DecodedVideo(pictures.clips(indices), indices, len(inside), rate)


def _decode_run(
    video: _Video, track: _Track, times: np.ndarray, wanted: deque[tuple[int, int]], pictures: Pictures
) -> None:
    """Decode from where the first of ``wanted`` (number, time) can be reached to where skipping to the next pays.

    ``times`` are those of all frames: each that comes out must be the next one.
    """
    position = track.entry_point(wanted[0][1])
    begin = int(track.times[position])
    expected = int(np.searchsorted(times, begin))
    video.forget()
    for packet in chain(_packets_from(video, track, position), [None]):
        for frame in video.decode(packet):
            if expected == len(times) or frame.pts != times[expected] or frame.is_corrupt:
                raise _IrregularError
            if frame.pts == begin and frame.pict_type != PictureType.I:  # marked as a key, and is none
                raise _IrregularError
            expected += 1
            if frame.pts == wanted[0][1]:
                pictures.offer(wanted.popleft()[0], frame)
                if not wanted or track.entry_point(wanted[0][1]) > position + 1:
                    return
        position += 1
    raise _IrregularError


def _packets_from(video: _Video, track: _Track, position: int) -> Iterator[Any]:
    """The track's packets from ``position`` on."""
    if track.packets is not None:
        yield from track.packets[position:]
        return
    packets = _find_packet(video, track, position)
    for expected in track.times[position:].tolist():
        packet = next(packets, None)
        if packet is None or packet.pts != expected:
            raise _IrregularError
        yield packet


def _find_packet(video: _Video, track: _Track, position: int) -> Iterator[Any]:
    """Read the file on from the packet at ``position``, found by searching or else by reading from the beginning."""
    time = int(track.times[position])
    for target in (track.reads[position], track.reads[: position + 1].min()):
        video.seek(time if target == NO_TIME else int(target))
        packets = video.packets()
        for packet in packets:
            if packet.pts == time:
                return chain([packet], packets)
            if packet.dts is not None and packet.dts > time:
                break
    raise _IrregularError


def _rate(stream: Any, times: np.ndarray) -> float | None:
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


def _require_rate(rate: float | None, sampling: Sampling) -> None:
    if rate is None and sampling.needs_rate:
        raise _UnreadableError("it does not say how many frames it shows per second")


def _stretched(stream: Any) -> float:
    """A pixel's width over its height; 1 where that is unknown or absurd."""
    ratio = stream.sample_aspect_ratio
    return float(ratio) if ratio is not None and Fraction(1, 4) <= ratio <= 4 else 1.0


# ---------------------------------------------------------------- other files: decode everything


def _read_all(
    video: _Video, packets: list[Any] | None, expected: int, entry: VideoEntry, sampling: Sampling
) -> DecodedVideo:
    """Decode and count every frame.

    Scaling costs as much as decoding and only few frames are wanted, but which ones is known at the end. So those are
    kept that would be wanted if there were as many frames as packets, or one less (the usual "packed" DivX file); if
    that was wrong, the file is decoded again.
    """
    squarer = Squarer(sampling, _stretched(video.stream))
    pictures = Pictures(_likely(video, expected, entry, sampling), squarer)
    times = array("q")
    for frame in video.frames(packets):
        pictures.offer(len(times), frame)
        times.append(NO_TIME if frame.pts is None else frame.pts)
    if not times:
        raise _UnreadableError("it has no frame that can be decoded")
    first, last, rate = _stretch_of_file(video, np.array(times, np.int64), entry)
    _require_rate(rate, sampling)
    indices = _indices(last - first, rate, entry, sampling)
    if not pictures.has(indices + first):
        pictures = Pictures(indices + first, squarer)
        video.container.close()
        video.open()
        for number, frame in enumerate(video.frames()):
            pictures.offer(number, frame)
            if not pictures.missing:
                break
        if pictures.missing:
            raise _UnreadableError("it changed while it was read")
    return DecodedVideo(pictures.clips(indices + first), indices, last - first, rate)


def _likely(video: _Video, expected: int, entry: VideoEntry, sampling: Sampling) -> np.ndarray:
    """Frames that are wanted if the file has as many as ``expected``; none where too little is known."""
    rate = _rate(video.stream, np.empty(0, np.int64))
    if (entry.start, entry.end) != (None, None) or (rate is None and sampling.needs_rate):
        return np.empty(0, np.int64)
    lengths = {max(1, expected), max(1, expected - 1)}
    try:
        return np.concatenate([_indices(length, rate, entry, sampling).ravel() for length in lengths])
    except _UnreadableError:
        return np.empty(0, np.int64)


def _stretch_of_file(video: _Video, times: np.ndarray, entry: VideoEntry) -> tuple[int, int, float | None]:
    """First frame of the stretch, first after it, frames per second; by the frames' ``times`` if they make sense."""
    growing = times[0] != NO_TIME and bool((np.diff(times) > 0).all())
    if growing and video.stream.time_base and not video.is_avi:
        rate = _rate(video.stream, times)
        first = 0 if entry.start is None else int(np.searchsorted(times, video.ticks(entry.start)))
        last = len(times) if entry.end is None else int(np.searchsorted(times, video.ticks(entry.end)))
        if first >= last:
            raise _UnreadableError(_no_frames(entry))
        return first, last, rate
    rate = _rate(video.stream, np.empty(0, np.int64))
    if rate is None and (entry.start, entry.end) != (None, None):
        raise _UnreadableError("it does not say when its frames are shown")
    return *_stretch_of_frames(entry, len(times), rate), rate
