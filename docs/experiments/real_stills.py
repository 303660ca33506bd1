"""Draws of real stills and the networks that judge them: what `draws.py` and `labels.py` share."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from engine.data.batches import RealClips
from engine.seeds import generator
from engine.synthetic.compressed import Stored, compressed_clips

UNBOUNDED = 1 << 62


def parser(description: str | None, runs: str, networks: int) -> argparse.ArgumentParser:
    """The options that all have; cells are kept in ``runs``, and ``networks`` are trained on each draw."""
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--data", type=Path, required=True, help="clips file of `vdtui prepare`")
    found.add_argument("--runs", type=Path, default=Path(runs), help="folder of the cells")
    found.add_argument("--how", default="av1-10@half:repeat1", help="how clips are stored")
    found.add_argument("--number", type=int, default=11, help="clips per class")
    found.add_argument("--networks", type=int, default=networks, help="networks for each draw")
    found.add_argument("--protocol", default="strict-strong")
    found.add_argument("--model", default="convnet3d_small", help="the network that judges")
    found.add_argument("--batch", type=int, default=8)
    return found


def of_the_data(options: argparse.Namespace) -> list[str]:
    """The changes of a preset that name the data."""
    return [f'dataset.path="{options.data}"', "dataset.frames=8", "dataset.size=64"]


def of_the_judge(options: argparse.Namespace) -> list[str]:
    """The changes of a preset that say how sets are judged; they are in the key of a cell."""
    return [
        f"evaluation.protocol={options.protocol}",
        f'evaluation.models=["{options.model}"]',
        f"evaluation.batch={options.batch}",
    ]


def drawn(train: RealClips, options: argparse.Namespace, seed: int, occasion: str) -> Stored:
    """As many stills of each class as the options say, by ``seed`` and ``occasion``, stored."""
    labels = range(len(train.spec.classes))
    order: list[torch.Tensor] = [
        train.pick(label, options.number, generator(seed, occasion, label)) for label in labels
    ]
    return compressed_clips(train, UNBOUNDED, order, options.how).stored
