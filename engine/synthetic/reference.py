"""Sets that the public code of video distillation leaves behind, as sets of ours, so that they can be judged and shown.

The code of Wang et al. (CVPR 2024) and its kin save tensors by ``torch.save``: whole clips as ``images_best.pt``
(C * ipc, T, 3, H, W); static memory as ``images_best.pt``, or as a dictionary with ``image``, (C * spc, 3, H, W),
beside ``dynamic_best.pt`` (C * dpc, T, 1, H, W) and the hallucinators' ``weights_best.pt``; learned labels as
``y_syn_*.pt``. Their values are normalised by ImageNet's mean and deviation, and no file says what the classes are
called. Everything is read by ``weights_only``: no code in a file is run.
"""

from __future__ import annotations

import dataclasses
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from engine.data.spec import ClipSpec
from engine.errors import DataError, UsageError
from engine.models.hallucinator import Hallucinator
from engine.synthetic.base import SyntheticSet
from engine.synthetic.pixels import Pixels
from engine.synthetic.static_dynamic import StaticDynamic
from engine.synthetic.still import StillVideo
from engine.text import one_line

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
UNIT = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""The normalisation of values that are pixels from 0 to 1."""
_HINT = "Name a folder with images_best.pt, dynamic_best.pt and weights_best.pt, or a .pt file of clips or stills."


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Facts that the files do not say, as far as a user, or the clips file, knows them."""

    classes: tuple[str, ...] | None = None
    ipc: int | None = None
    """Instances per class; None: as many as there are clips of a class, or half as many as it has stills."""
    frames: int | None = None
    """The frames of clips that are made of stills alone."""
    given: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET
    """Mean and deviation by which the values are normalised."""
    made: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET
    """Mean and deviation by which those of the new set are to be, which are those of the clips to test on."""


def read_reference(path: Path, wanted: Wanted, static: Path | None = None) -> tuple[SyntheticSet, tuple[str, ...]]:
    """Return the set in the folder or file ``path``, and notes for the user; ``static`` is the file of the stills.

    Raises DataError for files that are none of these, UsageError where something must be said that they do not.
    """
    if not path.exists():
        raise DataError(f"There is no {one_line(path)}.", "Check the path.")
    if path.is_file():
        return _of_images(*_images(path), wanted)
    dynamic = _newest(path, "dynamic")
    images = static or _newest(path, "images")
    labels = _newest(path, "y_syn")
    soft = None if labels is None else _tensor(labels)
    if dynamic is None:
        if images is None:
            raise DataError(f"{one_line(path)} has neither images_best.pt nor dynamic_best.pt.", _HINT)
        clips, own = _images(images)
        return _of_images(clips, own if soft is None else soft, wanted)
    if images is None:
        problem = f"{one_line(path)} has a dynamic memory and no images_best.pt: its stills were not learned."
        raise UsageError(problem, "Name the file that they were read from: --static FILE.pt")
    weights = _newest(path, "weights") or _newest(path, "hal")
    if weights is None:
        raise DataError(f"{one_line(path)} has no weights_best.pt, the hallucinators.", _HINT)
    return _of_memories(_images(images)[0], _tensor(dynamic), _load(weights), soft, wanted)


def _newest(folder: Path, name: str) -> Path | None:
    """Return ``NAME_best.pt`` in ``folder``, else that of the latest step; None without any."""
    best = folder / f"{name}_best.pt"
    if best.is_file():
        return best
    steps = ((re.search(r"_(\d+)$", each.stem), each) for each in folder.glob(f"{name}_*.pt"))
    numbered = {int(found[1]): each for found, each in steps if found}
    return numbered[max(numbered)] if numbered else None


def _load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        problem = f"{one_line(path)} holds more than tensors, numbers and text, and its code is not run."
        raise DataError(problem, "Save its tensors alone: torch.save({'image': tensor}, PATH)") from error
    except Exception as error:  # what a torn file makes of the reader is not told beforehand
        reason = one_line((str(error).splitlines() or ["empty"])[0])[:120]
        raise DataError(f"{one_line(path)} cannot be read as a .pt file: {reason}.", "Check the path.") from error


def _tensor(path: Path) -> torch.Tensor:
    found = _load(path)
    if not isinstance(found, torch.Tensor) or not torch.isfinite(found.float()).all():
        raise DataError(f"{one_line(path)} is not a tensor of finite numbers.", _HINT)
    return found.detach().float()


def _images(path: Path) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return clips or stills, and labels if the file has them."""
    found = _load(path)
    labels = None
    if isinstance(found, Mapping):
        names = [name for name in ("image", "images", "clips", "data") if isinstance(found.get(name), torch.Tensor)]
        if not names:
            listed = one_line(", ".join(map(str, list(found)[:6])))
            raise DataError(f"{one_line(path)} is a dictionary without image: it has {listed}.", _HINT)
        label = found.get("label", found.get("labels"))
        labels = label.detach() if isinstance(label, torch.Tensor) else None
        found = found[names[0]]
    if not isinstance(found, torch.Tensor) or found.dim() not in (4, 5):
        raise DataError(f"{one_line(path)} has no clips (N, T, 3, H, W), and no stills (N, 3, H, W).", _HINT)
    images = found.detach().float()
    if images.dim() == 5 and images.shape[2] != 3 and images.shape[1] == 3:
        images = images.transpose(1, 2)
    if images.shape[-3] != 3 or not torch.isfinite(images).all():
        raise DataError(f"{one_line(path)} has no pictures of three finite channels.", _HINT)
    return images, labels


def _of_images(
    images: torch.Tensor, labels: torch.Tensor | None, wanted: Wanted
) -> tuple[SyntheticSet, tuple[str, ...]]:
    number = len(images)
    classes, named = _classes(wanted, number, labels)
    ipc = number // len(classes)
    soft = _soft(labels, len(classes), ipc)
    if labels is not None and labels.dim() == 1:
        order = labels.long().argsort(stable=True)
        if not torch.equal(labels.long()[order], torch.arange(len(classes)).repeat_interleave(ipc)):
            raise DataError("The labels of the file do not name each class equally often.", "Leave out the others.")
        images = images[order]
    images = _renormalised(images, wanted)
    height, width = images.shape[-2:]
    if images.dim() == 5:
        spec = ClipSpec(classes, images.shape[1], height, width, *wanted.made)
        return Pixels(spec, images.unflatten(0, (len(classes), ipc)).contiguous(), soft_labels=soft), named
    if wanted.frames is None:
        problem = "The file has stills, and nothing says how many frames a clip of them shall have."
        raise UsageError(problem, "Say it by the clips to test on, --data FILE.h5, or by --frames N.")
    spec = ClipSpec(classes, wanted.frames, height, width, *wanted.made)
    return StillVideo(spec, ipc, images.unflatten(0, (len(classes), ipc)).contiguous(), soft_labels=soft), named


def _of_memories(
    static: torch.Tensor, dynamic: torch.Tensor, weights: Any, labels: torch.Tensor | None, wanted: Wanted
) -> tuple[SyntheticSet, tuple[str, ...]]:
    if dynamic.dim() == 6:
        dynamic = dynamic.flatten(0, 1)
    if static.dim() != 4 or dynamic.dim() != 5 or dynamic.shape[2] != 1 or static.shape[-2:] != dynamic.shape[-2:]:
        shapes = f"stills {tuple(static.shape)}, dynamic memory {tuple(dynamic.shape)}"
        raise DataError(f"The memories do not go together: {shapes}.", _HINT)
    weight, bias = _hallucinators(weights)
    if wanted.classes is None and wanted.ipc is None:
        problem = "Nothing says how many classes the memories are of."
        raise UsageError(problem, "Name the clips to test on, --data FILE.h5, or say --ipc N.")
    classes, named = _classes(wanted, len(static), None, memories=len(dynamic))
    number = len(classes)
    if len(static) % number or len(dynamic) % number:
        problem = f"{len(static)} stills and {len(dynamic)} dynamic memories are not those of {number} classes."
        raise UsageError(problem, "Name the clips that the set is of: --data FILE.h5")
    spc, dpc = len(static) // number, len(dynamic) // number
    ipc = wanted.ipc or (spc // 2 if spc % 2 == 0 and dpc % (spc // 2) == 0 else 1)
    if spc % ipc or dpc % ipc:
        shared = f"{spc} stills and {dpc} dynamic memories of a class cannot be shared by {ipc} instances."
        raise UsageError(shared, "Change --ipc.")
    mean, std = (torch.tensor(values) for values in wanted.given)
    mean_made, std_made = (torch.tensor(values) for values in wanted.made)
    # Clips are a linear map of the memories, so another normalisation of what comes out is one of its weights.
    scale, shift = std / std_made, (mean - mean_made) / std_made
    hallucinator = Hallucinator.of(weight * scale.view(3, 1, 1, 1, 1), bias * scale + shift)
    spec = ClipSpec(classes, dynamic.shape[1], static.shape[-2], static.shape[-1], *wanted.made)
    made = StaticDynamic(
        spec,
        ipc,
        static.unflatten(0, (number, spc)).contiguous(),
        dynamic.unflatten(0, (number, dpc)).contiguous(),
        hallucinator.requires_grad_(False),
        soft_labels=_soft(labels, number, ipc),
    )
    return made, named


def _hallucinators(weights: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight and bias, stacked where there are several, of the state of a list of convolutions."""
    found = weights if isinstance(weights, Mapping) else {}
    pairs = [
        (value.detach().float(), found.get(name.removesuffix("weight") + "bias"))
        for name, value in found.items()
        if str(name).endswith("weight") and isinstance(value, torch.Tensor)
    ]
    good = [(w, b.detach().float()) for w, b in pairs if w.shape == (3, 4, 3, 3, 3) and isinstance(b, torch.Tensor)]
    if not good or len(good) < len(pairs) or any(b.shape != (3,) for _, b in good):
        problem = "The hallucinators are not 3-D convolutions of 4 channels to 3, of 3 x 3 x 3, with a bias."
        raise DataError(problem, "Only those of the published method can be imported.")
    weight, bias = (torch.stack(each) for each in zip(*good, strict=True))
    return (weight[0], bias[0]) if len(good) == 1 else (weight, bias)


def _classes(
    wanted: Wanted, number: int, labels: torch.Tensor | None, memories: int | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the classes, and a note on where they come from."""
    if wanted.classes is not None:
        count = len(wanted.classes)
        if number % count:
            problem = f"{number} pictures or clips are not those of {count} classes."
            raise UsageError(problem, "Name the clips file that the set is of: --data FILE.h5")
        note = "The order of the classes is that of the clips file; the imported files do not name theirs: check it."
        return wanted.classes, (note,)
    if labels is not None:
        count = labels.shape[1] if labels.dim() == 2 else int(labels.max()) + 1
    elif wanted.ipc is None:
        hint = "Name the clips, --data FILE.h5, or say --ipc N."
        raise UsageError("Nothing says how many classes the file has.", hint)
    else:
        count = number // (wanted.ipc if memories is None else 2 * wanted.ipc)
    if count < 1 or number % count:
        raise UsageError(f"{number} pictures or clips cannot be shared by {count} classes.", "Change --ipc.")
    return tuple(map(str, range(count))), ("Classes are called by their numbers: no clips file named them.",)


def _soft(labels: torch.Tensor | None, classes: int, ipc: int) -> torch.Tensor | None:
    """Return soft labels (C, ipc, C); None of hard ones, or of none."""
    if labels is None or labels.dim() != 2:
        return None
    if labels.shape != (classes * ipc, classes):
        problem = f"Soft labels {tuple(labels.shape)} are not those of {classes * ipc} instances of {classes} classes."
        raise DataError(problem, "Change --ipc, or take the labels out of the folder.")
    return labels.float().reshape(classes, ipc, classes)


def _renormalised(images: torch.Tensor, wanted: Wanted) -> torch.Tensor:
    given, made = ([torch.tensor(values).view(3, 1, 1) for values in pair] for pair in (wanted.given, wanted.made))
    if wanted.given == wanted.made:
        return images
    return (images * given[1] + given[0] - made[0]) / made[1]
