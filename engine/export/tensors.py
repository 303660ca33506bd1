"""The export of a synthetic set as a set file: as tensors of some precision, or as the fewest bytes."""

from __future__ import annotations

from pathlib import Path

from engine.export.output import Exported, write_file
from engine.files import looks_like_set
from engine.synthetic import PRECISIONS, LoadedSet, Storage, check_precision, load_set, to_bytes


def export_safetensors(
    loaded: LoadedSet, output: Path, precision: str = "float32", overwrite: bool = False
) -> Exported:
    """Write ``loaded`` to ``output`` with its provenance; values as ``precision`` (float32, float16, uint8).

    Equal sets give equal files. The values take ``loaded.synthetic.nbytes(precision)`` bytes, soft labels and
    hallucinators included, which are float32 at any precision. Beside them the file holds a description, and hard
    labels if the set has these. Raises UsageError if ``output`` exists, StorageError if it cannot be written.
    """
    check_precision(precision)
    write_file(output, to_bytes(loaded.synthetic, loaded.origin_as(precision), precision), overwrite)
    notes = []
    if loaded.storage is not None:
        notes.append(f"The set was stored as {loaded.storage}, and what is written is what that decodes to.")
    elif PRECISIONS[precision] > PRECISIONS[loaded.precision]:
        notes.append(f"The set was stored as {loaded.precision}: {precision} makes the file larger, not more exact.")
    return Exported(output, (output,), tuple(notes))


def export_set(source: Path, output: Path, how: str | None = None, overwrite: bool = False) -> Exported:
    """Write the set file ``source`` to ``output``, stored as ``how`` says (``Storage.parse``; None: as it is).

    A set that is stored so already is copied, byte for byte. Raises UsageError if ``output`` exists or ``how`` does not
    fit the set, DataError if ``source`` is damaged, StorageError if it cannot be written.
    """
    loaded = load_set(source)
    own = loaded.how
    wanted = own if how is None else str(Storage.parse(how))
    if wanted == own and looks_like_set(source):
        write_file(output, source.read_bytes(), overwrite)
        return Exported(output, (output,))
    write_file(output, to_bytes(loaded.synthetic, loaded.origin_as(wanted), wanted), overwrite)
    lossy = loaded.storage is not None or loaded.precision != "float32"
    again = f"The set was stored as {own} already: what is written is made of what that decodes to."
    return Exported(output, (output,), (again,) if lossy else ())
