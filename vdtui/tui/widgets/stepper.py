"""The stages of a run in a row, and how far the present one is."""

from __future__ import annotations

from rich.text import Text

from engine.runs.state import UNITS, Stage
from vdtui.tui import words
from vdtui.tui.watch import RunSnapshot
from vdtui.tui.widgets.lines import Lines


class Stepper(Lines):
    """Two lines: ``✔ prepare ── ▶ static ── ○ dynamic``, and a bar with percent, step and time left."""

    def show(self, run: RunSnapshot, now: float) -> None:
        """Show the stages of ``run`` at the time ``now``."""
        colours = self.app.theme_variables
        text = Text(no_wrap=True, overflow="ellipsis")
        for position, stage in enumerate(run.stages):
            if position:
                text.append(" ── " if self.size.width >= 60 else " ", colours["text-disabled"])
            glyph, colour = _mark(stage, run)
            name = words.short(words.plain(stage.name), 16)
            text.append(f"{glyph} {name}", f"bold {colours[colour]}" if stage is run.present else colours[colour])
        text.append("\n")
        text.append_text(self._progress(run, now, colours))
        self.put(text)

    def _progress(self, run: RunSnapshot, now: float, colours: dict[str, str]) -> Text:
        stage = run.present
        if run.reading is not None:
            return self._bar(run.reading, "reading the log", colours["secondary"], colours)
        if run.state == "completed":
            return self._bar(1.0, f"all stages done in {words.duration(run.seconds)}", colours["primary"], colours)
        if stage is None or stage.total <= 0:
            return Text("no step done yet", colours["text-muted"])
        parts = [counted(stage)] if stage.total > 1 else []
        if stage.what:
            parts.append(words.plain(stage.what, 40))
        if not run.alive:
            parts.append("not running")
        elif run.state == "paused":
            parts.append("paused")
        else:
            parts += time_left(run, now)
        return self._bar(stage.step / stage.total, " · ".join(parts), colours[words.COLOURS[run.shown_state]], colours)

    def _bar(self, fraction: float, note: str, colour: str, colours: dict[str, str]) -> Text:
        width = min(40, max(10, self.size.width - len(note) - 10))
        done, left = words.bar(fraction, width)
        shown = f"{100 * min(1.0, max(0.0, fraction)):4.0f} %  "
        return Text.assemble((done, colour), (left, colours["text-disabled"]), (shown, "bold"), note, no_wrap=True)


def counted(stage: Stage) -> str:
    """The progress of a stage in its own unit: ``step 60 of 100``, ``video 3 of 9``."""
    unit = UNITS.get(stage.name, "step")
    return f"{unit} {stage.step:,} of {stage.total:,}".replace(",", " ")


def time_left(run: RunSnapshot, now: float) -> list[str]:
    """The time that the stage still takes, and the run, as its worker told them last, at the time ``now``."""
    if run.left is None:
        return ["time left unknown"]
    stage = next((place for place, one in enumerate(run.stages) if one is run.present), 0)
    is_last = stage == len(run.stages) - 1
    whole = f"run: {words.time_left(run.left.run, run.left.at_least, now - run.left.told)}"
    if is_last or run.left.stage is None:
        return [whole]
    return [f"stage: {words.time_left(run.left.stage, False, now - run.left.told)}", whole]


def _mark(stage: Stage, run: RunSnapshot) -> tuple[str, str]:
    if stage.finished:
        return "✔", "success"
    if stage is not run.present:
        return "○", "text-muted"
    return ("▶", "primary") if run.alive else (words.GLYPHS[run.state], words.COLOURS[run.state])
