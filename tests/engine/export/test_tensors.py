"""If these fail, what a user hands out is not what was distilled, or not as small as it was said to be."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from engine.errors import StorageError, UsageError
from engine.export.tensors import export_safetensors
from engine.synthetic import LoadedSet, load_set
from tests.engine.export.made_up import noisy_set

TOLERANCE = {"float32": 0.0, "float16": 2e-3, "uint8": 0.5 / 255}
"""float16 has 11 bits; a uint8 step is 1/255 of a slice's range."""


@pytest.fixture
def loaded() -> LoadedSet:
    return noisy_set(("red", "green", "blue"))


@pytest.mark.parametrize("precision", TOLERANCE)
def test_round_trip_at_each_precision(loaded: LoadedSet, precision: str, tmp_path: Path) -> None:
    output = tmp_path / "set.safetensors"
    exported = export_safetensors(loaded, output, precision)
    again = load_set(output)
    assert exported.files == (output,) and exported.nbytes == output.stat().st_size
    measured = None if precision == "float32" else "float32"  # where it is another storage than that of the file
    assert again.provenance == dataclasses.replace(loaded.provenance, accuracy_as=measured)
    assert again.precision == precision
    for name, tensor in loaded.synthetic.tensors().items():
        reach = float(tensor.max() - tensor.min()) if precision == "uint8" else max(1.0, float(tensor.abs().max()))
        assert (again.synthetic.tensors()[name] - tensor).abs().max() <= TOLERANCE[precision] * reach + 1e-6, name


@pytest.mark.parametrize("precision", TOLERANCE)
def test_bytes_are_those_that_were_promised(loaded: LoadedSet, precision: str, tmp_path: Path) -> None:
    """The file is its header, 8 bytes before it, the promised values, and 3 labels of 8 bytes."""
    content = _content(export_safetensors(loaded, tmp_path / "set.safetensors", precision).files[0])
    header = int.from_bytes(content[:8], "little")
    assert len(content) - 8 - header - 3 * 8 == loaded.synthetic.nbytes(precision)


def _content(path: Path) -> bytes:
    return path.read_bytes()


def test_more_bits_than_were_stored_are_called_what_they_are(loaded: LoadedSet, tmp_path: Path) -> None:
    export_safetensors(loaded, tmp_path / "half.safetensors", "float16")
    exported = export_safetensors(load_set(tmp_path / "half.safetensors"), tmp_path / "full.safetensors", "float32")
    assert "not more exact" in exported.notes[0]


def test_an_existing_file_is_kept_unless_asked(loaded: LoadedSet, tmp_path: Path) -> None:
    output = tmp_path / "mine.safetensors"
    output.write_text("precious")
    with pytest.raises(UsageError) as refusal:
        export_safetensors(loaded, output)
    assert "--overwrite" in refusal.value.hint and output.read_text() == "precious"
    export_safetensors(loaded, output, overwrite=True)
    assert load_set(output).synthetic.kind == "static-dynamic"


def test_an_impossible_place_is_an_error_in_words(loaded: LoadedSet, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        export_safetensors(loaded, tmp_path / "file" / "set.safetensors")
    with pytest.raises(UsageError):
        export_safetensors(loaded, tmp_path)
