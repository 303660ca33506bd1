"""The split on which a run chooses its iteration, which its protocol decides.

It stands here, below the data, because the split of the clips depends on it: where the test split chooses, nothing is
held out of training. Needs no torch.
"""

from __future__ import annotations

from engine.events import Split

CHOSEN_ON_TEST = ("vdsd",)
"""Protocols that choose on the test split, as published, which flatters the number."""


def split_of_choice(protocol: str) -> Split:
    """Return the split on which ``protocol`` chooses the iteration."""
    return "test" if protocol in CHOSEN_ON_TEST else "val"
