"""The coded file of a set: its memories as streams in the compact container, and as little else as can be.

Nothing is written that follows from the rest. Shapes are there of what is not (C, ipc, T, channels, H, W), provenance
as far as there is some; hard labels follow from the places of the instances, and take no bytes. What a user holds is
this file, and what is trained on is what it decodes to (docs/formats.md, "Coded set file").
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import features

from engine.config.kinds import KINDS, LABELS, Part, clips_of_a_picture
from engine.data.spec import ClipSpec
from engine.errors import DataError, UsageError
from engine.synthetic.base import SyntheticSet
from engine.synthetic.container import pack, unpack
from engine.synthetic.described import DAMAGE, OPTIONAL, Provenance, checked_spec, refuse_infinite
from engine.synthetic.formation import Formation
from engine.synthetic.levels import encoded, frames_of, has_levels, to_levels, to_memory
from engine.synthetic.pixels import Coreset, Pixels, once, places_shown, stored_of
from engine.synthetic.registry import set_class
from engine.synthetic.storage import Storage
from engine.synthetic.streams import MOST_PER_BYTE, Coded, Coding, Shape
from engine.synthetic.temporal import Temporal
from engine.text import one_line

_HINT = "Use another copy of the file; a damaged one cannot be mended."
_RANGE = ".range"


@dataclasses.dataclass(frozen=True)
class Read:
    """A coded file as it was read."""

    synthetic: SyntheticSet
    provenance: Provenance
    storage: Storage


# --- writing ---------------------------------------------------------------------------------------------------------


def write_coded(synthetic: SyntheticSet, provenance: Provenance, how: Storage) -> bytes:
    """Return the coded file of ``synthetic``, stored as ``how`` says; equal sets give equal bytes.

    Hallucinators and coefficients are as precise as the memories beside them are (``_numbers``). Raises UsageError if
    ``how`` does not fit the set, DataError for values that it cannot hold.
    """
    tensors = {name: tensor.cpu() for name, tensor in synthetic.tensors().items()}
    how.check_fits(synthetic.description)
    how.check_labels(dict(tensors))
    kept = stored_of(synthetic.distinct, synthetic.ipc) if synthetic.distinct else None
    parts: dict[str, bytes] = {}
    shapes: dict[str, list[int]] = {}
    for name, tensor in tensors.items():
        part = synthetic.description.part(name)
        if part == LABELS:
            parts[name] = _packed_labels(how, tensor)
            continue
        if part.channels:
            parts |= _pictures(part, tensor, synthetic.spec, how.of(part), kept)
        else:
            parts[name] = _numbers(tensor, has_levels(how.clips))
        if tuple(tensor.shape) != _usual_shape(part, synthetic):
            shapes[name] = list(tensor.shape)
    head = {} if not shapes else {"shapes": shapes}
    head |= {name: _as_json(text) for name, text in synthetic.metadata().items()}
    return _file(synthetic.kind, synthetic.spec, synthetic.ipc, how, parts, kept, provenance, head)


def write_clips(spec: ClipSpec, coding: Coding, clips: Sequence[Sequence[Coded]], number: int) -> bytes:
    """Return the file of a coreset of ``number`` clips per class, those ``clips[class]`` in turn.

    They are stored by ``coding``: the bytes that ``write_coded`` gives of it.
    """
    shown = [[own[i % len(own)] for i in range(number)] for own in clips]
    kept = stored_of([_distinct(own) for own in shown], number)
    stored = [clip for own, new in zip(shown, kept, strict=True) for clip in own[:new]]
    parts = {"pixels": coding.join(stored)}
    return _file(Coreset.kind, spec, number, Storage(coding, coding), parts, kept, Provenance(), {})


def write_learned(
    spec: ClipSpec,
    coding: Coding,
    clips: Sequence[Sequence[Coded]],
    number: int,
    provenance: Provenance,
    temporal: Temporal | None,
    formation: Formation | None,
) -> bytes:
    """Return the file of learned clips of which ``clips[class]`` holds the first ``number`` pictures to be stored.

    They are pixels, stored by ``coding``, with the frames of ``temporal``, and shown as ``formation`` says: the bytes
    that ``write_coded`` gives.
    """
    parts = {"pixels": coding.join([clip for own in clips for clip in own[:number]])}
    said: dict[str, Any] = {}
    if temporal is not None and temporal.compresses:
        said["temporal"] = temporal.described()
    if formation is not None:
        said["formation"] = formation.side
    ipc = number * clips_of_a_picture(said.get("formation"))
    return _file(Pixels.kind, spec, ipc, Storage(coding, coding), parts, None, provenance, said)


def _distinct(own: Sequence[Coded]) -> int:
    """After how many the same come again, in the same order: a class with few clips repeats its own."""
    return next(n for n in range(1, len(own) + 1) if all(own[i] == own[i % n] for i in range(n, len(own))))


def _file(
    kind: str,
    spec: ClipSpec,
    ipc: int,
    how: Storage,
    parts: Mapping[str, bytes],
    kept: list[int] | None,
    provenance: Provenance,
    more: Mapping[str, Any],
) -> bytes:
    nothing = dataclasses.asdict(Provenance())
    origin = {name: value for name, value in dataclasses.asdict(provenance).items() if value != nothing[name]}
    repeats = {"distinct": kept} if kept is not None and sum(kept) < len(kept) * ipc else {}
    head = {
        "kind": kind,
        "classes": list(spec.classes),
        "ipc": ipc,
        "frames": spec.frames,
        "size": [spec.height, spec.width],
        "mean": list(spec.mean),
        "std": list(spec.std),
        "storage": str(how),
        **repeats,
        **more,
        **origin,
    }
    return pack(head, parts)


def _usual_shape(part: Part, synthetic: SyntheticSet) -> tuple[int, ...]:
    """The shape of a part that a file does not say."""
    frames = synthetic.spec.frames if synthetic.temporal is None else synthetic.temporal.stored
    return _usual(part, synthetic.spec, synthetic.ipc // synthetic.sharing, frames)


def _usual(part: Part, spec: ClipSpec, ipc: int, frames: int) -> tuple[int, ...]:
    times = () if part.still else (frames,)
    return (len(spec.classes), ipc, *times, part.channels, spec.height, spec.width)


def _pictures(
    part: Part, memory: torch.Tensor, spec: ClipSpec, coding: Coding, kept: Sequence[int] | None
) -> dict[str, bytes]:
    """The parts of a file that store ``memory``; of no pictures none."""
    if not memory.numel():
        return {}
    if kept is not None:
        memory = once(memory, kept)
    if not has_levels(coding):
        frames, ranges = frames_of(part, memory).to(torch.float32).numpy(), None
    else:
        frames, ranges = to_levels(part, memory, spec)
    content = coding.join(encoded(coding, list(frames.reshape(-1, *frames.shape[2:]))))
    return {part.name: content} | ({} if ranges is None else {part.name + _RANGE: _floats(ranges)})


def _packed_labels(how: Storage, labels: torch.Tensor) -> bytes:
    """Soft labels (C, ipc, C) as float32, or in a few bits. Raises UsageError for what is no distribution."""
    code = how.label_code(labels.shape[-1])
    if code is None:
        return _floats(labels)
    rows = labels.flatten(0, 1).numpy()
    if (rows < 0).any() or not np.allclose(rows.sum(1), 1, atol=1e-3):
        problem = f"{how} packs labels that are shares of the classes, and those of this set are other values."
        raise UsageError(problem, f"Choose {str(how).partition('/')[0]}, which stores them as float32.")
    return code.encode(rows)


def _numbers(values: torch.Tensor, of_levels: bool) -> bytes:
    """Values of no pictures: float16 if it can hold them and the memories that they act on are ``of_levels``.

    It rounds a number by a part of 2,048 at most, and 256 levels round by more.
    """
    half = values.to(torch.float16)
    if not of_levels or not torch.isfinite(half).all():
        return _floats(values)
    return half.contiguous().numpy().astype("<f2").tobytes()


def _floats(values: torch.Tensor) -> bytes:
    return values.to(torch.float32).contiguous().numpy().astype("<f4").tobytes()


def _as_json(text: str) -> Any:
    """Return a text of a set's metadata as the head of a file has it: an object, or the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


# --- reading ---------------------------------------------------------------------------------------------------------


def read_coded(content: bytes, device: torch.device | str = "cpu") -> Read:
    """Return what is in a file of ``write_coded``, float32 on ``device``. Raises DataError for anything else.

    Raises UsageError for a codec that this machine lacks.
    """
    head, parts = unpack(content)
    try:
        how = _storage(head["storage"], head["kind"])
        metadata = {name: _as_text(value) for name, value in head.items() if name in OPTIONAL}
        kind, ipc = set_class(head["kind"]), head["ipc"]
        _require(type(ipc) is int and ipc >= 1 and isinstance(head["classes"], list), "ipc or classes")
        _require(not metadata.keys() - set(kind.metadata_read), "metadata")
        tensors = _Reader(head, parts, how, len(content)).tensors()
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        spec = _spec(head, tensors[KINDS[kind.kind].parts[0].name].shape)
        _require(math.prod((spec.frames, spec.height, spec.width)) <= MOST_PER_BYTE * len(content), "size")
        synthetic = kind.build(spec, ipc, tensors, metadata)
        _require(synthetic.ipc == ipc, "ipc")
        refuse_infinite(synthetic.tensors())
        return Read(synthetic, _origin(head), how)
    except DAMAGE as error:
        reason = one_line(str(error))[:120]
        raise DataError(f"The set's file is damaged: its parts do not fit together ({reason}).", _HINT) from error


def _require(true: bool, what: str) -> None:
    if not true:
        raise ValueError(what)


def _storage(text: Any, kind: str) -> Storage:
    """The storage that a file names. Raises ValueError for none, UsageError for AVIF where Pillow lacks it."""
    _require(isinstance(text, str), "storage")
    try:
        how = Storage.parse(text)
        how.check_fits(KINDS[kind])
    except UsageError as error:
        if "av" in text and not features.check("avif"):
            raise
        raise ValueError(error.problem) from error
    return how


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _spec(head: Mapping[str, Any], memory: torch.Size) -> ClipSpec:
    height, width = head["size"]
    _require(type(height) is int and type(width) is int and type(head["frames"]) is int, "size")
    return checked_spec(head["classes"], head["frames"], head["mean"], head["std"], memory, (height, width))


def _origin(head: Mapping[str, Any]) -> Provenance:
    said = {name: head[name] for name in Provenance.__dataclass_fields__ if name in head}
    return Provenance.of_metadata({**Provenance().metadata(), **{name: json.dumps(said[name]) for name in said}})


class _Reader:
    """The tensors of a file's parts; whatever does not fit raises what ``DAMAGE`` lists, or DataError."""

    def __init__(self, head: Mapping[str, Any], parts: Mapping[str, bytes], how: Storage, size: int) -> None:
        self._head, self._parts, self._how, self._size = head, dict(parts), how, size
        self._classes, self._ipc = len(head["classes"]), head["ipc"]
        shapes = head.get("shapes", {})
        _require(isinstance(shapes, dict), "shapes")
        self._shapes = shapes
        self._kept = self._repeats() if "distinct" in head else None

    def tensors(self) -> dict[str, torch.Tensor]:
        kind = KINDS[self._head["kind"]]
        found = {part.name: self._tensor(part) for part in kind.parts}
        if LABELS.name in self._parts or self._how.labels is not None:
            found[LABELS.name] = self._labels()
        _require(not self._parts, "parts that nothing reads")
        return found

    def _tensor(self, part: Part) -> torch.Tensor:
        shape = self._shape(part)
        if not part.channels:
            halves = len(self._parts[part.name]) == 2 * math.prod(shape)
            return self._floats(part.name, shape, "<f2" if halves else "<f4")
        _require(len(shape) == (5 if part.still else 6) and shape[-3] == part.channels, f"shape of {part.name}")
        _require(shape[0] == self._classes, f"shape of {part.name}")
        return self._pictures(part, shape) if math.prod(shape) else torch.zeros(shape)

    def _shape(self, part: Part) -> tuple[int, ...]:
        if part.name in self._shapes:
            shape = self._shapes[part.name]
            whole = isinstance(shape, list) and all(type(number) is int and number >= 0 for number in shape)
            _require(whole, f"shape of {part.name}")
            return tuple(shape)
        temporal, (height, width) = self._head.get("temporal"), self._head["size"]
        frames = self._head["frames"] if temporal is None else temporal["n_syn"] * temporal["segments"]
        spec = ClipSpec(tuple(self._head["classes"]), frames, height, width, (), ())
        return _usual(part, spec, self._ipc // clips_of_a_picture(self._head.get("formation")), frames)

    def _pictures(self, part: Part, shape: tuple[int, ...]) -> torch.Tensor:
        coding, series = self._how.of(part), part.pictures(shape)
        assert series is not None
        groups = (self._classes, shape[1]) if self._kept is None else (1, sum(self._kept))
        stored: Shape = (math.prod(groups), series.frames, series.height, series.width, series.channels)
        shown = coding.decode(self._parts.pop(part.name), stored)
        frames = shown.reshape(*groups, *shown.shape[1:])
        if not has_levels(coding):
            memory = torch.from_numpy(frames).movedim(-1, 3)
            memory = (memory.squeeze(2) if part.still else memory).contiguous()
        else:
            name = part.name + _RANGE
            ranges = self._floats(name, (*groups, 2)) if name in self._parts else None
            _require(ranges is not None or part.channels == 3, f"range of {part.name}")
            spec = ClipSpec((), *stored[1:4], self._head["mean"], self._head["std"])
            _require(len(spec.mean) == len(spec.std) == 3 and min(spec.std) > 0, "mean or std")
            memory = to_memory(part, frames, ranges, spec)
        return memory if self._kept is None else memory[0][places_shown(self._kept, self._ipc)]

    def _repeats(self) -> list[int]:
        """Return the number of stored clips of each class, where fewer are stored than shown."""
        kept = self._head["distinct"]
        numbers = isinstance(kept, list) and all(type(number) is int and number >= 1 for number in kept)
        _require(numbers and len(kept) == self._classes and self._head["kind"] == Coreset.kind, "distinct")
        _require(max(kept) <= self._ipc and kept == stored_of(kept, self._ipc), "distinct")
        return list(kept)

    def _labels(self) -> torch.Tensor:
        shape, code = (self._classes, self._ipc, self._classes), self._how.label_code(self._classes)
        if code is None:
            return self._floats(LABELS.name, shape)
        labels = code.decode(self._parts.pop(LABELS.name), self._classes * self._ipc)
        return torch.from_numpy(labels).view(shape)

    def _floats(self, name: str, shape: Sequence[int], form: str = "<f4") -> torch.Tensor:
        content = self._parts.pop(name)
        _require(len(content) == np.dtype(form).itemsize * math.prod(shape), f"length of {name}")
        return torch.from_numpy(np.frombuffer(content, form).astype(np.float32)).view(tuple(shape))
