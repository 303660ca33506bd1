"""Warnings about a number, in a few words that fit beside it and in a sentence that stands below.

A number whose warning is a screen away is quoted without it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from vdtui.tui import words

UNLEARNED, ON_TEST, FEW = "did not learn", "chosen on test", "few clips"


@dataclasses.dataclass(frozen=True)
class Caution:
    """One warning: ``short`` for beside the number, ``text`` for below."""

    short: str
    text: str


CHOSEN_ON_TEST = Caution(ON_TEST, "the step was chosen on the test split, which flatters the number")


def cautions(result: Mapping[str, Any]) -> list[Caution]:
    """The warnings about ``result``, as its log or file has it; damaged values warn of nothing."""
    found = []
    if told := result.get("caution"):
        found.append(Caution(UNLEARNED, words.plain(told, 300)))
    if result.get("selected_on") == "test":
        found.append(CHOSEN_ON_TEST)
    distinct = result.get("distinct_clips")
    if isinstance(distinct, int):
        found.append(Caution(FEW, f"only {distinct} different clips: classes have fewer than IPC"))
    return found


def shorts(found: Iterable[Caution]) -> str:
    """The warnings for beside a number: ``! did not learn · few clips``; empty where there are none."""
    each = list(dict.fromkeys(caution.short for caution in found))
    return f"! {' · '.join(each)}" if each else ""
