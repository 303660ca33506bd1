"""The export of a synthetic set as tensors, at a precision of the user's choice."""

from __future__ import annotations

from pathlib import Path

from engine.export.output import Exported, write_file
from engine.synthetic import PRECISIONS, LoadedSet, check_precision, to_bytes


def export_safetensors(
    loaded: LoadedSet, output: Path, precision: str = "float32", overwrite: bool = False
) -> Exported:
    """Write ``loaded`` to ``output`` with its provenance; values as ``precision`` (float32, float16, uint8).

    Equal sets give equal files. The values take ``loaded.synthetic.nbytes(precision)`` bytes, soft labels and
    hallucinators included, which are float32 at any precision. Beside them the file holds a description, and hard
    labels if the set has these. Raises UsageError if ``output`` exists, StorageError if it cannot be written.
    """
    check_precision(precision)
    write_file(output, to_bytes(loaded.synthetic, loaded.provenance, precision), overwrite)
    notes = []
    if PRECISIONS[precision] > PRECISIONS[loaded.precision]:
        notes.append(f"The set was stored as {loaded.precision}: {precision} makes the file larger, not more exact.")
    return Exported(output, (output,), tuple(notes))
