"""One video in, clips of one size out.

All that FFmpeg decodes for training data is decoded here; ``container`` opens the file, ``pictures`` makes the frames
square. Real files lie (about their length), are broken, or try to name other files; whatever a file does, the answer is
either clips or a :class:`SkippedVideo` that says why in plain words.

A clip needs a few frames of a video, and which ones depends on how many there are. The packets tell that without
decoding, if the file is regular (:class:`_Track`): then only what the wanted frames rest on is decoded, and each frame
that comes out is checked against the packets' timestamps. A file that is not, or that fails the check, is decoded from
its first frame to its last, and counted.
"""

from __future__ import annotations

import math
import os
import stat
from array import array
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import av
import av.error
import numpy as np
from av.video.frame import PictureType

from engine.data.container import (
    UnreadableError,
    Video,
    frame_rate,
    is_cut_off,
    oversize,
    pixel_ratio,
    stretch_limit,
    uneven_times,
)
from engine.data.layouts.base import VideoEntry
from engine.data.layouts.frames import SeveralSeriesError, frames_of
from engine.data.layouts.scan import OUTSIDE
from engine.data.looks import exif_orientation
from engine.data.pictures import Pictures, Squarer, has_exif
from engine.data.sampling import Sampling

SMALLEST_MPEG4 = 20
"""Bytes. A smaller packet of MPEG-4 may be no frame, but the gap that a packet with two frames leaves (packed DivX; the
limit is FFmpeg's, MAX_NVOP_SIZE)."""

HOLD_BYTES = 64 * 2**20
"""Packets kept in memory between counting and decoding; those of a larger file are read again."""

MOST_PACKETS = 4_000_000
"""More than a day of video at 45 frames per second."""

CLIP_BYTES = 2**30
"""Clips of one video, which are in memory together."""

NO_TIME = -(2**63)
"""In ticks; no file has such a time."""


class Remark(NamedTuple):
    """Something that a user should know of a video that gave clips."""

    kind: str
    """A key of :data:`REMARKS`."""
    detail: str = ""
    """The particulars of this video."""


REMARKS = {
    "cut": ("video ends early", "videos end early"),
    "hdr": (
        "video is of high dynamic range and is shown as ordinary video",
        "videos are of high dynamic range and are shown as ordinary video",
    ),
    "colours": (
        "video has colours that are not converted right here",
        "videos have colours that are not converted right",
    ),
    "streams": ("video has several streams, of which one is used", "videos have several streams, of which one is used"),
    "series": ("folder holds images that are no frames of it", "folders hold images that are no frames of them"),
}
"""The words for one video, and for several, after their number."""

SEEN = {"hdr": "hdr", "colours": "odd_colours"}
"""Kinds of remarks -> what :class:`Squarer` calls them."""


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
    remarks: tuple[Remark, ...] = ()
    rules: tuple[str, ...] = ()
    """Names of rules by which these pictures differ from those of versions that did not know them: a fingerprint must
    tell the two apart."""


BY_TIMES = "frames by their times"
""":attr:`DecodedVideo.rules`: frames at a rate were counted before, also where they do not come evenly."""


@dataclass(frozen=True)
class _Clock:
    """When the frames of a video, or of a stretch, are shown."""

    rate: float | None
    """Frames per second; None where that is unknown."""
    times: np.ndarray | None = None
    """Seconds, float64, of frames that do not come evenly; None of those that do."""

    @classmethod
    def of(cls, stream: Any, ticks: np.ndarray) -> _Clock:
        """The clock of frames with these growing timestamps."""
        rate = frame_rate(stream, ticks)
        times = uneven_times(stream, ticks, rate)
        return cls(rate) if times is None else cls((len(times) - 1) / float(times[-1]), times)

    def rules(self, sampling: Sampling) -> tuple[str, ...]:
        return (BY_TIMES,) if sampling.needs_rate and self.times is not None else ()


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
        with _open_file(path) as file, _sizes_told(file):
            return _read_file(file, entry, sampling)
    except UnreadableError as error:
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


@contextmanager
def _sizes_told(file: BinaryIO) -> Iterator[None]:
    """Say of a file that fails that its pictures are too large, if they are."""
    try:
        yield
    except (UnreadableError, av.error.FFmpegError, ValueError) as error:
        if reason := oversize(file):
            raise UnreadableError(reason) from error
        raise


class _IrregularError(Exception):
    """The packets promised other frames than came out of the decoder: all must be decoded and counted."""


def _inside(path: Path, root: Path | None) -> Path:
    """``path`` without links, if that is inside of ``root``."""
    if root is None:
        return path
    real = Path(os.path.realpath(path, strict=True))
    if not real.is_relative_to(os.path.realpath(root)):
        raise UnreadableError(OUTSIDE)
    return real


def _open_file(path: Path) -> BinaryIO:
    """Open an ordinary file; a pipe or a device would hang, or never end.

    FFmpeg gets the open file without its name and may open none itself: a "video" may name another file, or an address
    in the network, and what is in a file decides what it is.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise UnreadableError("it is not an ordinary file")
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # not to hang if it became a pipe meanwhile
    file = os.fdopen(number, "rb", buffering=0)
    if os.fstat(number).st_size == 0:
        file.close()
        raise UnreadableError("the file is empty")
    return file


def _indices(length: int, clock: _Clock, entry: VideoEntry, sampling: Sampling) -> np.ndarray:
    """Which frames the clips are made of; refuses more clips than fit into memory."""
    if clock.rate is None and sampling.needs_rate:
        raise UnreadableError("it does not say how many frames it shows per second")
    indices = sampling.indices(length, rate=clock.rate, times=clock.times, split=entry.split, name=entry.name)
    if 3 * indices.size * sampling.size**2 > max(CLIP_BYTES, 3 * sampling.frames * sampling.size**2):
        raise UnreadableError(f"its {len(indices)} clips do not fit into memory; take fewer, or a larger --stride")
    return indices


# ---------------------------------------------------------------- folders of images


def _read_folder(path: Path, entry: VideoEntry, sampling: Sampling, root: Path | None) -> DecodedVideo | SkippedVideo:
    try:
        found = frames_of(path)
    except SeveralSeriesError as error:
        return SkippedVideo(str(error))
    files = found.files
    if not files:
        return SkippedVideo("the folder holds no images")
    rate = sampling.folder_fps
    if rate is None and (sampling.needs_rate or (entry.start, entry.end) != (None, None)):
        return SkippedVideo("images do not say how many are shown per second; give --folder-fps")
    rules: tuple[str, ...] = ()
    if entry.within is not None and rate is not None and _is_longer(len(files) / rate, *entry.within):
        start, end = entry.within
        entry, rules = replace(entry, start=start, end=end), (f"cut to {start:g}-{end:g}",)
    first, last = _stretch_of_frames(entry, len(files), rate)
    indices = _indices(last - first, _Clock(rate), entry, sampling)
    pictures = Pictures(indices + first, Squarer(sampling))
    for number in pictures.numbers.tolist():
        try:
            with _open_file(_inside(files[number], root)) as file, _sizes_told(file), Video(file) as video:
                frame = next(video.frames(), None)
                if frame is None:
                    raise ValueError
                pictures.offer(number, frame, exif_orientation(file) if has_exif(frame) else None)
        except UnreadableError as error:
            return SkippedVideo(f"image {number + 1} of {len(files)}: {error}")
        except (av.error.FFmpegError, ValueError):
            return SkippedVideo(f"image {number + 1} of {len(files)} cannot be decoded")
    series = (Remark("series", ", ".join(found.others)),) if found.others else ()
    return _decoded(pictures, indices, first, last - first, _Clock(rate), sampling, series, rules)


def _decoded(
    pictures: Pictures,
    indices: np.ndarray,
    first: int,
    length: int,
    clock: _Clock,
    sampling: Sampling,
    remarks: tuple[Remark, ...] = (),
    rules: tuple[str, ...] = (),
) -> DecodedVideo:
    """The clips of ``indices`` (clips, T), counted from ``first``; with what is to be told of how they were made."""
    squarer = pictures.squarer
    remarks = (*remarks, *(Remark(kind) for kind in ("hdr", "colours") if getattr(squarer, SEEN[kind])))
    rules = (*rules, *clock.rules(sampling), *(name for name in ("hdr", "mirrored") if getattr(squarer, name)))
    return DecodedVideo(pictures.clips(indices + first), indices, length, clock.rate, remarks, rules)


def _stretch_of_frames(entry: VideoEntry, length: int, rate: float | None) -> tuple[int, int]:
    """Numbers of the first frame of the stretch and of the first after it, if frame i is shown at i / rate."""
    first, last = entry.frames or (0, None)
    last = length if last is None else min(length, last)
    if entry.start is not None:
        assert rate is not None
        first = max(first, math.ceil(Fraction(rate) * (stretch_limit(entry.start))))
    if entry.end is not None:
        assert rate is not None
        last = min(last, math.ceil(Fraction(rate) * (stretch_limit(entry.end))))
    if first >= last:
        raise UnreadableError(_no_frames(entry))
    return first, last


def _no_frames(entry: VideoEntry) -> str:
    if entry.frames is not None:
        return f"it has no frames from number {entry.frames[0]} on"
    start = f"from {entry.start:g} s" if entry.start is not None else "from its beginning"
    end = f"to {entry.end:g} s" if entry.end is not None else "to its end"
    return f"it has no frames {start} {end}"


# ---------------------------------------------------------------- files


def _read_file(file: BinaryIO, entry: VideoEntry, sampling: Sampling) -> DecodedVideo:
    with Video(file) as video:
        if entry.within is not None and _is_longer(video.seconds(), *entry.within):
            start, end = entry.within
            found = _read_stretch(video, replace(entry, start=start, end=end, within=None), sampling)
            found = replace(found, rules=(*found.rules, f"cut to {start:g}-{end:g}"))
        else:
            found = _read_stretch(video, entry, sampling)
            found = _tell_loss(video, file, entry, found)
        return _tell_stream(video, found)


def _tell_loss(video: Video, file: BinaryIO, entry: VideoEntry, found: DecodedVideo) -> DecodedVideo:
    """``found``, with a remark if the file ends before its last frame, as a download that broke off."""
    lost = video.promised_frames() - found.length
    if (entry.start, entry.end, entry.frames) != (None, None, None) or lost <= 0 or not is_cut_off(file):
        return found
    remark = Remark("cut", f"{lost} of {lost + found.length} frames are missing")
    return replace(found, remarks=(*found.remarks, remark))


def _tell_stream(video: Video, found: DecodedVideo) -> DecodedVideo:
    """``found``, with a remark if the file has several videos."""
    place, count = video.place
    if count == 1:
        return found
    codec = video.stream.codec_context
    remark = Remark("streams", f"number {place} of {count}, {codec.width} x {codec.height}")
    rules = found.rules if place == 1 else (*found.rules, f"stream {place}")
    return replace(found, remarks=(*found.remarks, remark), rules=rules)


def _read_stretch(video: Video, entry: VideoEntry, sampling: Sampling) -> DecodedVideo:
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


def _is_longer(seconds: float, start: float, end: float) -> bool:
    """Return whether a file of ``seconds`` is longer than its stretch from ``start`` to ``end``: not yet cut to it.

    A file is cut at key frames, so it may be a little longer; one that is much longer and does not reach the stretch is
    another video: :class:`UnreadableError`.
    """
    if seconds <= end - start + 1:
        return False
    if seconds >= end - 1:
        return True
    if seconds > 1.5 * (end - start):
        raise UnreadableError(f"it is {seconds:.0f} s long, neither cut to {start:g}-{end:g} s nor reaching that")
    return False


# ---------------------------------------------------------------- regular files: decode what is wanted


@dataclass(frozen=True)
class _Track:
    """The facts that the packets of a stream, or of its part around a stretch of time, give before any is decoded.

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
    """True if these are all packets of the file."""
    regular: bool
    """True if each shown packet is one frame, with the packet's timestamp."""

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


def _survey(video: Video, entry: VideoEntry) -> _Track:
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


def _collect(video: Video, lower: int | None, upper: int | None, searched: bool = False) -> _Track:
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
            raise UnreadableError(f"it has more than {MOST_PACKETS} frames")
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
    """Return whether decoding can begin at the first packet without losing a frame, and all times differ."""
    if not len(track.times) or not track.keys[0] or not track.shown.any():
        return False
    first, earliest = int(track.times[0]), int(track.times.min())
    covered = first == earliest and not searched
    covered |= track.lower is not None and first <= track.lower
    return covered and len(np.unique(track.times)) == len(track.times)


def _read_wanted(video: Video, track: _Track, entry: VideoEntry, sampling: Sampling) -> DecodedVideo:
    """Decode only what the clips rest on; raises :class:`_IrregularError` if the track was wrong."""
    times = track.frame_times
    first, last = _stretch_of_times(times, track.lower, track.upper, entry)
    inside = times[first:last]
    clock = _Clock.of(video.stream, inside)
    indices = _indices(len(inside), clock, entry, sampling)
    pictures = Pictures(indices, Squarer(sampling, pixel_ratio(video.stream)))
    wanted = deque(zip(pictures.numbers.tolist(), inside[pictures.numbers].tolist(), strict=True))
    while wanted:
        _decode_run(video, track, times, wanted, pictures)
    return _decoded(pictures, indices, 0, len(inside), clock, sampling)


def _decode_run(
    video: Video, track: _Track, times: np.ndarray, wanted: deque[tuple[int, int]], pictures: Pictures
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


def _packets_from(video: Video, track: _Track, position: int) -> Iterator[Any]:
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


def _find_packet(video: Video, track: _Track, position: int) -> Iterator[Any]:
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


# ---------------------------------------------------------------- other files: decode everything


def _read_all(
    video: Video, packets: list[Any] | None, expected: int, entry: VideoEntry, sampling: Sampling
) -> DecodedVideo:
    """Decode and count every frame.

    Scaling costs as much as decoding and only few frames are wanted, but which ones is known at the end. So those are
    kept that would be wanted if there were as many frames as packets, or one less (the usual "packed" DivX file); if
    that was wrong, the file is decoded again.
    """
    squarer = Squarer(sampling, pixel_ratio(video.stream))
    pictures = Pictures(_likely(video, expected, entry, sampling), squarer)
    times = array("q")
    for frame in video.frames(packets):
        pictures.offer(len(times), frame)
        times.append(NO_TIME if frame.pts is None else frame.pts)
    if not times:
        raise UnreadableError("it has no frame that can be decoded")
    first, last, clock = _stretch_of_file(video, np.array(times, np.int64), entry)
    indices = _indices(last - first, clock, entry, sampling)
    if not pictures.has(indices + first):
        pictures = Pictures(indices + first, squarer)
        video.container.close()
        video.open()
        for number, frame in enumerate(video.frames()):
            pictures.offer(number, frame)
            if not pictures.missing:
                break
        if pictures.missing:
            raise UnreadableError("it changed while it was read")
    return _decoded(pictures, indices, first, last - first, clock, sampling)


def _likely(video: Video, expected: int, entry: VideoEntry, sampling: Sampling) -> np.ndarray:
    """Frames that are wanted if the file has as many as ``expected``; none where too little is known."""
    rate = frame_rate(video.stream, np.empty(0, np.int64))
    if (entry.start, entry.end, entry.frames) != (None, None, None) or (rate is None and sampling.needs_rate):
        return np.empty(0, np.int64)
    lengths = {max(1, expected), max(1, expected - 1)}
    try:
        return np.concatenate([_indices(length, _Clock(rate), entry, sampling).ravel() for length in lengths])
    except UnreadableError:
        return np.empty(0, np.int64)


def _stretch_of_times(times: np.ndarray, lower: int | None, upper: int | None, entry: VideoEntry) -> tuple[int, int]:
    """Numbers of the first frame of the stretch and of the first after it; limits and growing ``times`` in ticks."""
    first, end = entry.frames or (0, None)
    last = len(times) if end is None else min(len(times), end)
    first = first if lower is None else int(np.searchsorted(times, lower))
    last = last if upper is None else int(np.searchsorted(times, upper))
    if first >= last:
        raise UnreadableError(_no_frames(entry))
    return first, last


def _stretch_of_file(video: Video, times: np.ndarray, entry: VideoEntry) -> tuple[int, int, _Clock]:
    """First frame of the stretch, first after it, and their clock; by the frames' ``times`` if they make sense."""
    growing = times[0] != NO_TIME and bool((np.diff(times) > 0).all())
    if growing and video.stream.time_base and not video.reorders_without_times:
        lower, upper = (None if at is None else video.ticks(at) for at in (entry.start, entry.end))
        first, last = _stretch_of_times(times, lower, upper, entry)
        return first, last, _Clock.of(video.stream, times[first:last])
    rate = frame_rate(video.stream, np.empty(0, np.int64))
    if rate is None and (entry.start, entry.end) != (None, None):
        raise UnreadableError("it does not say when its frames are shown")
    return *_stretch_of_frames(entry, len(times), rate), _Clock(rate)
