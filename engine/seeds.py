"""Random numbers by name: every draw of a run comes from a generator derived from one seed.

A generator is a pure function of (seed, name, numbers), so nothing about randomness has to be stored: after a
resume, step 57 draws what step 57 would have drawn. A shared generator that moves on from step to step could be
left in a different state by anything that happens in between (an evaluation, a preview).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, name: str, *numbers: int) -> int:
    """Return a 63-bit seed that depends on all arguments."""
    text = "/".join([str(seed), name, *map(str, numbers)])
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "little") >> 1


def stage_seed(seed: int, stage: str) -> int:
    """Return the seed of all that the objective of ``stage`` draws in a run of ``seed``; its plan counts by it too."""
    return derive(seed, stage)


def generator(seed: int, name: str, *numbers: int) -> torch.Generator:
    """Return a torch generator on the CPU, seeded by ``derive``; draws are moved to the device, so devices agree."""
    import torch

    return torch.Generator().manual_seed(derive(seed, name, *numbers))
