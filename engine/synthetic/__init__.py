"""Parameterisations: what is stored, and how clips are made of it."""

from engine.data.spec import ClipSpec
from engine.synthetic.base import Draw, Shown, SyntheticSet
from engine.synthetic.compressed import (
    Candidate,
    Stored,
    compressed_clips,
    decode_set,
    encode_set,
)
from engine.synthetic.described import Provenance
from engine.synthetic.files import LoadedSet, load_set, load_synthetic, save_synthetic, to_bytes
from engine.synthetic.numbers import PRECISIONS, check_precision
from engine.synthetic.pixels import Coreset, Pixels
from engine.synthetic.registry import set_class
from engine.synthetic.start import Start
from engine.synthetic.static_dynamic import StaticDynamic, fit_dynamic, of_one_luminance, residual_dynamic
from engine.synthetic.still import StaticImages, StillVideo, still_of
from engine.synthetic.storage import Storage
from engine.synthetic.temporal import INTERPOLATIONS, Temporal

__all__ = [
    "INTERPOLATIONS",
    "PRECISIONS",
    "Candidate",
    "ClipSpec",
    "Coreset",
    "Draw",
    "LoadedSet",
    "Pixels",
    "Provenance",
    "Shown",
    "Start",
    "StaticDynamic",
    "StaticImages",
    "StillVideo",
    "Storage",
    "Stored",
    "SyntheticSet",
    "Temporal",
    "check_precision",
    "compressed_clips",
    "decode_set",
    "encode_set",
    "fit_dynamic",
    "load_set",
    "load_synthetic",
    "of_one_luminance",
    "residual_dynamic",
    "save_synthetic",
    "set_class",
    "still_of",
    "to_bytes",
]
