"""The text panels of the run screen: header, what is wrong, figures, results, log."""

from __future__ import annotations

import math
import textwrap
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.events import Resize
from textual.widgets import RichLog

from engine.config.kinds import COMPRESSED, is_own
from engine.runs.state import LogLine
from vdtui.tui import words
from vdtui.tui.cautions import CHOSEN_ON_TEST, cautions, shorts
from vdtui.tui.watch import RunSnapshot, is_number
from vdtui.tui.widgets.lines import Lines

SHOWN_LINES = 300
"""Lines of the log that are laid out; the search looks through all that the snapshot has."""
ADVICE = {
    "stopped": "Its state is saved. r resumes it, or: vdtui resume {name}",
    "crashed": "Its worker is gone. r resumes it, or: vdtui resume {name}",
    "failed": "When that is mended, r resumes it, or: vdtui resume {name}",
}


class Header(Lines):
    """One line: state, name, title of the preset; seed and device at the right."""

    def show(self, run: RunSnapshot) -> None:
        """Show the head of ``run``."""
        colours = self.app.theme_variables
        state = run.shown_state
        badge = Text(
            f" {words.GLYPHS[state]} {state} ", f"bold {colours['background']} on {colours[words.COLOURS[state]]}"
        )
        seed = "—" if run.seed is None else run.seed
        right = Text(f"seed {seed} · {words.plain(run.device, 24) or '—'} ", colours["text-muted"])
        room = max(10, self.size.width - len(badge) - len(right) - 3)
        name = words.short(words.plain(run.name), room)
        title = words.short(words.plain(run.title), max(0, room - len(name) - 2))
        left = Text.assemble(badge, " ", (name, "bold"), "  ", (title, colours["text-muted"]), no_wrap=True)
        gap = max(1, self.size.width - left.cell_len - right.cell_len)
        self.put(Text.assemble(left, " " * gap, right, no_wrap=True, overflow="crop"))


class Banner(Lines):
    """The trouble of a run and its remedy, beside a bar in the colour of the state; hidden where there is none."""

    def show(self, run: RunSnapshot) -> None:
        """Show the trouble of ``run``, or hide."""
        lines = advice(run)
        if self.display != bool(lines):
            self.display = bool(lines)
        self.styles.border_left = ("outer", self.app.theme_variables[words.COLOURS[run.state]])
        self.put(Text("\n".join(lines)))


def advice(run: RunSnapshot) -> list[str]:
    """Say in plain lines what is wrong with a run and what to do about it."""
    name, glyph = words.plain(run.name), words.GLYPHS[run.state]
    if run.trouble:
        return [f"{glyph} {words.plain(run.trouble[0], 300)}", words.plain(run.trouble[1], 300)]
    if run.state not in ADVICE:
        return []
    lines = []
    if run.state == "failed" and run.problem:
        lines = [f"{glyph} {words.plain(run.problem[0], 300)} {words.plain(run.problem[1], 300)}".rstrip()]
    return [
        *lines,
        (f"{glyph} " if not lines else "") + f"{run.state}. ".capitalize() + ADVICE[run.state].format(name=name),
    ]


class Figures(VerticalScroll):
    """Names and numbers: speed, time, best accuracy, bytes, norms and ranges; they scroll where they do not fit."""

    def compose(self) -> ComposeResult:
        """One text, as high as it needs to be."""
        yield Lines(flows=True)

    def on_mount(self) -> None:
        """Name the panel."""
        self.border_title = Text("figures")

    def show(self, run: RunSnapshot, now: float) -> None:
        """Show the figures of ``run`` at the time ``now``; cheap enough to be called each second."""
        colours, width = self.app.theme_variables, self.scrollable_content_region.width
        text = Text(no_wrap=True, overflow="ellipsis")
        for name, value in figure_lines(run, now):
            name = words.short(name, max(1, width - len(value) - 1))
            gap = max(1, width - len(name) - len(value))
            text.append(name, colours["text-muted"]).append(" " * gap).append(value + "\n", "bold")
        text.rstrip()
        self.query_one(Lines).put(text)


def figure_lines(run: RunSnapshot, now: float) -> list[tuple[str, str]]:
    """The rows of the figures panel; ``now`` in Unix seconds."""
    stage = run.present
    rate = stage.rate if stage and run.alive and run.state != "paused" and not stage.finished else 0.0
    lines = [("elapsed", words.duration(elapsed(run, now)))]
    if run.alive:
        lines.insert(0, ("speed", f"{words.number(rate)} steps/s" if rate > 0 else "—"))
    step, accuracy = run.best or (None, None)
    lines.append(("best accuracy", words.percent(accuracy) + (f" on {chosen_on(run)}" if accuracy is not None else "")))
    if chosen_on(run) == "test":
        lines.append((shorts([CHOSEN_ON_TEST]), "flatters it"))
    lines.append(("stored", words.size(run.stored_bytes)))
    if run.data_bytes and run.stored_bytes:
        lines[-1] = ("stored", f"{words.size(run.stored_bytes)}, {share(run.stored_bytes / run.data_bytes)} of data")
    device, learned = measured_lines(run.figures)
    return [*lines, *device, ("best step", "—" if step is None else str(step)), *learned]


def chosen_on(run: RunSnapshot) -> str:
    """The split on which the best step was chosen: ``val``, ``test``, or ``none``."""
    return next((words.plain(one.split, 8) for one in reversed(run.accuracies) if one.what == "synthetic"), "none")


def share(fraction: float) -> str:
    """A small part of a whole in percent, with two digits that say something."""
    return f"{100 * fraction:.2g} %" if fraction < 0.1 else words.percent(fraction, 0)


def elapsed(run: RunSnapshot, now: float) -> float | None:
    """Seconds that its workers worked: neither while it was paused nor between two workers."""
    if run.started is None:
        return None
    if run.state == "completed" and run.seconds > 0:
        return run.seconds
    end = now if run.alive else run.updated or run.started
    return max(0.0, (end if run.paused_at is None else run.paused_at) - run.started - run.dead_seconds)


def measured_lines(figures: dict[str, float]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The device's figures, and what is learned: single figures, then norms, then ranges (``min_x`` and ``max_x``)."""
    device, single, gradients, ranges = [], [], [], []
    for name, value in figures.items():
        kind, _, of = name.partition("_")
        partner = figures.get(f"max_{of}")
        if name == "device_memory":
            device.append(("memory in use", words.size(value)))
        elif name == "device_load":
            device.append(("device load", words.percent(value, 0)))
        elif kind == "min" and partner is not None:
            ranges.append((f"{_said(of)} range", f"{words.number(value)} … {words.number(partner)}"))
        elif kind == "max" and f"min_{of}" in figures:
            continue
        elif kind == "grad" and of:
            gradients.append((f"gradient {_said(of)}", words.number(value)))
        else:
            single.append((_said(name), words.number(value)))
    return device, single + gradients + ranges


def _said(name: str) -> str:
    return words.plain(name, 24).replace("_", " ")


class Results(VerticalScroll):
    """The final table, each row with its warnings; it scrolls where it does not fit."""

    _run: RunSnapshot | None = None

    def compose(self) -> ComposeResult:
        """One text, as high as it needs to be."""
        yield Lines(flows=True)

    def on_mount(self) -> None:
        """Name the panel."""
        self.border_title = Text("results · top-1 on unseen videos")

    def on_resize(self) -> None:
        """Choose anew which columns fit; also when the panel appears."""
        if self._run is not None:
            self.show(self._run)

    def show(self, run: RunSnapshot) -> None:
        """Show the results of ``run``; its own set stands out from the baselines."""
        self._run = run
        colours, lines, width = self.app.theme_variables, self.query_one(Lines), self.scrollable_content_region.width
        if not run.results:
            lines.put(Text("They come with the last stage.", colours["text-muted"]))
            return
        lines.put(result_lines(run, width, colours))


def result_lines(run: RunSnapshot, width: int, colours: dict[str, str]) -> Text:
    """The results of ``run`` as a table of at most ``width`` cells, and under each row its warnings."""
    rows = [result_cells(result) for result in run.results]
    head: tuple[str, ...] = ("what", "top-1", "bytes", "values")
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(4)]
    if sum(widths) + 6 > width:
        head, widths, rows = head[:3], widths[:3], [row[:3] for row in rows]
    room = max(8, width - sum(widths[1:]) - 2 * len(widths[1:]))  # a line that is too long would be broken
    if widths[0] > room:
        rows, widths[0] = [(words.short(row[0], room), *row[1:]) for row in rows], room
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("  ".join(_aligned(head, widths)), colours["text-muted"])
    for result, row in zip(run.results, rows, strict=True):
        own = is_own(result.get("what"), run.kind)
        text.append("\n" + "  ".join(_aligned(row, widths)), f"bold {colours['success']}" if own else "")
        for line in textwrap.wrap(shorts(cautions(result, run.results if own else ())), max(10, width - 2)):
            text.append(f"\n  {line}", colours["warning"])
    return text


def _aligned(cells: tuple[str, ...], widths: list[int]) -> list[str]:
    pairs = list(zip(cells, widths, strict=True))
    return [cell.ljust(width) if not index else cell.rjust(width) for index, (cell, width) in enumerate(pairs)]


def result_cells(result: dict[str, Any]) -> tuple[str, ...]:
    """Name, top-1, bytes and stored values of one result, as text."""
    count, values = result.get("bytes"), result.get("stored_values")
    return (
        _what(result),
        top1_text(result),
        words.size(count if is_number(count) else None),
        f"{values:,}".replace(",", " ") if isinstance(values, int) else "—",
    )


def _what(result: dict[str, Any]) -> str:
    """The name of a result; of real clips that fill the bytes of a set with how many there are of each class."""
    name = words.plain(result.get("what", "?"), 24)
    return f"{name} x{result.get('ipc')}" if name in COMPRESSED else name


def top1(result: dict[str, Any], name: str) -> float | None:
    """``mean`` or ``std`` of a result's top-1, if it is a finite number."""
    found = result.get("top1")
    value = found.get(name) if isinstance(found, dict) else None
    return float(value) if value is not None and is_number(value) and math.isfinite(value) else None


def top1_text(result: dict[str, Any]) -> str:
    """A result's top-1 as ``52.3 ± 1.2 %``; that of a single network has no spread, and is shown without."""
    found = result.get("top1")
    values = found.get("values") if isinstance(found, dict) else None
    single = isinstance(values, list) and len(values) == 1
    return words.plus_minus(top1(result, "mean"), None if single else top1(result, "std"))


class Log(RichLog):
    """The last lines of the run's log, or the last that have what is searched for. Text in it is never markup."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(wrap=True, markup=False, highlight=False, max_lines=2000, min_width=20, **kwargs)
        self._known: tuple[LogLine, ...] = ()
        self._shown: tuple[LogLine, ...] = ()
        self._sought = ""

    def on_mount(self) -> None:
        """Name the panel."""
        self.border_title = Text("log")
        self.border_subtitle = Text("/ search")

    def on_resize(self, event: Resize) -> None:
        """Wrap anew, once the base class knows the new size."""
        self.call_after_refresh(self._rewrite)

    @property
    def found(self) -> int:
        """Lines that are shown."""
        return len(self._shown)

    def search(self, text: str) -> None:
        """Show only the lines that have ``text``, in whichever case; all of them if it is empty."""
        self._sought = text.casefold()
        self._shown = self._matching()
        self._head()
        self._rewrite()

    def _matching(self) -> tuple[LogLine, ...]:
        lines = self._known
        if self._sought:
            lines = tuple(line for line in lines if self._sought in words.plain(line.text).casefold())
        return lines[-SHOWN_LINES:]

    def _head(self) -> None:
        title = f"log · {len(self._shown)} of {len(self._known)} lines" if self._sought else "log"
        self.border_title = Text(title)

    def show(self, lines: tuple[LogLine, ...]) -> None:
        """Append what is new in ``lines``; a log that is not the continuation of the shown one replaces it."""
        if lines == self._known:
            return
        self._known, before = lines, self._shown
        self._shown = self._matching()
        if self._sought:
            self._head()
        known = _index_of(before[-1], self._shown) if before else None
        if known is None:
            self._rewrite()
            return
        for line in self._shown[known + 1 :]:
            self._say(line)

    def _rewrite(self) -> None:
        self.clear()
        for line in self._shown:
            self._say(line)

    def _say(self, line: LogLine) -> None:
        colours = self.app.theme_variables
        glyph, colour = {"warning": ("! ", "warning"), "error": ("✖ ", "error")}.get(line.level, ("  ", "foreground"))
        time = words.clock(line.time)[: 8 if self.size.width >= 60 else 5]
        text = Text(words.plain(line.text), colours[colour])
        if self._sought:
            text.highlight_words([self._sought], f"bold reverse {colours['accent']}", case_sensitive=False)
        # Left to itself, the base class takes no line for longer than the console that it believes to be in (80 columns
        # where there is no terminal, as in a browser), and begins the rest of a line below the times.
        width = self.scrollable_content_region.width
        before = Text.assemble((time + " ", colours["text-muted"]), (glyph, colours[colour]))
        if width:
            room = max(10, width - before.cell_len)
            text = Text("\n" + " " * before.cell_len).join(text.wrap(self.app.console, room))
        self.write(before.append_text(text), width or None)


def _index_of(line: LogLine, lines: tuple[LogLine, ...]) -> int | None:
    return next((index for index in range(len(lines) - 1, -1, -1) if lines[index] is line), None)
