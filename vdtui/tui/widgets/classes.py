"""Top-1 of each class in the final table: bars, the best above and the worst below.

A mean hides the classes that were not learned at all; they are what one looks at next.
"""

from __future__ import annotations

import math
from typing import Any

from rich.text import Text

from engine.config.kinds import is_own
from vdtui.tui import words
from vdtui.tui.watch import RunSnapshot, is_number
from vdtui.tui.widgets.lines import Lines

LONGEST_NAME = 22


class Classes(Lines):
    """The classes of the run's own result, or of the last one that has any."""

    _run: RunSnapshot | None = None

    def on_resize(self) -> None:
        """Choose anew which classes fit; also when the panel appears."""
        if self._run is not None:
            self.show(self._run)

    def show(self, run: RunSnapshot) -> None:
        """Show the classes of ``run``."""
        self._run = run
        colours = self.app.theme_variables
        what, ranked = per_class(run)
        self.border_title = Text(f"top-1 by class · {words.plain(what, 20)}" if ranked else "top-1 by class")
        if not ranked:
            self.border_subtitle = Text("")
            self.put(Text("They come with the results.", colours["text-muted"]))
            return
        shown = best_and_worst(ranked, max(1, self.size.height))
        hidden = len(ranked) - sum(one is not None for one in shown)
        self.border_subtitle = Text(f"{len(ranked)} classes" + (", best and worst" if hidden else ""))
        width = min(LONGEST_NAME, max(8, self.size.width // 2), max(len(one[0]) for one in shown if one))
        text = Text(no_wrap=True, overflow="ellipsis")
        for index, one in enumerate(shown):
            text.append("\n" if index else "")
            if one is None:
                text.append(f"… {hidden} more", colours["text-muted"])
            else:
                text.append_text(_line(*one, width, self.size.width, colours))
        self.put(text)


def _line(name: str, accuracy: float, width: int, columns: int, colours: dict[str, str]) -> Text:
    done, left = words.bar(accuracy, max(3, columns - width - 10))
    shown = words.short(name, width).ljust(width)
    return Text.assemble(
        f"{shown} ", (done, colours["success"]), (left, colours["text-disabled"]), f"{100 * accuracy:7.1f} %"
    )


def per_class(run: RunSnapshot) -> tuple[str, list[tuple[str, float]]]:
    """Name a result, and list its classes with their accuracies, best first."""
    with_classes = [result for result in run.results if _accuracies(result)]
    own = [result for result in with_classes if is_own(result.get("what"), run.kind)] or with_classes[-1:]
    if not own:
        return "", []
    values = _accuracies(own[0])
    names = [words.plain(name) or "(no name)" for name in run.classes]
    if len(names) != len(values):
        names = [f"class {label + 1}" for label in range(len(values))]
    pairs = [(name, value) for name, value in zip(names, values, strict=True) if value is not None]
    return str(own[0].get("what", "")), sorted(pairs, key=lambda pair: -pair[1])


def _accuracies(result: dict[str, Any]) -> list[float | None]:
    found = result.get("per_class")
    return [_fraction(value) for value in found] if isinstance(found, list) else []


def _fraction(value: Any) -> float | None:
    return float(value) if is_number(value) and math.isfinite(value) else None


def best_and_worst(ranked: list[tuple[str, float]], rows: int) -> list[tuple[str, float] | None]:
    """All of ``ranked`` if they fit into ``rows``, else the first and the last with None for what is between."""
    if len(ranked) <= rows:
        return list(ranked)
    if rows < 3:
        return list(ranked[:rows])
    above = rows // 2
    return [*ranked[:above], None, *ranked[len(ranked) - (rows - above - 1) :]]
