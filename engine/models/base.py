"""What an objective may ask of a network beside its logits, and what clips a network can take."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

from engine.errors import DataError


class Network(nn.Module, ABC):
    """A classifier that also gives the embedding which distribution matching and kernel regression compare."""

    @abstractmethod
    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        """Flattened features (N, D) of clips or images, before a last average pool of the network's own."""

    def pooled(self, batch: torch.Tensor) -> torch.Tensor:
        """Flattened features (N, E) behind that pool, which the classifier sees; without one, the embedding itself."""
        return self.embed(batch)


class VideoNetwork(Network):
    """A network for clips of one shape: built as ``cls(classes, frames, size)``, takes clips (N, 3, T, H, W)."""

    @classmethod
    def check(cls, frames: int, size: int) -> None:
        """Raise DataError if clips of this shape cannot go through, or if a batch of one could not be trained on.

        Asked before anything is built, so it must not need an instance. By default every shape will do.
        """


def too_small(name: str, frames: int, size: int, why: str, remedy: str) -> DataError:
    """The refusal of clips; ``remedy`` are options of ``vdtui prepare`` with which the network could take them."""
    problem = f"{name} cannot take clips of {frames} frames of {size} x {size} pixels: {why}."
    return DataError(problem, f"Prepare the data with {remedy} or more.")
