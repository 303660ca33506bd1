"""The check that data and preset go together, before anything is started. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from engine.config import Preset
from engine.config.schema import DatasetSection
from engine.data.recipe import default_file, other_data, prepare_command, where_from
from engine.data.store import ClipStore
from engine.errors import DataError, PresetError

MIN_SIZE, MIN_FRAMES = 64, 8
"""The least pixels and frames that ConvNet3D can take; smaller clips vanish in its pooling."""


def needed_path(preset: Preset) -> str:
    """The clips file of ``preset``; raises PresetError if it names none and does not make its own."""
    if preset.dataset.path is not None:
        return preset.dataset.path
    name, command = preset.title or "(untitled)", prepare_command(preset.dataset)
    expected = default_file(preset.dataset)
    if expected is None:
        raise PresetError(
            f"The preset {name} needs data: a clips file.", f"Make one with `{command}`, then --data FILE.h5."
        )
    home = where_from(preset.dataset)
    raise PresetError(
        f"The preset {name} needs data: there is no {expected} here, and no --data FILE.h5 was given.",
        f"Make it with `{command}`." + (f" {home}" if home else ""),
    )


def check_data(preset: Preset) -> str:
    """Raise DataError or PresetError if ``preset`` cannot run on its data; the demo makes its own.

    Return a warning if it can, but the data are other ones than the preset is for; else "".
    """
    if preset.dataset.path is None and preset.dataset.layout == "demo":
        return ""
    store = open_checked(Path(needed_path(preset)), preset)
    try:
        return other_data(preset.dataset, store.layout, len(store.classes))
    finally:
        store.close()


def open_checked(path: Path, preset: Preset) -> ClipStore:
    """The clips file ``path``, if it is what ``preset`` says of it and ConvNet3D, where that is used, can take it."""
    store = ClipStore.open(path)
    try:
        _check(store, path, preset.dataset)
        if any(name.startswith("convnet3d") for name in preset.evaluation.models):
            _check_size(store)
    except BaseException:
        store.close()
        raise
    return store


def _check(store: ClipStore, path: Path, wanted: DatasetSection) -> None:
    for name, value, found in (
        ("frames", wanted.frames, store.frames),
        ("size", wanted.size, store.height),
        ("interval", wanted.interval, store.interval),
        ("split", wanted.split, store.official_split),
    ):
        if value is not None and value != found:
            problem = f"{path} has {name} {found}, but the preset wants {value}."
            remedy = f"--{name} {value}" if value else "--fps or --uniform"
            raise DataError(problem, f"Prepare the data with {remedy}, or --set dataset.{name}={found}.")
    if store.height != store.width:
        raise DataError(
            f"The clips in {path} are {store.width} x {store.height}, not square.", "Prepare with --size N."
        )
    train = store.split("train")
    empty = [name for label, name in enumerate(store.classes) if not len(train.by_class(label))]
    if empty:
        hint = "Prepare the data with training videos of every class, and with test videos."
        raise DataError(f"{path} has no training clips of {empty[0]!r}.", hint)
    if "test" not in store.splits or not len(store.split("test")):
        hint = "Prepare the data with test videos, or train on it alone: vdtui evaluate FILE.h5 --data TESTED.h5"
        raise DataError(f"{path} has no test clips.", hint)


def _check_size(store: ClipStore) -> None:
    if store.height < MIN_SIZE or store.frames < MIN_FRAMES:
        problem = (
            f"Clips of {store.frames} frames of {store.height} x {store.height} pixels are too small for ConvNet3D."
        )
        raise DataError(problem, f"Prepare the data with --frames {MIN_FRAMES} --size {MIN_SIZE} or more.")
