"""Parameterisations: what is stored, and how clips are made of it."""

from engine.data.spec import ClipSpec
from engine.synthetic.base import PRECISIONS, Draw, SyntheticSet
from engine.synthetic.files import LoadedSet, Provenance, load_set, load_synthetic, save_synthetic, to_bytes
from engine.synthetic.pixels import Coreset, Pixels
from engine.synthetic.static_dynamic import StaticDynamic, fit_dynamic, residual_dynamic
from engine.synthetic.still import StaticImages, StillVideo
from engine.synthetic.temporal import INTERPOLATIONS, Temporal

__all__ = [
    "INTERPOLATIONS",
    "PRECISIONS",
    "ClipSpec",
    "Coreset",
    "Draw",
    "LoadedSet",
    "Pixels",
    "Provenance",
    "StaticDynamic",
    "StaticImages",
    "StillVideo",
    "SyntheticSet",
    "Temporal",
    "fit_dynamic",
    "load_set",
    "load_synthetic",
    "residual_dynamic",
    "save_synthetic",
    "to_bytes",
]
