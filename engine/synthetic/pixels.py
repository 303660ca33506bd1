"""Whole clips as pixels: the published baselines' parameterisation, and what a coreset of real clips is."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import torch

from engine.data.batches import RealClips
from engine.data.spec import ClipSpec
from engine.synthetic.base import SyntheticSet
from engine.synthetic.formation import Formation
from engine.synthetic.numbers import PRECISIONS, encode, precision_of, typed
from engine.synthetic.start import Start
from engine.synthetic.temporal import Temporal


class Pixels(SyntheticSet):
    """``pixels`` (C, ipc, stored, 3, H, W), normalised: all T frames, or those that ``temporal`` stores of a clip.

    With a ``formation`` each of these pictures holds several of the ipc instances, so there are as many fewer.
    """

    kind: ClassVar[str] = "pixels"
    metadata_read: ClassVar[tuple[str, ...]] = ("temporal", "formation")

    def __init__(
        self,
        spec: ClipSpec,
        pixels: torch.Tensor,
        *,
        temporal: Temporal | None = None,
        formation: Formation | None = None,
        soft_labels: torch.Tensor | None = None,
        learn_labels: bool = False,
    ) -> None:
        self.formation = formation
        super().__init__(spec, pixels.shape[1] * self.sharing, soft_labels=soft_labels, learn_labels=learn_labels)
        assert temporal is None or temporal.frames == spec.frames, (temporal, spec.frames)
        stored = spec.frames if temporal is None else temporal.stored
        assert pixels.shape[0] == len(spec.classes)
        assert pixels.shape[2:] == (stored, 3, spec.height, spec.width), pixels.shape
        self.pixels = pixels
        self.temporal = temporal if temporal is not None and temporal.compresses else None

    @classmethod
    def start(cls, start: Start) -> Self:
        """Noise, or real clips."""
        temporal, formation = start.temporal, start.formation
        if start.preset.dynamic.init == "noise":
            pixels = start.noise("pixels-noise", start.shapes(cls.kind)["pixels"])
        else:
            clips = start.clips(start.preset.synthetic.ipc)
            pixels = torch.stack([pictures_of(own, temporal, formation).contiguous() for own in clips])
        learns = start.labels is not None
        return cls(
            start.spec, pixels, temporal=temporal, formation=formation, soft_labels=start.labels, learn_labels=learns
        )

    @classmethod
    def build(cls, spec: ClipSpec, ipc: int, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> Self:
        """The set of ``pixels``."""
        temporal, formation = Temporal.of_metadata(metadata, spec.frames), Formation.of_metadata(metadata, spec)
        labels = tensors.get("soft_labels")
        return cls(spec, tensors["pixels"], temporal=temporal, formation=formation, soft_labels=labels)

    def metadata(self) -> dict[str, str]:
        """Add ``formation``: how many clips a picture holds along each side, where it is more than one."""
        return super().metadata() | ({} if self.formation is None else {"formation": str(self.formation.side)})

    def describe(self) -> str:
        """Describe it as any set; the same pictures make other clips in a formation."""
        return super().describe() + ("" if self.formation is None else f" formation {self.formation.side}")

    def project(self, name: str, clips: torch.Tensor) -> torch.Tensor:
        """The frames that are stored of each clip: (N, stored, 3, H, W); of each and those after it in a formation."""
        frames = pictures_of(clips, self.temporal, None)
        if self.formation is None:
            return frames
        number = torch.arange(len(clips), device=clips.device)
        following = (number.unsqueeze(1) + number.new_tensor(range(self.formation.clips))) % len(clips)
        return self.formation.arranged(self.formation.small(frames)[following.flatten()])

    def of_one_frame(self) -> Self | None:
        """Return the set of the first stored frames, if all others are equal to it, as they are of decoded stills."""
        first = self.pixels.detach()[:, :, :1]
        if not torch.equal(self.pixels, first.expand_as(self.pixels)):
            return None
        twin = copy.copy(self)
        twin.spec, twin.pixels, twin.temporal = dataclasses.replace(self.spec, frames=1), first, None
        return twin

    @property
    def sharing(self) -> int:
        """The clips of a picture in a formation."""
        return 1 if self.formation is None else self.formation.clips

    @property
    def variants(self) -> int:
        """One: an instance is a clip."""
        return 1

    def _stored(self) -> dict[str, torch.Tensor]:
        return {"pixels": self.pixels}

    def _learned(self) -> dict[str, torch.Tensor]:
        return {"pixels": self.pixels}

    def compose(self, labels: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        """The clips of instances ``choice``."""
        if self.formation is None:
            stored = self.pixels[labels, choice]
        else:
            stored = self.formation.shown(self.pixels, labels, choice)
        if self.temporal is None:
            return stored.transpose(1, 2).contiguous(memory_format=torch.channels_last_3d)
        # Channels go last while there are few frames: what is stretched is in the layout that networks want.
        shown = self.temporal.stretch(stored.movedim(2, -1).contiguous(), 1)
        return shown.movedim(-1, 1).contiguous(memory_format=torch.channels_last_3d)


def pictures_of(clips: torch.Tensor, temporal: Temporal | None, formation: Formation | None) -> torch.Tensor:
    """The pictures (n, stored, 3, H, W) that store ``clips`` (N, 3, T, H, W): n is N, or fewer in a formation."""
    frames = clips.transpose(1, 2)
    stored = frames if temporal is None else temporal.compress(frames, 1)
    return stored if formation is None else formation.form(stored)


MOST_REPEATS = 1 << 10
"""The most times that a file may say that a clip comes again, which costs it next to nothing."""


class Coreset(Pixels):
    """Real clips: exact in uint8, so that is what is stored, a byte a value without ranges.

    A class with fewer clips than ``ipc`` shows them again, in the same order, so that an epoch has as many of each
    class. What comes again is neither stored nor counted.
    """

    kind: ClassVar[str] = "coreset"
    metadata_read: ClassVar[tuple[str, ...]] = ("temporal",)

    @classmethod
    def of(cls, real: RealClips, chosen: torch.Tensor) -> Self:
        """The clips ``chosen``, int64 (C, ipc), of ``real``."""
        clips = real.clips(chosen.flatten()).unflatten(0, tuple(chosen.shape))
        return cls(real.spec, clips.transpose(2, 3).contiguous())

    @classmethod
    def start(cls, start: Start) -> Self:
        """The clips that were chosen: there is nothing to learn of them."""
        assert start.chosen is not None
        return cls.of(start.real, start.chosen)

    def encoded(self, precision: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """Store each clip once, and at uint8 as its pixels were in the video, if that is what they are.

        Where clips come again, the metadata ``distinct`` is how many of each class are stored, and ``pixels`` is
        (1, N, ...), the clips of one class after the other.
        """
        tensors = {name: tensor.cpu() for name, tensor in self.tensors().items()}
        stored, said = {}, {}
        kept = stored_of(self.distinct, self.ipc)
        if sum(kept) < len(kept) * self.ipc:
            said["distinct"] = json.dumps(kept)
            tensors["pixels"] = once(tensors["pixels"], kept)
        whole = _real_pixels(tensors["pixels"], self.spec) if precision == "uint8" else None
        if whole is not None:
            del tensors["pixels"]
            stored["pixels"] = whole
        for name, tensor in tensors.items():
            stored |= encode(self.description.part(name), tensor, precision)
        return stored, said

    @classmethod
    def decoded(
        cls, spec: ClipSpec, ipc: int, stored: Mapping[str, torch.Tensor], metadata: Mapping[str, str], precision: str
    ) -> dict[str, torch.Tensor]:
        """The inverse of ``encoded``: without ranges, pixels are those of the video."""
        if precision == "uint8" and "pixels.offset" not in stored:
            whole = typed(stored, "pixels", torch.uint8)
            pixels = spec.normalise_images(whole.flatten(0, 2).movedim(1, -1)).contiguous().view(whole.shape)
        else:
            pixels = super().decoded(spec, ipc, stored, metadata, precision)["pixels"]
        if "distinct" in metadata:
            pixels = _again(pixels, metadata["distinct"], len(spec.classes), ipc)
        return {"pixels": pixels}

    @functools.cached_property
    def distinct(self) -> tuple[int, ...]:
        """The number of clips of each class before they come again; clips are compared once, since real ones stay."""
        return tuple(_period(own) for own in self.pixels)

    def nbytes(self, precision: str = "uint8") -> int:
        """Bytes of the stored values."""
        return sum(
            number * PRECISIONS[precision_of(self.description.part(name), precision)]
            for name, number in self._counted().items()
        )

    @property
    def stored_values(self) -> int:
        """The number of values that are stored: those of each clip once."""
        return sum(self._counted().values())

    def _counted(self) -> dict[str, int]:
        numbers = {name: tensor.numel() for name, tensor in self.tensors().items()}
        return numbers | {"pixels": sum(self.distinct) * self.pixels[0, 0].numel()}


def _period(own: torch.Tensor) -> int:
    """After how many of ``own`` (n, ...) the first ones come again to the end; n if they do not."""
    places = range(1, len(own))
    return next((n for n in places if torch.equal(own[n], own[0]) and torch.equal(own[n:], own[:-n])), len(own))


def stored_of(distinct: Sequence[int], number: int) -> list[int]:
    """Return the number of clips of each class in a file that shows ``number``, of which ``distinct`` are different.

    One class stores a clip for every MOST_REPEATS, so that a small file cannot claim all memory.
    """
    kept = list(distinct)
    largest = kept.index(max(kept))
    kept[largest] = max(kept[largest], math.ceil(number / MOST_REPEATS))
    return kept


def once(pixels: torch.Tensor, kept: Sequence[int]) -> torch.Tensor:
    """The first ``kept`` clips of each class of ``pixels`` (C, ipc, ...), one class after the other: (1, N, ...)."""
    return torch.cat([own[:number] for own, number in zip(pixels, kept, strict=True)]).unsqueeze(0)


def _again(pixels: torch.Tensor, described: str, classes: int, ipc: int) -> torch.Tensor:
    """The inverse of ``once``: (C, ipc, ...). Raises ValueError if ``described`` does not go with ``pixels``."""
    kept = json.loads(described)
    numbers = isinstance(kept, list) and all(type(number) is int and number >= 1 for number in kept)
    fits = numbers and len(kept) == classes and pixels.shape[:2] == (1, sum(kept))
    if not (fits and max(kept) <= ipc <= MOST_REPEATS * max(kept)):
        raise ValueError("distinct")
    return pixels[0][places_shown(kept, ipc).to(pixels.device)]


def places_shown(kept: Sequence[int], ipc: int) -> torch.Tensor:
    """Which stored clip each instance shows, int64 (C, ipc), where ``kept`` of each class are stored in a row."""
    firsts = torch.tensor([0, *kept[:-1]]).cumsum(0)
    return torch.arange(ipc) % torch.tensor(kept).unsqueeze(1) + firsts.unsqueeze(1)


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
