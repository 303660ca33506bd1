"""Learning through the storage: the objective sees what will be decoded, and its gradients reach the memories.

A set that was learned as float32 and encoded afterwards loses what the codec takes. Here each memory is stored and
decoded again every few steps, and the objective sees memory + (decoded - memory), where what is in brackets is taken as
constant: the values are those of the file, the gradient is that of the memory (a straight-through estimate, as Bengio,
Leonard and Courville 2013 use it for steps that have none).
"""

from __future__ import annotations

import time

import torch

from engine.config.kinds import Part
from engine.distilling.keeping import storage_of
from engine.distilling.opening import Work
from engine.events import Note, Stage
from engine.runs.checkpoints import Checkpoint
from engine.synthetic import SyntheticSet
from engine.synthetic.levels import decoded, has_levels, pixel_range

_STATE = "storage."


class ThroughStorage:
    """The set of a stage as it will be decoded, encoded anew at each step that ``storage.every`` divides.

    Colours are kept in the range of pixels, which is what codecs store. Several processes encode a share each.
    Hallucinators are shown as they are: what float16 rounds of them is less than a level of what they act on.
    """

    def __init__(self, work: Work, synthetic: SyntheticSet, resume: Checkpoint | None) -> None:
        self._work, self._synthetic = work, synthetic
        self._how, self._every = storage_of(work.preset), work.preset.storage.every
        self._offsets = {
            name.removeprefix(_STATE): torch.from_numpy(array).to(work.device)
            for name, array in (resume.arrays if resume else {}).items()
            if name.startswith(_STATE)
        }
        self._told = False
        self.keep_in_range()

    @property
    def _parts(self) -> list[Part]:
        tensors = self._synthetic.tensors()
        pictures = [part for part in self._synthetic.description.parts if part.channels]
        return [part for part in pictures if has_levels(self._how.of(part)) and tensors[part.name].numel()]

    def keep_in_range(self) -> None:
        """Bring colours that left the range of pixels to its ends."""
        low, high = pixel_range(self._synthetic.spec, self._work.device)
        tensors = self._synthetic.tensors()
        for part in self._parts:
            if part.channels == 3:
                tensors[part.name].copy_(tensors[part.name].clamp(low, high))

    def renew(self, step: int) -> dict[str, float]:
        """Encode the memories if ``step`` is one for that; return ``encoding_seconds``, if so."""
        if step % self._every:
            return {}
        began = time.monotonic()
        for part in self._parts:
            if part.name not in self._synthetic.parameters() and part.name in self._offsets:
                continue  # it does not move
            self._offsets[part.name] = self._offset(part)
        seconds = time.monotonic() - began
        if not self._told:
            self._told = True
            steps = "step" if self._every == 1 else f"{self._every} steps"
            text = f"learning through {self._how}: encoding the set takes {seconds:.2g} s, every {steps}"
            self._work.session.emit(Note("info", text))
        return {"encoding_seconds": seconds}

    def _offset(self, part: Part) -> torch.Tensor:
        memory, group = self._synthetic.tensors()[part.name], self._work.group
        mine = group.share(range(memory.shape[0] * memory.shape[1]))
        whole = decoded(part, memory.cpu(), self._synthetic.spec, self._how.of(part), mine).to(memory.device)
        group.sum_([whole])
        return whole - memory

    def seen(self) -> SyntheticSet:
        """Return the set as objectives are to see it, differentiable in the parameters of the set."""
        memories = {**self._synthetic.tensors(), **self._synthetic.parameters()}
        return self._synthetic.seen_as({name: memories[name] + offset for name, offset in self._offsets.items()})

    def state(self, step: int, stage: Stage) -> dict[str, torch.Tensor]:
        """Return what a checkpoint before ``step`` of ``stage`` must hold: nothing where the set is encoded anew."""
        if step % self._every == 0 or stage == "evaluate":
            return {}
        return {_STATE + name: offset for name, offset in self._offsets.items()}
