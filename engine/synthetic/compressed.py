"""Sets in compressed files, and real clips in as many bytes as a set: what is trained on is what was decoded.

"Instances per class" hides bytes, and bytes of float32 hide that nobody stores videos so. Here a set becomes one file
whose every memory is stored as it says, through a codec if it says so, and the file's length is what counts: labels,
hallucinators, class names and all. Decoding takes nothing but the file. If a size were estimated, or a set trained on
before it went through its codec, the comparison at equal bytes would be between things that nobody can hand over.

``Storage`` names a way to store, ``encode_set`` and ``decode_set`` go there and back, ``compressed_clips`` and
``equal_bytes`` make the rival of a set: as many real clips as its bytes can hold.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import features
from safetensors import SafetensorError
from safetensors.torch import load, save

from engine.config.kinds import KINDS, LABELS, Part
from engine.data.batches import RealClips
from engine.data.spec import ClipSpec
from engine.errors import DataError, PresetError, UsageError
from engine.machine.cores import usable_cores
from engine.synthetic import files
from engine.synthetic.base import SyntheticSet
from engine.synthetic.codecs import H264, Codec, parse_codec
from engine.synthetic.numbers import PRECISIONS, decode, encode
from engine.synthetic.pixels import MOST_REPEATS, Coreset, stored_of
from engine.text import one_line

FORMAT, VERSION = "vdtui.compressed", 1
_MOST_SIDE = 1 << 13
_MOST_PER_BYTE = 1 << 18
"""Values that a byte of a file may stand for. Of real clips it is hundreds; a made-up file could ask for all memory."""
_HINT = "Encode the set again; a damaged file cannot be mended."
_SYNTAX = "Write float32, float16, uint8, h264-23, h264-35@48, jpeg-80 or avif-50, or two as STILLS+CLIPS."
_DAMAGE = (LookupError, ValueError, TypeError, AssertionError, RuntimeError, ArithmeticError, PresetError)
"""What a file raises whose parts do not go together."""


@dataclasses.dataclass(frozen=True)
class Storage:
    """How the memories of a set are stored: each as numbers of a precision, or through a codec.

    ``clips`` is for what moves (clips, the dynamic memory), ``stills`` for the static memory.
    """

    clips: Codec | str
    stills: Codec | str

    @classmethod
    def parse(cls, text: str) -> Storage:
        """The storage of the form ``uint8``, ``h264-35@48``, or ``jpeg-80+h264-30`` (stills+clips).

        A codec's number is its quality; that after ``@`` is the side in pixels that frames are stored at. Raises
        UsageError.
        """
        ways = [_way(part, text) for part in text.split("+")]
        if len(ways) > 2:
            raise UsageError(f"{one_line(text[:60])!r} names more than two ways to store a set.", _SYNTAX)
        return cls(clips=ways[-1], stills=ways[0])

    def __str__(self) -> str:
        """The text that ``parse`` reads."""
        return str(self.clips) if self.clips == self.stills else f"{self.stills}+{self.clips}"

    @property
    def precision(self) -> str | None:
        """The one precision of all memories, which are then stored in the set file that ``to_bytes`` gives; or None."""
        return self.clips if isinstance(self.clips, str) and self.clips == self.stills else None

    def of(self, part: Part) -> Codec | str:
        """Return how these pictures are stored."""
        return self.stills if part.still else self.clips


def _way(part: str, text: str) -> Codec | str:
    way = part if part in PRECISIONS else parse_codec(part)
    if way is None:
        raise UsageError(f"There is no storage {one_line(text[:60])!r}.", _SYNTAX)
    return way


@dataclasses.dataclass(frozen=True)
class Stored:
    """A set as a file's content, complete in itself."""

    blob: bytes
    storage: Storage

    @property
    def nbytes(self) -> int:
        """The file's length: all that it takes to have the set."""
        return len(self.blob)

    def decode(self, device: torch.device | str = "cpu") -> SyntheticSet:
        """The set that is in the file, as ``decode_set``."""
        return decode_set(self.blob, device)


def encode_set(synthetic: SyntheticSet, how: Storage | str) -> Stored:
    """``synthetic`` stored as ``how`` says; equal sets give equal bytes.

    At one precision for all it is the file of ``to_bytes``. A codec stores a coreset's own pixels; of learned memories,
    which leave the range of pixels, it stores 256 levels between the least and the largest value of each memory,
    two float32 numbers. Hallucinators and soft labels are float32; hard labels follow from the order. Raises UsageError
    if ``how`` does not fit the set, DataError for values that it cannot hold.
    """
    how = Storage.parse(how) if isinstance(how, str) else how
    pictures = [part for part in synthetic.description.parts if part.channels]
    if how.stills != how.clips and len({part.still for part in pictures}) == 1:
        problem = f"{how} stores stills and clips, but a set of kind {synthetic.kind} has only one of them."
        raise UsageError(problem, f"Choose {how.of(pictures[0])}.")
    if how.precision is not None:
        return Stored(files.to_bytes(synthetic, files.Provenance(), how.precision), how)
    stored: dict[str, torch.Tensor] = {}
    shapes = {}
    for name, tensor in synthetic.tensors().items():
        part, memory = synthetic.description.part(name), tensor.cpu()
        way = how.of(part) if part.channels else "float32"
        if isinstance(way, str) or not memory.numel():
            stored |= encode(part, memory, way if isinstance(way, str) else "float32")
            continue
        frames, ranges = _to_frames(part, memory, synthetic.spec)
        shapes[name] = frames.shape[2:5]
        distinct = synthetic.distinct or [len(own) for own in frames]
        streams = [_encoded(way, own, new) for own, new in zip(frames, distinct, strict=True)]
        stored |= _packed(name, streams) | ({} if ranges is None else {f"{name}.range": ranges})
    described = _description(synthetic.kind, synthetic.spec, synthetic.ipc, how, shapes)
    return Stored(_file(stored, described | synthetic.metadata()), how)


def _encoded(codec: Codec, own: np.ndarray, new: int) -> list[list[bytes]]:
    """The streams of the clips ``own`` of a class, of which the first ``new`` come again to the end."""
    streams = [codec.encode(item) for item in own[:new]]
    return [streams[i % new] for i in range(len(own))]


def decode_set(blob: bytes, device: torch.device | str = "cpu") -> SyntheticSet:
    """The set in a file's content, float32 on ``device``, as it was before it was stored but for what storing it cost.

    Takes files of ``encode_set`` and of ``to_bytes``. Raises DataError for damaged ones, UsageError for a codec that
    this machine lacks.
    """
    stored, metadata = _opened(blob)
    try:
        if metadata["format"] == FORMAT:
            stored, precision = _decoded(stored, metadata, len(blob)), "float32"
        else:
            precision = metadata["precision"]
            _require(precision in PRECISIONS, "precision")
        synthetic = files.built({name: tensor.to(device) for name, tensor in stored.items()}, metadata, precision)
        _require(all(torch.isfinite(tensor).all() for tensor in synthetic.tensors().values()), "not finite")
    except _DAMAGE as error:
        reason = one_line(str(error))[:120]
        raise DataError(f"The stored set is damaged: its parts do not fit together ({reason}).", _HINT) from error
    return synthetic


def _require(true: bool, what: str) -> None:
    if not true:
        raise ValueError(what)


# The file: safetensors, as that of ``to_bytes``, but a memory M that went through a codec is there as
#   M.streams  uint8    what all its streams begin with, once; then the rest of each, in order
#   M.lengths  int32    (C, n, streams): the lengths of these rests; from a class's first -1 on its clips come again
#   M.range    float32  (C, n, 2): the least value, and the step of a level; none where the values are pixels
# The checksum is there since a decoder shows something of most damaged streams, and nobody would know.


def _description(
    kind: str, spec: ClipSpec, ipc: int, how: Storage, shapes: Mapping[str, Sequence[int]]
) -> dict[str, str]:
    return {
        "format": FORMAT,
        "version": str(VERSION),
        "kind": kind,
        "classes": json.dumps(list(spec.classes), ensure_ascii=False),
        "ipc": str(ipc),
        "frames": str(spec.frames),
        "mean": json.dumps(list(spec.mean)),
        "std": json.dumps(list(spec.std)),
        "storage": str(how),
        **{f"{name}.shape": json.dumps(list(shape)) for name, shape in shapes.items()},
    }


def _file(stored: dict[str, torch.Tensor], metadata: dict[str, str]) -> bytes:
    return files.ordered(save(stored, metadata | {"check": _checksum(stored, metadata)}))


def _checksum(stored: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> str:
    """CRC-32 of all that the file says but itself."""
    described = sorted((name, text) for name, text in metadata.items() if name != "check")
    check = zlib.crc32(json.dumps(described).encode())
    for name, tensor in sorted(stored.items()):
        check = zlib.crc32(f"{name} {tensor.dtype} {list(tensor.shape)}".encode(), check)
        check = zlib.crc32(tensor.contiguous().numpy().tobytes(), check)
    return f"{check:08x}"


def _opened(blob: bytes) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        stored = load(blob)
        metadata = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")]).get("__metadata__", {})
    except (SafetensorError, ValueError, KeyError) as error:
        reason = one_line((str(error).splitlines() or ["empty"])[0][:120])
        raise DataError(f"This is not a stored set, or only a part of one: {reason}.", _HINT) from error
    known = {FORMAT: VERSION, files.FORMAT: files.VERSION}
    found = metadata.get("format", "")
    if found not in known:
        raise DataError("This is a safetensors file, but not a stored set.", _HINT)
    if metadata.get("version") != str(known[found]):
        version = one_line(str(metadata.get("version"))[:20])
        problem = f"The stored set has version {version} of its format; this vdtui reads {known[found]}."
        raise DataError(problem, "Update vdtui to read it.")
    return stored, metadata


def _packed(name: str, streams: Sequence[Sequence[list[bytes]]]) -> dict[str, torch.Tensor]:
    """The tensors that hold ``streams[class][n]``, the streams of a memory."""
    start = _shared_start([stream for own in streams for item in own for stream in item])
    distinct = stored_of([_distinct(own) for own in streams], len(streams[0]))
    rests: list[bytes] = []
    lengths = []
    for own, new in zip(streams, distinct, strict=True):
        rests += [stream[len(start) :] for item in own[:new] for stream in item]
        repeats = [[-1] * len(item) for item in own[new:]]
        lengths.append([[len(stream) - len(start) for stream in item] for item in own[:new]] + repeats)
    content = torch.frombuffer(bytearray(start + b"".join(rests)), dtype=torch.uint8)
    return {f"{name}.streams": content, f"{name}.lengths": torch.tensor(lengths, dtype=torch.int32)}


def _shared_start(streams: Sequence[bytes]) -> bytes:
    """The longest start that all of ``streams`` have."""
    first, last = min(streams), max(streams)  # whatever lies between them begins as both do
    differ = (i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return first[: next(differ, len(first))]


def _distinct(own: Sequence[list[bytes]]) -> int:
    """After how many the same come again, in the same order: a class with few clips repeats its own."""
    return next(n for n in range(1, len(own) + 1) if all(own[i] == own[i % n] for i in range(n, len(own))))


def _unpacked(name: str, stored: Mapping[str, torch.Tensor], classes: int) -> tuple[list[list[list[bytes]]], int]:
    """The streams of each class without their repeats, and how many it has with them: the inverse of ``_packed``.

    Raises KeyError or ValueError for tensors that it does not give.
    """
    content, lengths = stored[f"{name}.streams"], stored[f"{name}.lengths"]
    _require(content.dtype == torch.uint8 and content.dim() == 1, "streams")
    _require(lengths.dtype == torch.int32 and lengths.dim() == 3 and len(lengths) == classes > 0, "lengths")
    _require(lengths.numel() > 0 and int(lengths.min()) >= -1, "lengths")
    raw = content.numpy().tobytes()
    at = len(raw) - int(lengths.clamp_min(0).sum(dtype=torch.int64))
    _require(at >= 0, "lengths")
    start = raw[:at]
    result = []
    for own in lengths.tolist():
        items: list[list[bytes]] = []
        for item in own:
            if -1 in item:
                break
            ends = np.cumsum([at, *item]).tolist()
            items.append([start + raw[begin:end] for begin, end in itertools.pairwise(ends)])
            at = ends[-1]
        _require(bool(items) and all(set(item) == {-1} for item in own[len(items) :]), "repeats")
        result.append(items)
    _require(lengths.shape[1] <= MOST_REPEATS * max(map(len, result)), "repeats")
    return result, lengths.shape[1]


def _to_frames(part: Part, memory: torch.Tensor, spec: ClipSpec) -> tuple[np.ndarray, torch.Tensor | None]:
    """A memory as uint8 (C, n, T, h, w, channels), and its ranges (C, n, 2) or None where the values are pixels.

    Value = least + step * level, in pixel units of [0, 1] for colours, so that a codec's idea of luminance holds.
    """
    values = (memory.unsqueeze(2) if part.still else memory).movedim(3, -1)
    if part.exact:
        pixels = spec.to_pixels(values.flatten(0, 1).movedim(-1, 1))
        return pixels.unflatten(0, memory.shape[:2]).numpy(), None
    mean, std = _scale(spec, part.channels)
    values = values * std + mean
    flat = values.flatten(2)
    low, high = flat.amin(2), flat.amax(2)
    step = ((high - low) / 255).clamp_min(torch.finfo(torch.float32).tiny)
    if not torch.isfinite(step).all():
        problem = "The set has values that are not finite, or too far apart for 256 levels."
        raise DataError(problem, "Choose an earlier state of the set, or store it as float32.")
    levels = ((flat - low.unsqueeze(2)) / step.unsqueeze(2)).round().clamp(0, 255).to(torch.uint8)
    return levels.view(values.shape).numpy(), torch.stack([low, step], 2)


def _to_memory(frames: np.ndarray, ranges: torch.Tensor | None, spec: ClipSpec) -> torch.Tensor:
    """The inverse of ``_to_frames`` but for its rounding: (C, n, T, channels, h, w)."""
    levels = torch.from_numpy(frames)
    if ranges is None:
        return spec.normalise(levels.flatten(0, 1)).movedim(1, 2).unflatten(0, levels.shape[:2]).contiguous()
    mean, std = _scale(spec, levels.shape[-1])
    low, step = (part.view(*levels.shape[:2], 1, 1, 1, 1) for part in ranges.unbind(2))
    return ((low + step * levels.to(torch.float32) - mean) / std).movedim(-1, 3).contiguous()


def _scale(spec: ClipSpec, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of pixels; a dynamic memory's single channel is in units of its own."""
    if channels == 1:
        return torch.zeros(1), torch.ones(1)
    return torch.tensor(spec.mean), torch.tensor(spec.std)


def _decoded(stored: dict[str, torch.Tensor], metadata: Mapping[str, str], size: int) -> dict[str, torch.Tensor]:
    """The tensors of the set file that ``to_bytes`` gives at float32, decoded. Raises what ``_DAMAGE`` lists."""
    _require(metadata["check"] == _checksum(stored, metadata), "checksum")
    how = _storage(metadata["storage"])
    kind, classes = KINDS[metadata["kind"]], len(json.loads(metadata["classes"]))
    result = {}
    for part in kind.parts:
        name, way = part.name, how.of(part) if part.channels else "float32"
        if isinstance(way, str) or name in stored:  # of no still images a codec makes nothing
            result[name] = decode(part, stored, way if isinstance(way, str) else "float32")
            _require(isinstance(way, str) or not result[name].numel(), name)
        else:
            memory = _memory(part, way, stored, metadata, size)
            result[name] = memory.squeeze(2) if part.still else memory
    ipc = int(metadata["ipc"])
    _require(1 <= ipc <= max(result[part.name].shape[1] for part in kind.parts if part.channels), "ipc")
    result["labels"] = stored[LABELS.name] if LABELS.name in stored else files.hard_labels(classes, ipc)
    return result


def _storage(text: str) -> Storage:
    try:
        return Storage.parse(text)
    except UsageError as error:
        if "avif" in text and not features.check("avif"):
            raise
        raise ValueError(error.problem) from error


def _memory(
    part: Part, codec: Codec, stored: Mapping[str, torch.Tensor], metadata: Mapping[str, str], size: int
) -> torch.Tensor:
    """The memory (C, n, T, channels, h, w) that its streams show."""
    name, channels = part.name, part.channels
    frames, height, width = shape = json.loads(metadata[f"{name}.shape"])
    _require(all(type(number) is int and 1 <= number <= _MOST_SIDE for number in shape), "shape")
    streams, number = _unpacked(name, stored, len(json.loads(metadata["classes"])))
    _require(len(streams) * number * frames * height * width * channels <= _MOST_PER_BYTE * size, "shape")
    _require(not part.still or frames == 1, "frames")
    ranges = None if part.exact else stored[f"{name}.range"]
    fits = ranges is None or (ranges.dtype == torch.float32 and ranges.shape == (len(streams), number, 2))
    _require(fits, "range")
    spec = ClipSpec((), frames, height, width, *(tuple(json.loads(metadata[part])) for part in ("mean", "std")))
    shown = [np.stack([codec.decode(item, (frames, height, width, channels)) for item in own]) for own in streams]
    return _to_memory(np.stack([own[np.arange(number) % len(own)] for own in shown]), ranges, spec)


# Real clips in as many bytes as a set.

RATE_FACTORS = (18, 23, 28, 35)
SHARES = (1.0, 0.75, 0.5)
"""Of the clips' own height and width: few bytes may hold many small clips or few large ones."""


def rival_codecs(spec: ClipSpec) -> list[Codec]:
    """The grid of ``equal_bytes``: H.264 at each of RATE_FACTORS, at its own size and at those of SHARES.

    Smaller sizes are multiples of 8 pixels, 16 or more.
    """
    side = min(spec.height, spec.width)
    sizes = sorted({max(16, 8 * round(share * side / 8)) for share in SHARES if share < 1}, reverse=True)
    own: list[int | None] = [None, *(size for size in sizes if size < side)]
    return [H264(crf, size) for size in own for crf in RATE_FACTORS]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """Real clips that a budget can hold: ``per_class`` of each class, stored by one codec."""

    stored: Stored
    per_class: int

    @property
    def storage(self) -> Storage:
        """How they are stored."""
        return self.stored.storage

    @property
    def nbytes(self) -> int:
        """The file's length."""
        return self.stored.nbytes

    def decode(self, device: torch.device | str = "cpu") -> Coreset:
        """What networks are trained on."""
        synthetic = self.stored.decode(device)
        assert isinstance(synthetic, Coreset)
        return synthetic


def compressed_clips(
    real: RealClips,
    budget: int,
    order: Sequence[torch.Tensor],
    how: Storage | str,
    *,
    check: Callable[[], None] = lambda: None,
) -> tuple[Stored, Coreset]:
    """As many real clips of each class as ``budget`` bytes can hold, stored as ``how``; and what they decode to.

    ``order[c]`` has indices of clips of class c, the first to be taken first (random, or herded). All classes give the
    same number; one that has fewer repeats its own, which costs four bytes each. No clip is encoded that could not
    have fitted but those of one more per class. ``check`` is called between clips per class, and may raise to stop.
    Raises DataError if not even one per class fits, and UsageError unless ``how`` is a codec.
    """
    how = Storage.parse(how) if isinstance(how, str) else how
    if isinstance(how.clips, str) or how.stills != how.clips:
        raise UsageError(f"Clips are stored through one codec, and {how} is none.", "Choose one such as h264-23.")
    found = _fill(real, budget, order, how.clips, check)
    if isinstance(found, int):
        raise _too_small(budget, found, str(how))
    return found.stored, found.decode(real.device)


def equal_bytes(
    real: RealClips,
    budget: int,
    order: Sequence[torch.Tensor],
    codecs: Iterable[Codec] | None = None,
    *,
    check: Callable[[], None] = lambda: None,
) -> list[Candidate]:
    """The sets of real clips that fit into ``budget`` bytes: one for each codec (default ``rival_codecs``) that can.

    As ``compressed_clips``. Many poor clips or few good ones: which train best is to be found by who chooses, on
    held-out data. Raises DataError, naming the fewest bytes, if no codec can store one clip per class.
    """
    found = [_fill(real, budget, order, codec, check) for codec in codecs or rival_codecs(real.spec)]
    fitting = [candidate for candidate in found if isinstance(candidate, Candidate)]
    if not fitting:
        fewest = min(size for size in found if isinstance(size, int))
        raise _too_small(budget, fewest, "any of the codecs")
    return fitting


def _too_small(budget: int, fewest: int, how: str) -> DataError:
    problem = f"{budget} bytes cannot hold one real clip of each class: by {how} it takes {fewest} bytes or more."
    return DataError(problem, f"Compare with a set of at least {fewest} bytes, or with fewer or smaller clips.")


def _fill(
    real: RealClips, budget: int, order: Sequence[torch.Tensor], codec: Codec, check: Callable[[], None]
) -> Candidate | int:
    """The largest set of ``codec`` within ``budget``, or the bytes of the smallest if that is beyond it."""
    order = [_once(own) for own in order]
    assert len(order) == len(real.spec.classes), len(order)
    for name, own in zip(real.spec.classes, order, strict=True):
        if not len(own):
            raise DataError(f"The class {one_line(name)} has no clips.", "Choose a split with clips of all classes.")
    streams: list[list[list[bytes]]] = [[] for _ in order]
    with ThreadPoolExecutor(usable_cores()) as pool:  # coders let go of the interpreter
        for number in range(max(len(own) for own in order)):
            check()
            asked = [label for label, own in enumerate(order) if number < len(own)]
            clips = real.view.clips(torch.stack([order[label][number] for label in asked]).numpy())
            for label, encoded in zip(asked, pool.map(codec.encode, clips), strict=True):
                streams[label].append(encoded)
            if _least(streams) > budget:
                break
    blob = b""
    for number in range(max(len(own) for own in streams), 0, -1):
        blob = _clips_file(real.spec, codec, streams, number)
        if len(blob) <= budget:
            return Candidate(Stored(blob, Storage(codec, codec)), number)
    return len(blob)


def _once(own: torch.Tensor) -> torch.Tensor:
    """Indices without those that came before: ``select_coreset`` repeats the clips of small classes."""
    return torch.tensor(list(dict.fromkeys(own.tolist())), dtype=torch.int64)


def _least(streams: Sequence[Sequence[list[bytes]]]) -> int:
    """Bytes that a file with these streams has at the least: without its header, and all that they share left out."""
    every = [stream for own in streams for item in own for stream in item]
    return sum(map(len, every)) - (len(every) - 1) * len(_shared_start(every)) + 4 * len(every)


def _clips_file(spec: ClipSpec, codec: Codec, streams: Sequence[Sequence[list[bytes]]], number: int) -> bytes:
    """The file of a coreset of ``number`` clips per class: the bytes that ``encode_set`` gives of it."""
    own = [[clips[i % len(clips)] for i in range(number)] for clips in streams]
    described = _description(
        Coreset.kind, spec, number, Storage(codec, codec), {"pixels": (spec.frames, spec.height, spec.width)}
    )
    return _file(_packed("pixels", own), described)
