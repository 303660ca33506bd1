"""The networks of a preset, where it leaves the choice open. Needs no torch."""

from __future__ import annotations

from engine.config.objectives import named
from engine.config.schema import COLLAPSIBLE, Preset


def still_network(preset: Preset) -> str:
    """Return the network of stage 1, ``convnet`` or ``collapsed``.

    With ``auto`` it is the video network that evaluates, summed over time, if there is such a sum and the objective
    compares what it embeds; else the image network.
    """
    if preset.static.network != "auto":
        return preset.static.network
    able = named(preset.static.objective).compares_embeddings and preset.evaluation.models[0] in COLLAPSIBLE
    return "collapsed" if able else "convnet"
