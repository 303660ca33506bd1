"""The run under the cursor beside the table of runs, where there is room: what its own screen says first."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from vdtui.tui import words
from vdtui.tui.watch import RunSnapshot
from vdtui.tui.widgets.lines import Lines
from vdtui.tui.widgets.panels import advice, figure_lines, result_lines

LOG_LINES = 8


class RunPreview(VerticalScroll):
    """State, course, figures, results with their warnings, and the end of the log of one run."""

    can_focus = False

    def compose(self) -> ComposeResult:
        """One text, as high as it needs to be."""
        yield Lines(flows=True)

    def show(self, run: RunSnapshot | None, now: float) -> None:
        """Show ``run`` at the time ``now``; None while it is read."""
        width = max(20, self.scrollable_content_region.width)
        if run is None:
            self.border_title = Text("")
            self.query_one(Lines).put(Text("reading ...", self.app.theme_variables["text-muted"]))
            return
        self.border_title = Text(words.short(words.plain(run.name), width))
        parts = [self._head(run, width), self._figures(run, now, width)]
        if run.results:
            parts.append(Text("results on unseen videos\n", "bold").append_text(self._results(run, width)))
        if run.log:
            parts.append(self._log(run, width))
        self.query_one(Lines).put(Text("\n\n").join(parts))

    def _head(self, run: RunSnapshot, width: int) -> Text:
        colours, state = self.app.theme_variables, run.shown_state
        text = Text(f"{words.GLYPHS[state]} {state}", colours[words.COLOURS[state]])
        text.append(f"  {words.short(words.plain(run.title), max(0, width - len(text) - 2))}", "bold")
        for line in advice(run):
            text.append(f"\n{line}", colours["text-muted"])
        done = "   ".join(f"{'✔' if stage.finished else '○'} {words.plain(stage.name, 16)}" for stage in run.stages)
        text.append(f"\n{done}", colours["text-muted"])
        course = words.spark([one.mean for one in run.accuracies if one.what == "synthetic"], width)
        return text.append(f"\n{course}", colours["success"]) if course else text

    def _figures(self, run: RunSnapshot, now: float, width: int) -> Text:
        text = Text(no_wrap=True)
        for name, value in figure_lines(run, now):
            gap = max(1, width - len(name) - len(value))
            text.append(name, self.app.theme_variables["text-muted"]).append(" " * gap).append(f"{value}\n", "bold")
        text.rstrip()
        return text

    def _results(self, run: RunSnapshot, width: int) -> Text:
        return result_lines(run, width, self.app.theme_variables)

    def _log(self, run: RunSnapshot, width: int) -> Text:
        muted = self.app.theme_variables["text-muted"]
        lines = [
            Text(f"{words.clock(line.time)[:5]} ", muted).append(words.short(words.plain(line.text), width - 6))
            for line in run.log[-LOG_LINES:]
        ]
        return Text("\n").join(lines)
