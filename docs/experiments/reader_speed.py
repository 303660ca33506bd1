"""How fast clips come out of a clips file, beside the least that it can cost: indexing a plain np.memmap.

Run it with `python docs/experiments/reader_speed.py CLIPS.h5`; under a minute. The clips are copied to a raw file in
the temporary folder, and both are read once first, so that all comes from the page cache and no disk is measured.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from engine.data.store import ClipStore, SplitView

BATCH, ROUNDS, PROCESSES = 64, 40, 4


def seconds(*reads: Callable[[np.ndarray, np.ndarray], object], clips: int, frames: int) -> list[float]:
    """Median time of each of ``reads`` for a batch; in turns, so that a busy moment meets all of them."""
    rng = np.random.default_rng(0)
    taken: list[list[float]] = [[] for _ in reads]
    for _ in range(ROUNDS):
        rows, numbers = rng.integers(0, clips, BATCH), rng.integers(0, frames, BATCH)
        for read, times in zip(reads, taken, strict=True):
            began = time.perf_counter()
            read(rows, numbers)
            times.append(time.perf_counter() - began)
    return [statistics.median(times) for times in taken]


def through_hdf5(clips: h5py.Dataset, rows: np.ndarray) -> np.ndarray:
    """The batch with h5py alone, clip by clip."""
    read = np.empty((len(rows), *clips.shape[1:]), np.uint8)
    for position, row in enumerate(rows.tolist()):
        clips.read_direct(read, np.s_[row], np.s_[position])
    return read


def report(what: str, nbytes: int, times: list[float], names: list[str]) -> None:
    print(f"{what}, {nbytes / 1e6:.1f} MB")  # noqa: T201
    for name, value in zip(names, times, strict=True):
        speed = nbytes / value / 1e9
        print(f"  {name:<12} {1e3 * value:7.2f} ms {speed:6.2f} GB/s  {value / times[0]:5.2f} x memmap")  # noqa: T201


def read_batches(view: SplitView, seed: int) -> None:
    """What each of several processes does."""
    rng = np.random.default_rng(seed)
    for _ in range(ROUNDS):
        view.clips(rng.integers(0, len(view), BATCH))


def several(view: SplitView, processes: int) -> float:
    """Bytes per second of ``processes`` processes together, their start left out."""
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        pool.starmap(read_batches, [(view, seed) for seed in range(processes)], chunksize=1)
        began = time.perf_counter()
        pool.starmap(read_batches, [(view, seed) for seed in range(processes)], chunksize=1)
        taken = time.perf_counter() - began
    return processes * ROUNDS * BATCH * int(np.prod(view.store.clip_shape)) / taken


def main(path: Path) -> None:
    with ClipStore.open(path) as store, h5py.File(path, locking=False) as file, tempfile.TemporaryDirectory() as folder:
        view, clips, size = store.split("train"), file["train/clips"], int(np.prod(store.clip_shape))
        everything = view.clips(range(len(view)))
        everything.tofile(Path(folder) / "raw")
        plain = np.memmap(Path(folder) / "raw", np.uint8, "r", shape=everything.shape)
        assert all(np.array_equal(read, everything) for read in (plain, clips[()]))
        del everything
        names = ["memmap", "ClipStore", "h5py"]
        times = seconds(
            lambda rows, _: plain[rows],
            lambda rows, _: view.clips(rows),
            lambda rows, _: through_hdf5(clips, rows),
            clips=len(view),
            frames=store.frames,
        )
        report(f"{BATCH} random clips of {store.clip_shape}", BATCH * size, times, names)
        times = seconds(
            lambda rows, numbers: plain[rows, numbers],
            lambda rows, numbers: view.frames_at(rows, numbers),
            clips=len(view),
            frames=store.frames,
        )
        report(f"{BATCH} random frames", BATCH * size // store.frames, times, names[:2])
        for processes in (1, 2, PROCESSES):
            print(f"{processes} processes: {several(view, processes) / 1e9:.2f} GB/s together")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
