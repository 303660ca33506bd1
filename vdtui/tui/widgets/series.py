"""The parts of the run screen's curves: smoothing, the window of steps that is shown, groups of figures.

Apart from the drawing, so that it can be checked against plain arithmetic, and because none of it knows a terminal.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from vdtui.tui import words
from vdtui.tui.watch import Loss

SMOOTHINGS = (0.0, 0.9, 0.99)
"""Weights of the past in the exponential mean; 0 is none."""
FEWEST_STEPS = 8
"""Steps that are shown at least, however far somebody zooms."""
_BLOCK = 64


def exponential(values: np.ndarray, weight: float) -> np.ndarray:
    """The exponential mean of finite ``values`` (N): m_t = sum_k w^k v_(t-k) / sum_k w^k, over k = 0 ... t.

    The sum of the weights in the denominator keeps the beginning from being drawn towards zero (Kingma and Ba 2015).
    """
    if weight <= 0 or not len(values):
        return values
    powers = np.arange(_BLOCK)[:, None] - np.arange(_BLOCK)
    inside = np.where(powers >= 0, weight ** np.maximum(powers, 0), 0.0)
    padded = np.zeros(-(-len(values) // _BLOCK) * _BLOCK)
    padded[: len(values)] = values
    sums = padded.reshape(-1, _BLOCK) @ inside.T
    decay, carried = weight ** np.arange(1, _BLOCK + 1), 0.0
    for block in sums:  # what is left of all earlier blocks
        block += decay * carried
        carried = block[-1]
    total = -np.expm1(np.arange(1, len(values) + 1) * np.log(weight)) / (1 - weight)
    return np.asarray(sums.reshape(-1)[: len(values)] / total)


@dataclasses.dataclass(frozen=True)
class Window:
    """The steps that are shown: ``span`` of them (None: all) up to ``end`` (None: the newest, and what follows it)."""

    span: float | None = None
    end: float | None = None

    def limits(self, low: float, high: float) -> tuple[float, float]:
        """The first and the last step shown of ``low`` ... ``high``."""
        if self.span is None:
            return low, high
        span = min(self.span, high - low)
        end = high if self.end is None else min(high, max(low + span, self.end))
        return end - span, end

    def zoomed(self, closer: bool, low: float, high: float) -> Window:
        """Half as many steps with the same last one, or twice as many."""
        first, last = self.limits(low, high)
        span = (last - first) / 2 if closer else (last - first) * 2
        if not closer and span >= high - low:
            return Window()
        return dataclasses.replace(self, span=min(max(span, FEWEST_STEPS), max(high - low, FEWEST_STEPS)))

    def between(self, first: float, last: float, high: float) -> Window:
        """The window of the steps from ``first`` to ``last``; one that reaches the newest step follows the run."""
        return Window(max(last - first, FEWEST_STEPS), None if last >= high else last)

    def moved(self, later: bool, low: float, high: float) -> Window:
        """A quarter of the window earlier or later; at the newest step it follows the run again."""
        if self.span is None:
            return self
        first, last = self.limits(low, high)
        end = last + (last - first) / 4 * (1 if later else -1)
        return dataclasses.replace(self, end=None if end >= high else max(end, low + (last - first)))


def within(loss: Loss, first: float, last: float) -> Loss:
    """The points of ``loss``, which is ordered by step, in a window."""
    start, stop = np.searchsorted(loss.steps, first, "left"), np.searchsorted(loss.steps, last, "right")
    return Loss(loss.steps[start:stop], loss.values[start:stop])


@dataclasses.dataclass(frozen=True)
class Group:
    """Figures that share one plot: ``lines`` by what they are called there."""

    title: str
    lines: dict[str, Loss]


def figure_groups(curves: dict[str, Loss]) -> tuple[Group, ...]:
    """The figures of a stage, as the engine names them, in groups: the rest first, then norms, ranges, the device."""
    gradients, ranges, device, others = {}, {}, [], []
    for name, loss in curves.items():
        kind, _, of = name.partition("_")
        if kind == "grad" and of:
            gradients[words.plain(of, 16)] = loss
        elif kind in ("min", "max") and of:
            ranges[f"{words.plain(of, 16)} {kind}"] = loss
        elif kind == "device" and of:
            device.append(Group(f"device {words.plain(of, 16)}", {words.plain(of, 16): loss}))
        else:
            shown = words.plain(name, 24).replace("_", " ")
            others.append(Group(shown, {shown: loss}))
    found = [*others, Group("gradient norms", gradients), Group("memory ranges", ranges), *device]
    return tuple(group for group in found if group.lines)
