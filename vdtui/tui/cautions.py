"""Warnings about a number, in a few words that fit beside it and in a sentence that stands below.

A number whose warning is a screen away is quoted without it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from engine.export import wording
from engine.runs import standing as standings
from engine.runs.baselines import is_ahead, standing
from engine.runs.results import is_result
from vdtui.tui import words

UNLEARNED, ON_TEST, FEW = "did not learn", "chosen on test", "few clips"
NOT_AHEAD, LARGE = "not ahead of baselines", "larger than all clips"
NOT_LEARNED = "step 0 was best"


SHORT = {
    standings.UNLEARNED: UNLEARNED,
    standings.ON_TEST: ON_TEST,
    standings.FEW: FEW,
    standings.NOT_AHEAD: NOT_AHEAD,
    standings.LARGE: LARGE,
}
"""The words for the warnings that ``status.json`` has."""


@dataclasses.dataclass(frozen=True)
class Caution:
    """One warning: ``short`` for beside the number, ``text`` for below."""

    short: str
    text: str


CHOSEN_ON_TEST = Caution(ON_TEST, "the step was chosen on the test split, which flatters the number")


def cautions(result: Mapping[str, Any], results: Iterable[Mapping[str, Any]] = ()) -> list[Caution]:
    """The warnings about ``result``, as its log or file has it; damaged values warn of nothing.

    ``results`` are those among which its baselines are.
    """
    found = []
    if told := result.get("caution"):
        found.append(Caution(UNLEARNED, words.plain(told, 300)))
    if result.get("selected_on") == "test":
        found.append(CHOSEN_ON_TEST)
    distinct = result.get("distinct_clips")
    if isinstance(distinct, int):
        found.append(Caution(FEW, f"only {distinct} different clips: classes have fewer than IPC"))
    return found + _beside_real_clips(result, results)


def _beside_real_clips(result: Mapping[str, Any], results: Iterable[Mapping[str, Any]]) -> list[Caution]:
    """Return whether real clips of at most as many bytes are as good, step 0 was best, and all clips are smaller."""
    if not is_result(result):
        return []
    found = []
    beside = standing(dict(result), [dict(one) for one in results if is_result(one)])
    if beside is not None and not is_ahead(beside.over):
        found.append(Caution(NOT_AHEAD, words.plain(wording.against(beside), 500)))
    if text := wording.not_learned(result):
        found.append(Caution(NOT_LEARNED, words.plain(text, 300)))
    if text := wording.larger_than_all(result):
        found.append(Caution(LARGE, words.plain(text, 300)))
    return found


def shorts(found: Iterable[Caution]) -> str:
    """The warnings for beside a number: ``! did not learn · few clips``; empty where there are none."""
    each = list(dict.fromkeys(caution.short for caution in found))
    return f"! {' · '.join(each)}" if each else ""
