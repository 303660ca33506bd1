"""The synthetic set file: safetensors, with what is needed to use the set beside the tensors.

The same set gives the same bytes: the library writes its metadata in a random order, so the header is put in order
before it is written. Nothing is unpickled when a file from outside is read.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from engine.data.spec import ClipSpec
from engine.errors import DataError
from engine.models.hallucinator import Hallucinator
from engine.runs.files import write_bytes
from engine.synthetic.base import PRECISIONS, SyntheticSet, is_memory
from engine.synthetic.pixels import Coreset, Pixels
from engine.synthetic.static_dynamic import StaticDynamic
from engine.synthetic.still import StaticImages, StillVideo

FORMAT, VERSION = "vdtui.synthetic", 1
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
        **{name: json.dumps(value) for name, value in dataclasses.asdict(provenance).items()},
    }
    stored: dict[str, torch.Tensor] = {}
    for name, tensor in synthetic.tensors().items():
        stored |= encode(name, tensor.cpu(), precision)
    stored["labels"] = torch.arange(len(spec.classes)).unsqueeze(1).expand(-1, synthetic.ipc).contiguous()
    return ordered(save(stored, metadata))


def save_synthetic(path: Path, synthetic: SyntheticSet, provenance: Provenance, precision: str = "float32") -> None:
    """Write ``synthetic`` to ``path``, complete or not at all."""
    write_bytes(path, to_bytes(synthetic, provenance, precision))


def _pairing(synthetic: SyntheticSet) -> dict[str, int]:
    if isinstance(synthetic, StaticDynamic):
        return {"statics": synthetic.statics_per_instance, "dynamics": synthetic.dynamics_per_instance}
    return {"statics": synthetic.variants, "dynamics": 0}


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

    uint8 has a scale and an offset for each [class, memory] slice: value = offset + scale * stored. Raises DataError
    for values that float16 cannot hold.
    """
    if precision == "float32" or not is_memory(name):
        return {name: tensor.contiguous()}
    if precision == "float16":
        if tensor.abs().max() > torch.finfo(torch.float16).max:
            problem = f"The {name} memory has values up to {tensor.abs().max():.3g}, beyond what float16 can hold."
            raise DataError(problem, "Export it as float32 or uint8.")
        return {name: tensor.to(torch.float16).contiguous()}
    flat = tensor.flatten(2)
    low, high = flat.amin(2), flat.amax(2)
    scale = ((high - low) / 255).clamp_min(torch.finfo(torch.float32).tiny)
    steps = ((flat - low.unsqueeze(2)) / scale.unsqueeze(2)).round().clamp(0, 255).to(torch.uint8)
    return {name: steps.view(tensor.shape).contiguous(), f"{name}.offset": low, f"{name}.scale": scale}


def decode(name: str, stored: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """float32 values of the stored tensor ``name``; the inverse of ``encode`` up to its rounding."""
    tensor = stored[name]
    if tensor.dtype != torch.uint8:
        return tensor.to(torch.float32)
    shape = tensor.shape[:2] + (1,) * (tensor.dim() - 2)
    return stored[f"{name}.offset"].view(shape) + stored[f"{name}.scale"].view(shape) * tensor.to(torch.float32)


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
    if metadata.get("format") != FORMAT:
        raise DataError(f"{path} is a safetensors file, but not a synthetic set.", _HINT)
    if metadata.get("version") != str(VERSION):
        problem = f"{path} has version {metadata.get('version')} of the format; this vdtui reads {VERSION}."
        raise DataError(problem, "Update vdtui to read it.")
    try:
        synthetic = _build(stored, metadata)
        fields = {name: json.loads(metadata[name]) for name in Provenance.__dataclass_fields__}
        precision = metadata["precision"]
        if precision not in PRECISIONS:
            raise ValueError(precision)
    except (KeyError, ValueError, TypeError, AssertionError, RuntimeError, IndexError) as error:
        raise DataError(f"{path} is damaged: its tensors do not fit its description ({error}).", _HINT) from error
    if not all(torch.isfinite(tensor).all() for tensor in synthetic.tensors().values()):
        raise DataError(f"{path} holds values that are not finite.", _HINT)
    return LoadedSet(synthetic, Provenance(**fields), precision)


def _read(path: Path, device: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt", device=device) as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.", "Check the path.") from error
    except (OSError, SafetensorError) as error:
        reason = str(error).splitlines()[0][:120]
        raise DataError(f"{path} cannot be read as a synthetic set: {reason}.", _HINT) from error


def _build(stored: dict[str, torch.Tensor], metadata: dict[str, str]) -> SyntheticSet:
    kind, ipc = metadata["kind"], int(metadata["ipc"])
    main = "pixels" if kind in ("pixels", "coreset") else "static"
    spec = ClipSpec(
        classes=tuple(str(name) for name in json.loads(metadata["classes"])),
        frames=int(metadata["frames"]),
        height=stored[main].shape[-2],
        width=stored[main].shape[-1],
        mean=tuple(float(value) for value in json.loads(metadata["mean"])),
        std=tuple(float(value) for value in json.loads(metadata["std"])),
    )
    if len(spec.mean) != 3 or len(spec.std) != 3 or not all(map(math.isfinite, spec.mean + spec.std)):
        raise ValueError("mean or std")
    if min(spec.std) <= 0 or spec.frames < 1 or ipc < 1:
        raise ValueError("std, frames or ipc")
    builders: dict[str, Callable[[], SyntheticSet]] = {
        "pixels": lambda: Pixels(spec, decode("pixels", stored)),
        "coreset": lambda: Coreset(spec, decode("pixels", stored)),
        "static-only": lambda: StillVideo(spec, ipc, decode("static", stored)),
        "static-images": lambda: StaticImages(spec, decode("static", stored)),
        "static-dynamic": lambda: StaticDynamic(
            spec, ipc, decode("static", stored), decode("dynamic", stored), _hallucinator(stored, spec)
        ),
    }
    return builders[kind]()


def _hallucinator(stored: Mapping[str, torch.Tensor], spec: ClipSpec) -> Hallucinator:
    hallucinator = Hallucinator.identity(spec.std).to(stored["hallucinator.weight"].device)
    weights: dict[str, Any] = {name: stored[f"hallucinator.{name}"] for name in ("weight", "bias")}
    hallucinator.load_state_dict(weights)
    return hallucinator.requires_grad_(False)
