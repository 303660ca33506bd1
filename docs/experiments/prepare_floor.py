"""How far `vdtui prepare` is from the least that any program must do: decode all frames and scale them.

Run it with `python docs/experiments/prepare_floor.py LAYOUT SOURCE` (and --frames, --size, --interval). The floor is
PyAV alone: every frame of every video that the layout lists is decoded with one thread and scaled to the size before
the crop, and nothing is kept. Both are measured with one and with two processes, whose start counts; three times in
turn, and the median is printed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import av
from av.video.reformatter import VideoReformatter

from engine.data.layouts import list_videos
from engine.data.layouts.frames import frame_files

REPEATS = 3
PROCESSES = (1, 2)


def decode_and_scale(path: str, size: int) -> int:
    """Do the least: returns how many frames there were."""
    folder = Path(path)
    files = frame_files(folder) if folder.is_dir() else [folder]
    scaler, frames = VideoReformatter(), 0
    width, height = round(size * 160 / 112), round(size * 120 / 112)
    for file in files:
        with (
            suppress(av.error.FFmpegError, IndexError),  # a file that is no video
            file.open("rb") as source,
            av.open(source, metadata_errors="replace") as container,
        ):
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for packet in container.demux(stream):
                with suppress(av.error.FFmpegError):
                    for frame in packet.decode():
                        scaler.reformat(frame, width, height, "rgb24", interpolation="BILINEAR", threads=1)
                        frames += 1
    return frames


def floor(paths: list[str], size: int, processes: int) -> int:
    """All videos, shared out among ``processes``; returns how many frames there were."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        return sum(pool.map(partial(decode_and_scale, size=size), paths, chunksize=4))


def prepare(arguments: list[str], processes: int) -> None:
    """The command as a user gives it."""
    with tempfile.TemporaryDirectory() as folder:
        start = "from vdtui.cli.main import main; main()"
        output = ["--output", f"{folder}/clips.h5", "--workers", str(processes)]
        command = [sys.executable, "-c", start, "prepare", *arguments, *output]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock time of ``work``."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measure both in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("layout")
    parser.add_argument("source", type=Path)
    for name, default in (("frames", 16), ("size", 112), ("interval", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    paths = sorted({str(video.path) for video in list_videos(given.layout, given.source).videos})
    arguments = [given.layout, "--source", str(given.source)]
    for name in ("frames", "size", "interval"):
        arguments += [f"--{name}", str(getattr(given, name))]
    frames = floor(paths, given.size, PROCESSES[-1])  # and every file is in the page cache
    print(f"{len(paths)} videos, {frames} frames; clips {given.frames} x {given.size} x {given.size}")  # noqa: T201
    floors: dict[int, list[float]] = {count: [] for count in PROCESSES}
    prepares: dict[int, list[float]] = {count: [] for count in PROCESSES}
    for _ in range(REPEATS):
        for count in PROCESSES:
            floors[count].append(seconds(partial(floor, paths, given.size, count)))
            prepares[count].append(seconds(partial(prepare, arguments, count)))
    print("processes   floor s   prepare s   ratio")  # noqa: T201
    for count in PROCESSES:
        least, taken = statistics.median(floors[count]), statistics.median(prepares[count])
        print(f"{count:9}{least:10.2f}{taken:12.2f}{taken / least:8.2f}")  # noqa: T201


if __name__ == "__main__":
    main()
