"""A data set whose classes are motions and nothing else, made of real clips: `motions.md`.

    python docs/experiments/motions.py UCF10 --output motions
    vdtui prepare folders --source motions --output motions64.h5 --frames 8 --size 64 --interval 2

UCF10 is UCF101's layout, or a part of it: `UCF-101/CLASS/VIDEO.avi` and `ucfTrainTestlist/`. Each video of split 1 is
shown by a window that moves over it: left, right, up, down, in or out. Which of them is drawn by the seed, evenly
within each action, so that an action says nothing about the class. Whoever appears in training videos appears in no
test video, as in UCF101's lists. A video gives FRAMES frames at its own rate from its middle.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import av
import numpy as np

FRAMES = 16
WINDOW, TRAVEL = 96, 32
"""Pixels: the side of the window, and how far it moves in all; in and out its side changes by half as much again."""
MOTIONS = ("down", "in", "left", "out", "right", "up")


def main() -> None:
    """Write OUTPUT/{train,test}/MOTION/VIDEO.mp4."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for split in ("train", "test"):
        listed = (options.source / "ucfTrainTestlist" / f"{split}list01.txt").read_text().split("\n")
        videos = [line.split()[0] for line in listed if line.strip()]
        here = [video for video in videos if (options.source / "UCF-101" / video).is_file()]
        draws = random.Random(f"{options.seed} {split}")
        for action in sorted({Path(video).parent.name for video in here}):
            own = [video for video in here if Path(video).parent.name == action]
            draws.shuffle(own)
            first = draws.randrange(len(MOTIONS))
            for number, video in enumerate(own):
                motion = MOTIONS[(first + number) % len(MOTIONS)]
                target = options.output / split / motion / f"{Path(video).stem}.mp4"
                target.parent.mkdir(parents=True, exist_ok=True)
                write(target, moved(read(options.source / "UCF-101" / video), motion))


def read(file: Path) -> list[av.VideoFrame]:
    """FRAMES frames from the middle on; a video that is too short gives its last one again."""
    with av.open(str(file)) as video:
        frames = list(video.decode(video=0))
    start = max(0, (len(frames) - FRAMES) // 2)
    return [frames[min(start + number, len(frames) - 1)] for number in range(FRAMES)]


def moved(frames: list[av.VideoFrame], motion: str) -> list[np.ndarray]:
    """The window's content, (WINDOW, WINDOW, 3) uint8 each, as it moves evenly from one end of its way to the other."""
    shown = []
    for number, frame in enumerate(frames):
        part = number / (FRAMES - 1) - 0.5
        side, x, y = float(WINDOW), frame.width / 2, frame.height / 2
        if motion in ("left", "right"):
            x += TRAVEL * part * (1 if motion == "right" else -1)
        elif motion in ("up", "down"):
            y += TRAVEL * part * (1 if motion == "down" else -1)
        else:
            side -= 2 * TRAVEL * part * (1 if motion == "in" else -1) * 0.75
        left, top = round(x - side / 2), round(y - side / 2)
        picture = frame.to_ndarray(format="rgb24")[max(0, top) : top + round(side), max(0, left) : left + round(side)]
        cut = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        shown.append(cut.reformat(WINDOW, WINDOW, interpolation="AREA").to_ndarray(format="rgb24"))
    return shown


def write(target: Path, frames: list[np.ndarray]) -> None:
    """`frames` as a video of 8 frames a second."""
    with av.open(str(target), "w") as video:
        stream = video.add_stream("libx264", rate=8, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = WINDOW, WINDOW, "yuv420p"
        for picture in frames:
            video.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        video.mux(stream.encode())


if __name__ == "__main__":
    main()
