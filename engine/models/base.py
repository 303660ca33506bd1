"""The base classes of networks: embeddings for objectives, beside the logits, and a check of the clips' shape."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

from engine.errors import DataError


class Network(nn.Module, ABC):
    """A classifier with an embedding, which distribution matching and kernel regression compare."""

    @abstractmethod
    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        """Return flattened features (N, D) of clips or images, before the last average pool, if there is one."""

    def pooled(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the classifier's input (N, E), behind that pool; in a network without one, the embedding itself."""
        return self.embed(batch)


class VideoNetwork(Network):
    """A network for clips (N, 3, T, H, W) of one shape; it is built as ``cls(classes, frames, size)``."""

    @classmethod
    def check(cls, frames: int, size: int) -> None:
        """Raise DataError if clips of this shape cannot pass through, or if the network cannot train on a batch of one.

        It is called before anything is built, so it is a class method. By default every shape will do.
        """


def too_small(name: str, frames: int, size: int, why: str, remedy: str) -> DataError:
    """Return the error for clips that are too small; ``remedy`` are options of ``vdtui prepare`` that would do."""
    problem = f"{name} cannot take clips of {frames} frames of {size} x {size} pixels: {why}."
    return DataError(problem, f"Prepare the data with {remedy} or more.")
