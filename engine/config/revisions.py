"""What words of a preset have meant: parts of the method whose definition was corrected after sets were learned by it.

A preset says ``embedding`` or ``whitened-adam``; the code says what that is. Where the code has changed, half a run by
the one and half by the other is a set of no method, and cells of one study would differ in more than the study says. So
checkpoints and runs carry the revisions of the parts that they use, and those of other revisions are not gone on with.
Nothing here needs torch.
"""

from __future__ import annotations

from typing import Any

from engine.config.objectives import named
from engine.config.schema import Preset

EMBEDDING = 2
"""1: ConvNet3D's features behind its last average pool; 2: what ``dynamic.embedding`` says."""
WHITENING = 2
"""1: a whitened step as long as whitening made it; 2: of the length of Adam's."""


def revisions(preset: Preset) -> dict[str, int]:
    """The revisions of those parts of stage 2 that ``preset`` uses, by their name."""
    if "dynamic" not in preset.stages:
        return {}
    section = preset.dynamic
    embedding = {"embedding": EMBEDDING} if named(section.objective).compares_embeddings else {}
    return embedding | ({"whitening": WHITENING} if section.optimiser == "whitened-adam" else {})


def earlier(parts: list[str]) -> str:
    """What a message says of work that is by other revisions of ``parts``."""
    return f"an earlier vdtui, in which {' and '.join(parts)} meant something else"


def outdated(known: Any, preset: Preset) -> list[str]:
    """The parts that were others when ``known`` was written: revisions by name, or None before there were any."""
    before = known if isinstance(known, dict) else {}
    return [name for name, revision in revisions(preset).items() if before.get(name, 1) != revision]
