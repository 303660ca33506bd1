"""The bytes of a coded set before anything is learned, which a plan can tell at once.

What a codec makes of memories depends on their values. A set that starts from real clips has a file at its start, and
that file takes seconds; a rehearsal, in which it would be measured after a few steps, may take too long to be made.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from engine.config import Preset
from engine.distilling.keeping import longest_origin, storage_of
from engine.distilling.stages import start_set
from engine.evaluation.parts import open_parts
from engine.synthetic import Start, StaticImages, to_bytes

MOST_VALUES = 1 << 25
"""The most values of a set that is encoded at once: beyond, it takes minutes."""


def first_size(preset: Preset, values: int) -> int | None:
    """Return the bytes of the file of the set of ``preset`` at its start from real clips, stored as the preset says.

    None where it starts from noise, is not learned in stage 2, or has too many ``values``. ``preset`` must name its
    clips file. Raises VdtuiError for data or a storage that would stop the run as well.
    """
    noisy = any(stage in preset.stages and getattr(preset, stage).init == "noise" for stage in ("static", "dynamic"))
    if noisy or "dynamic" not in preset.stages or values > MOST_VALUES:
        return None
    with (
        tempfile.TemporaryDirectory(prefix="vdtui-size-") as folder,
        open_parts(Path(folder), preset, torch.device("cpu"), lambda *_: None, lambda: None) as parts,
    ):
        static = StaticImages.start(Start(preset, parts.train)).static if "static" in preset.stages else None
        synthetic = start_set(preset, parts.train, static)
        return len(to_bytes(synthetic, longest_origin(preset), storage_of(preset)))
