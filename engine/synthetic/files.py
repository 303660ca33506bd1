"""The synthetic set file: safetensors, with what is needed to use the set beside the tensors.

The same set gives the same bytes: the library writes its metadata in a random order, so the header is put in order
before it is written. Nothing is unpickled when a file from outside is read.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from engine.data.spec import ClipSpec
from engine.errors import DataError, PresetError
from engine.files import write_bytes
from engine.models.hallucinator import Hallucinator
from engine.synthetic.base import PRECISIONS, SyntheticSet, is_memory
from engine.synthetic.pixels import MOST_REPEATS, Coreset, Pixels, stored_of
from engine.synthetic.static_dynamic import StaticDynamic
from engine.synthetic.still import StaticImages, StillVideo
from engine.synthetic.temporal import Temporal
from engine.text import one_line

FORMAT, VERSION = "vdtui.synthetic", 1
_MOST_FRAMES = 1 << 16
"""A damaged file that names more would fill the memory when its few stored frames are shown."""
_MOST_SIDE = 1 << 12
"""As above, for the height and width of still images of which there are none, which take no bytes."""
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "uint8": torch.uint8}
LATER_FIELDS = ("step_size", "objective")
"""Of ``Provenance``: those that a file may lack."""
_HINT = "Export it again with `vdtui export RUN --format safetensors`, or use another file."


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Where a set comes from: preset title, seed, and the protocol and accuracy that chose it."""

    preset: str = ""
    seed: int = 0
    step: int = 0
    protocol: str = ""
    selected_on: str = "none"
    accuracy: float | None = None
    step_size: float | None = None
    """The learning rate that was learned with the set (trajectory matching), which networks are to be trained at."""
    objective: str | None = None
    """By which it was learned, as presets name it; None of real clips, and of files from before it was noted."""

    def metadata(self) -> dict[str, str]:
        """As text by field; a step size or objective that there is not is left out, as in files from before them."""
        fields = dataclasses.asdict(self)
        known = {name: value for name, value in fields.items() if name not in LATER_FIELDS or value is not None}
        return {name: json.dumps(value) for name, value in known.items()}

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, str]) -> Provenance:
        """The inverse of ``metadata``. Raises KeyError or ValueError for what is missing or of another type."""
        own = cls.__dataclass_fields__
        fields = {name: json.loads(metadata[name]) for name in own if name not in LATER_FIELDS or name in metadata}
        fields = dict.fromkeys(LATER_FIELDS) | fields
        wanted = {"preset": str, "seed": int, "step": int, "protocol": str, "selected_on": str}
        bad = [name for name, kind in wanted.items() if type(fields[name]) is not kind]
        bad += [name for name in ("accuracy", "step_size") if not _is_measure(fields[name])]
        bad += [] if isinstance(fields["objective"], str | None) else ["objective"]
        if bad or (fields["step_size"] is not None and fields["step_size"] <= 0):
            raise ValueError(bad[0] if bad else "step_size")
        return cls(**fields)


def _is_measure(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and abs(value) <= sys.float_info.max)


def to_bytes(synthetic: SyntheticSet, provenance: Provenance, precision: str = "float32") -> bytes:
    """The file's content; equal sets and provenances give equal bytes."""
    spec = synthetic.spec
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "kind": synthetic.kind,
        "classes": json.dumps(list(spec.classes), ensure_ascii=False),
        "ipc": str(synthetic.ipc),
        "pairing": json.dumps(_pairing(synthetic)),
        "frames": str(spec.frames),
        "mean": json.dumps(list(spec.mean)),
        "std": json.dumps(list(spec.std)),
        "precision": precision,
        **described(synthetic),
        **provenance.metadata(),
    }
    stored, extra = _stored_memories(synthetic, precision)
    soft = stored.pop("soft_labels", None)
    stored["labels"] = _hard_labels(len(spec.classes), synthetic.ipc) if soft is None else soft
    return ordered(save(stored, metadata | extra))


def _stored_memories(synthetic: SyntheticSet, precision: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors of the file but hard labels; of a coreset whose clips repeat each once, and how many of each class.

    The latter is the metadata ``distinct``: then ``pixels`` is (1, N, ...), the clips of one class after the other.
    """
    tensors = {name: tensor.cpu() for name, tensor in synthetic.tensors().items()}
    stored, extra = {}, {}
    if isinstance(synthetic, Coreset):
        kept = stored_of(synthetic.distinct, synthetic.ipc)
        if sum(kept) < len(kept) * synthetic.ipc:
            extra["distinct"] = json.dumps(kept)
            tensors["pixels"] = _once(tensors["pixels"], kept)
        whole = _real_pixels(tensors["pixels"], synthetic.spec) if precision == "uint8" else None
        if whole is not None:
            del tensors["pixels"]
            stored["pixels"] = whole
    for name, tensor in tensors.items():
        stored |= encode(name, tensor, precision)
    return stored, extra


def save_synthetic(path: Path, synthetic: SyntheticSet, provenance: Provenance, precision: str = "float32") -> None:
    """Write ``synthetic`` to ``path``, complete or not at all."""
    write_bytes(path, to_bytes(synthetic, provenance, precision))


def _once(pixels: torch.Tensor, kept: Sequence[int]) -> torch.Tensor:
    """The first ``kept`` clips of each class of ``pixels`` (C, ipc, ...), one class after the other: (1, N, ...)."""
    return torch.cat([own[:number] for own, number in zip(pixels, kept, strict=True)]).unsqueeze(0)


def _again(pixels: torch.Tensor, described: str, classes: int, ipc: int) -> torch.Tensor:
    """The inverse of ``_once``: (C, ipc, ...). Raises ValueError if ``described`` does not go with ``pixels``."""
    kept = json.loads(described)
    numbers = isinstance(kept, list) and all(type(number) is int and number >= 1 for number in kept)
    fits = numbers and len(kept) == classes and pixels.shape[:2] == (1, sum(kept))
    if not (fits and max(kept) <= ipc <= MOST_REPEATS * max(kept)):
        raise ValueError("distinct")
    firsts = torch.tensor([0, *kept[:-1]]).cumsum(0)
    places = torch.arange(ipc) % torch.tensor(kept).unsqueeze(1) + firsts.unsqueeze(1)
    return pixels[0][places.to(pixels.device)]


def _real_pixels(pixels: torch.Tensor, spec: ClipSpec) -> torch.Tensor | None:
    """``pixels`` (..., stored, 3, H, W) of a coreset as they were in the video, uint8, if that is what they are.

    Real clips are whole numbers before they are normalised: stored as these they are exact, and need no ranges.
    """
    raw = _unnormalised(pixels, spec)
    whole = raw.round().clamp(0, 255)
    return whole.to(torch.uint8).contiguous() if (raw - whole).abs().max() < 0.01 else None


def _unnormalised(pixels: torch.Tensor, spec: ClipSpec) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.mean, spec.std))
    return (pixels * std + mean) * 255


def _pairing(synthetic: SyntheticSet) -> dict[str, int]:
    if isinstance(synthetic, StaticDynamic):
        pairing = {"statics": synthetic.statics_per_instance, "dynamics": synthetic.dynamics_per_instance}
        several = synthetic.hallucinator.number > 1 and not synthetic.per_class
        return pairing | ({"hallucinators": synthetic.hallucinator.number} if several else {})
    return {"statics": synthetic.variants, "dynamics": 0}


def described(synthetic: SyntheticSet) -> dict[str, str]:
    """What the tensors do not say and most sets need not: stored frames, and whose each hallucinator is.

    ``temporal``: how stored frames become a clip's, where not all are stored. ``hallucinator``: ``per-class`` where
    the c-th of them makes the clips of class c; otherwise each class has all of them.
    """
    said = {}
    if synthetic.temporal is not None:
        named = {name: getattr(synthetic.temporal, name) for name in ("n_syn", "segments", "interpolation")}
        said["temporal"] = json.dumps(named)
    if isinstance(synthetic, StaticDynamic) and synthetic.per_class:
        said["hallucinator"] = "per-class"
    return said


def _hard_labels(classes: int, ipc: int) -> torch.Tensor:
    return torch.arange(classes).unsqueeze(1).expand(-1, ipc).contiguous()


def ordered(content: bytes) -> bytes:
    """A safetensors file with its metadata sorted by key; tensors and their bytes stay as they are."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def encode(name: str, tensor: torch.Tensor, precision: str) -> dict[str, torch.Tensor]:
    """The tensors that store ``tensor`` at ``precision``.

    uint8 has a scale and an offset for each [class, memory] slice: value = offset + scale * stored. Hallucinators and
    soft labels are float32 at any precision. Raises DataError for values that float16 cannot hold.
    """
    if precision == "float32" or not is_memory(name):
        return {name: tensor.to(torch.float32).contiguous()}
    if precision == "float16":
        if tensor.numel() and tensor.abs().max() > torch.finfo(torch.float16).max:
            problem = f"The {name} memory has values up to {tensor.abs().max():.3g}, beyond what float16 can hold."
            raise DataError(problem, "Export it as float32 or uint8.")
        return {name: tensor.to(torch.float16).contiguous()}
    flat = tensor.flatten(2)
    low, high = flat.amin(2), flat.amax(2)
    scale = ((high - low) / 255).clamp_min(torch.finfo(torch.float32).tiny)
    steps = ((flat - low.unsqueeze(2)) / scale.unsqueeze(2)).round().clamp(0, 255).to(torch.uint8)
    return {name: steps.view(tensor.shape).contiguous(), f"{name}.offset": low, f"{name}.scale": scale}


def decode(name: str, stored: Mapping[str, torch.Tensor], precision: str) -> torch.Tensor:
    """float32 values of the memory ``name``; the inverse of ``encode`` up to its rounding.

    Raises KeyError or ValueError if it is not stored as ``encode`` does.
    """
    tensor = _stored(stored, name, _DTYPES[precision])
    if precision != "uint8":
        return tensor.to(torch.float32)
    low, scale = (_stored(stored, f"{name}.{part}", torch.float32) for part in ("offset", "scale"))
    if not low.shape == scale.shape == tensor.shape[:2]:
        raise ValueError(f"ranges of {name}")
    shape = tensor.shape[:2] + (1,) * (tensor.dim() - 2)
    return low.view(shape) + scale.view(shape) * tensor.to(torch.float32)


def _stored(stored: Mapping[str, torch.Tensor], name: str, dtype: torch.dtype) -> torch.Tensor:
    if stored[name].dtype != dtype:
        raise ValueError(f"{name} is {stored[name].dtype}")
    return stored[name]


@dataclasses.dataclass(frozen=True)
class LoadedSet:
    """A set from a file, with where it comes from and at which precision it was stored."""

    synthetic: SyntheticSet
    provenance: Provenance
    precision: str


def load_synthetic(path: str | Path, device: torch.device | str = "cpu") -> SyntheticSet:
    """The synthetic set in ``path``: an object with ``sample``, ``expand`` and ``as_dataset``. Raises DataError."""
    return load_set(path, device).synthetic


def load_set(path: str | Path, device: torch.device | str = "cpu") -> LoadedSet:
    """As ``load_synthetic``, with provenance and precision. Raises DataError."""
    stored, metadata = _read(Path(path), str(device))
    path = one_line(path)
    if metadata.get("format") != FORMAT:
        raise DataError(f"{path} is a safetensors file, but not a synthetic set.", _HINT)
    if metadata.get("version") != str(VERSION):
        version = one_line(str(metadata.get("version"))[:20])
        problem = f"{path} has version {version} of the format; this vdtui reads {VERSION}."
        raise DataError(problem, "Update vdtui to read it.")
    try:
        precision = metadata["precision"]
        if precision not in PRECISIONS:
            raise ValueError(precision)
        synthetic = _build(stored, metadata, precision)
        provenance = Provenance.of_metadata(metadata)
    except (LookupError, ValueError, TypeError, AssertionError, RuntimeError, ArithmeticError, PresetError) as error:
        reason = one_line(str(error))[:120]
        raise DataError(f"{path} is damaged: its tensors do not fit its description ({reason}).", _HINT) from error
    if not all(torch.isfinite(tensor).all() for tensor in synthetic.tensors().values()):
        raise DataError(f"{path} holds values that are not finite.", _HINT)
    return LoadedSet(synthetic, provenance, precision)


def _read(path: Path, device: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    shown = one_line(path)
    try:
        with safe_open(path, framework="pt", device=device) as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except FileNotFoundError as error:
        raise DataError(f"There is no file {shown}.", "Check the path.") from error
    except (OSError, SafetensorError) as error:
        reason = one_line(str(error).splitlines()[0][:120])
        raise DataError(f"{shown} cannot be read as a synthetic set: {reason}.", _HINT) from error


def _build(stored: dict[str, torch.Tensor], metadata: dict[str, str], precision: str) -> SyntheticSet:
    kind, ipc = metadata["kind"], int(metadata["ipc"])
    as_pixels = kind == "coreset" and precision == "uint8" and "pixels.offset" not in stored
    if as_pixels:
        whole = _stored(stored, "pixels", torch.uint8)
        spec = _spec(metadata, whole)
        memories = {"pixels": spec.normalise_images(whole.flatten(0, 2).movedim(1, -1)).contiguous().view(whole.shape)}
    else:
        memories = {name: decode(name, stored, precision) for name in _MEMORIES[kind]}
        spec = _spec(metadata, next(iter(memories.values())))
    if ipc < 1:
        raise ValueError("ipc")
    if kind == "coreset" and "distinct" in metadata:
        memories["pixels"] = _again(memories["pixels"], metadata["distinct"], len(spec.classes), ipc)
    soft, temporal = _soft_labels(stored, len(spec.classes), ipc), _read_temporal(metadata, spec.frames)
    if temporal is not None and kind in ("static-only", "static-images"):
        raise ValueError("temporal")
    per_class = _read_per_class(metadata)
    builders: dict[str, Callable[..., SyntheticSet]] = {
        "pixels": lambda pixels: Pixels(spec, pixels, temporal=temporal, soft_labels=soft),
        "coreset": lambda pixels: Coreset(spec, pixels, temporal=temporal, soft_labels=soft),
        "static-only": lambda static: StillVideo(spec, ipc, static, soft_labels=soft),
        "static-images": lambda static: StaticImages(spec, static, soft_labels=soft),
        "static-dynamic": lambda static, dynamic: StaticDynamic(
            spec, ipc, static, dynamic, _hallucinator(stored), temporal=temporal, per_class=per_class, soft_labels=soft
        ),
    }
    synthetic = builders[kind](**memories)
    if synthetic.ipc != ipc:
        raise ValueError("ipc")
    return synthetic


_MEMORIES = {
    "pixels": ("pixels",),
    "coreset": ("pixels",),
    "static-only": ("static",),
    "static-images": ("static",),
    "static-dynamic": ("static", "dynamic"),
}
"""The memories of each kind; clips have the height and width of the first."""


def _spec(metadata: Mapping[str, str], memory: torch.Tensor) -> ClipSpec:
    spec = ClipSpec(
        classes=tuple(str(name) for name in json.loads(metadata["classes"])),
        frames=int(metadata["frames"]),
        height=memory.shape[-2],
        width=memory.shape[-1],
        mean=tuple(float(value) for value in json.loads(metadata["mean"])),
        std=tuple(float(value) for value in json.loads(metadata["std"])),
    )
    if len(spec.mean) != 3 or len(spec.std) != 3 or not all(map(math.isfinite, spec.mean + spec.std)):
        raise ValueError("mean or std")
    if min(spec.std) <= 0 or not 1 <= spec.frames <= _MOST_FRAMES or not spec.classes or 0 in memory.shape[2:]:
        raise ValueError("std, frames, or no memory at all")
    if not memory.numel() and max(spec.height, spec.width) > _MOST_SIDE:
        raise ValueError("height or width")
    return spec


def _read_temporal(metadata: Mapping[str, str], frames: int) -> Temporal | None:
    if "temporal" not in metadata:
        return None
    named = json.loads(metadata["temporal"])
    if type(named["n_syn"]) is not int or type(named["segments"]) is not int:
        raise ValueError("temporal")
    return Temporal(frames, named["n_syn"], named["segments"], named["interpolation"])


def _read_per_class(metadata: Mapping[str, str]) -> bool:
    whose = metadata.get("hallucinator", "shared")
    if whose not in ("shared", "per-class") or (whose == "per-class" and metadata["kind"] != StaticDynamic.kind):
        raise ValueError("hallucinator")
    return whose == "per-class"


def _soft_labels(stored: Mapping[str, torch.Tensor], classes: int, ipc: int) -> torch.Tensor | None:
    """The labels if they are soft; hard ones can only be those that the places of the instances say."""
    labels = stored["labels"]
    if labels.dtype == torch.float32 and labels.shape == (classes, ipc, classes):
        return labels
    hard = labels.dtype == torch.int64 and labels.shape == (classes, ipc)
    if not (hard and torch.equal(labels.cpu(), _hard_labels(classes, ipc))):
        raise ValueError("labels")
    return None


def _hallucinator(stored: Mapping[str, torch.Tensor]) -> Hallucinator:
    weight, bias = (_stored(stored, f"hallucinator.{name}", torch.float32) for name in ("weight", "bias"))
    several = bias.dim() == 2 and len(bias) > 1
    if bias.shape[-1:] != (3,) or not (bias.dim() == 1 or several) or weight.shape != (*bias.shape, 4, 3, 3, 3):
        raise ValueError("hallucinator")
    return Hallucinator.of(weight, bias).requires_grad_(False)
