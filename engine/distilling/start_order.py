"""The order in which a learned set takes the real clips that it starts from.

They are random ones, or what ``selection.method`` chooses, as for a coreset. A set within a budget of bytes takes those
of coverage for the bytes of each. Nothing of it is kept: the network is (``Teacher``), and the rest takes seconds.
"""

from __future__ import annotations

import torch

from engine.distilling.opening import Work
from engine.distilling.progress import NetworkPace
from engine.evaluation.baselines import clip_costs
from engine.events import Stage
from engine.models import Network
from engine.selection import select_coreset
from engine.text import counted


def start_order(work: Work, stage: Stage, number: int) -> torch.Tensor | None:
    """Return indices of the first ``number`` clips of each class, int64 (C, number); None: random ones, or none.

    Fewer are the first of more, but by clusters. ``stage`` is the one that asks. A class with fewer repeats its own.
    """
    section = work.preset.selection
    if section.method == "random" or number == 0:
        return None
    network = selecting_network(work, stage, "training the network by which clips to start from are chosen")
    check = work.session.check
    costs = clip_costs(work.train, section.method, check) if work.preset.storage.budget is not None else None
    return select_coreset(
        work.train, section.method, number, work.seed, network, work.precision, check=check, costs=costs
    )


def selecting_network(work: Work, stage: Stage, text: str, total: int = 1) -> Network:
    """Return the network by which ``stage``, of ``total`` steps, chooses real clips; ``text`` says what it is for.

    A trained one is kept, so that all that ask for it in one run, and in others of the folder, train it once.
    """
    section = work.preset.selection
    what = f"{text}, {counted(section.epochs, 'epoch')}"
    pace = NetworkPace(work.session, stage, what, step=0, total=total, networks=1, trained=0, seconds=0.0)
    return work.judge.feature_network(section, pace.watch)
