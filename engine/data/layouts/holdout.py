"""A split into training and testing for videos that come without one.

It ranks the videos of a class by a hash of seed and name: it does not depend on the order in which the disk lists
files, and adding a video to a class does not reshuffle the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from engine.data.layouts.base import LayoutOptions, VideoEntry

TEST_FRACTION = 0.3


def hold_out(videos: Sequence[VideoEntry], options: LayoutOptions) -> list[VideoEntry]:
    """``videos`` with the share for testing moved; a class of two or more files has one on either side at least.

    With a fraction of 0 all are for training. Stretches of time of one file stay together: they show the same people in
    the same room.
    """
    fraction = TEST_FRACTION if options.test_fraction is None else options.test_fraction
    if not fraction:
        return list(videos)
    by_label: dict[int, list[VideoEntry]] = {}
    for video in videos:
        by_label.setdefault(video.label, []).append(video)
    result = []
    for members in by_label.values():
        wanted = max(1, round(len(members) * fraction))
        *candidates, last = _ranked_files(members, options.seed)
        result += last
        tests = 0
        for stretches in candidates:
            split = "test" if tests < wanted else "train"
            tests += len(stretches)
            result += [replace(video, split=split) for video in stretches]
    return result


def _ranked_files(videos: Sequence[VideoEntry], seed: int) -> list[list[VideoEntry]]:
    """The videos of each file, in an order that only the seed and the names decide."""
    by_file: dict[Path, list[VideoEntry]] = {}
    for video in sorted(videos, key=lambda video: video.name):
        by_file.setdefault(video.path, []).append(video)
    return sorted(
        by_file.values(), key=lambda stretches: hashlib.sha256(f"{seed}/{stretches[0].name}".encode()).digest()
    )
