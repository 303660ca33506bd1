"""Parameterisations: what is stored, and how clips are made of it."""

from engine.data.spec import ClipSpec
from engine.synthetic.base import PRECISIONS, SyntheticSet
from engine.synthetic.files import LoadedSet, Provenance, load_set, load_synthetic, save_synthetic, to_bytes
from engine.synthetic.pixels import Coreset, Pixels
from engine.synthetic.static_dynamic import StaticDynamic, residual_dynamic
from engine.synthetic.still import StaticImages, StillVideo

__all__ = [
    "PRECISIONS",
    "ClipSpec",
    "Coreset",
    "LoadedSet",
    "Pixels",
    "Provenance",
    "StaticDynamic",
    "StaticImages",
    "StillVideo",
    "SyntheticSet",
    "load_set",
    "load_synthetic",
    "residual_dynamic",
    "save_synthetic",
    "to_bytes",
]
