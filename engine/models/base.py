"""What an objective may ask of a network beside its logits."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn


class Network(nn.Module, ABC):
    """A classifier that also gives the embedding which distribution matching compares."""

    @abstractmethod
    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        """Flattened features (N, D) of clips or images."""
