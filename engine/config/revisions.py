"""Revisions of the parts of the method whose definition was corrected after sets had been learned by it.

A preset names a part, such as ``whitened-adam``, and the code defines it. A run that goes on under a new definition
would make a set of neither, and the cells of a study would differ in more than the study varies. So checkpoints and
runs store the revisions of the parts that they use, and one of another revision is refused. Needs no torch.
"""

from __future__ import annotations

from typing import Any

from engine.config.objectives import named
from engine.config.schema import Preset

EMBEDDING = 2
"""1: ConvNet3D's features behind its last average pool; 2: the features that ``dynamic.embedding`` names."""
WHITENING = 2
"""1: a whitened step has the length that whitening gives it; 2: it has the length of Adam's step."""


def revisions(preset: Preset) -> dict[str, int]:
    """Return the revisions, by name, of the parts that the stages of ``preset`` use."""
    stages, objective = preset.stages, named(preset.dynamic.objective)
    used = {"static": preset.static.optimiser, "dynamic": preset.dynamic.optimiser}
    whitened = any(stage in stages and optimiser == "whitened-adam" for stage, optimiser in used.items())
    embedding = {"embedding": EMBEDDING} if "dynamic" in stages and objective.compares_embeddings else {}
    return embedding | ({"whitening": WHITENING} if whitened else {})


def earlier(parts: list[str]) -> str:
    """Return the words in which messages name a version of vdtui that had other revisions of ``parts``."""
    return f"an earlier vdtui, in which {' and '.join(parts)} meant something else"


def outdated(known: Any, preset: Preset) -> list[str]:
    """Return the parts of ``preset`` whose revision is not the stored one.

    ``known`` are the stored revisions by name, read from a file; anything but a dict is of the time before there were
    any, when every part was at revision 1.
    """
    stored = known if isinstance(known, dict) else {}
    return [name for name, revision in revisions(preset).items() if stored.get(name, 1) != revision]
