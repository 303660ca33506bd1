"""The teacher: one network trained on all real training clips, whose probabilities are labels (Hinton et al. 2015).

Recent studies found that much of what is gained by a "better" set is gained by its soft labels. So the protocol that
has them gives the same teacher's labels to every baseline; a teacher is trained once for its data and recipe, and kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from engine.data.batches import RealClips
from engine.evaluation.protocols import Recipe
from engine.evaluation.training import train_network
from engine.files import sweep, write_bytes
from engine.models.base import Network
from engine.models.registry import video_model
from engine.seeds import derive


class Teacher:
    """A network trained on ``train`` by ``recipe`` (its model, rate and batch) for ``epochs``; hard labels.

    It is trained when it is first asked for, and kept in ``folder``.
    """

    def __init__(self, folder: Path, train: RealClips, recipe: Recipe, epochs: int, seed: int) -> None:
        self._train = train
        self._seed = derive(seed, "teacher") % 2**31
        recipe = dataclasses.replace(recipe, epochs=epochs, steps=0, stop=None)
        self._recipe = dataclasses.replace(recipe, labels="hard", frames="as-is", teacher="")
        self.fingerprint = f"{train.digest()[:12]}-{self._recipe.digest()[:12]}-{self._seed}"
        """The fingerprint of its data, recipe and seed, which a result names."""
        self._file = folder / f"{recipe.model}-{self.fingerprint}.safetensors"
        self._network: Network | None = None

    def network(self, watch: Callable[[float], None] = lambda fraction: None) -> Network:
        """Return the trained network, in evaluation mode."""
        if self._network is None:
            sweep(self._file.parent)
            self._network = self._stored() or self._trained(watch)
        return self._network

    def _stored(self) -> Network | None:
        """Return the network from the disk, or None if it is not there, or damaged."""
        spec = self._train.spec
        network = video_model(
            self._recipe.model, len(spec.classes), spec.frames, spec.height, self._seed, self._train.device
        )
        try:
            network.load_state_dict(load(self._file.read_bytes()))
        except (OSError, SafetensorError, RuntimeError):
            return None
        return network.eval()

    def _trained(self, watch: Callable[[float], None]) -> Network:
        network = train_network(self._train, self._recipe, self._seed, watch)
        tensors = {name: _plain(tensor) for name, tensor in network.state_dict().items()}
        write_bytes(self._file, save(tensors))
        return network


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().contiguous()
