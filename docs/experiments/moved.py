"""What learning changed in a set: how far its clips moved from their start, and what of that is motion at all.

    python docs/experiments/moved.py START_RUN RUN [START_RUN RUN ...]

Both runs must have the same start (`--set dynamic.steps=0` makes the first). `moved` is the root mean square of the
change, in units of the data's standard deviation; then the parts of its square that are the same in all frames
(`still`) and that are the same at all pixels of all frames, too (`colour`).
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from engine import load_synthetic


def main() -> None:
    """Print a row for each pair of runs."""
    print("| run | moved | still | colour |\n|---|---|---|---|")  # noqa: T201
    for start, end in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        change = clips(Path(end)) - clips(Path(start))
        power = change.square().mean()
        still = change.mean(2).square().mean() / power
        colour = change.mean((2, 3, 4)).square().mean() / power
        print(f"| {Path(end).name} | {power.sqrt():.2f} | {100 * still:.0f} % | {100 * colour:.0f} % |")  # noqa: T201


def clips(run: Path) -> torch.Tensor:
    """All clips of the set that a run ended with, (N, 3, T, H, W)."""
    return torch.stack([clip for clip, _ in load_synthetic(run / "synthetic" / "last.safetensors").as_dataset()])


if __name__ == "__main__":
    main()
