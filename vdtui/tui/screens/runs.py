"""The runs screen: a table of all runs of a folder, live. It imports nothing heavy, so that it is there at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import DataTable, Footer

from engine.runs import RunDirectory
from vdtui.tui import words
from vdtui.tui.screens.dialogs import HelpScreen
from vdtui.tui.screens.live import LiveScreen
from vdtui.tui.watch import RunRow, RunsSnapshot, RunsWatcher
from vdtui.tui.widgets.lines import Lines
from vdtui.tui.widgets.panels import ADVICE

WIDE = 110
KEYS = (
    ("up down", "choose a run"),
    ("enter", "open it: curves, log, gallery, pause and stop"),
    ("d", "data: what is in its clips file, and real clips"),
    ("q", "leave the dashboard; runs go on"),
)
NOTES = (
    "best is the accuracy on the validation split, stored the size of the synthetic set.",
    "progress is that of the present stage.",
)
EMPTY = """No runs here yet.

Start one with    {command}

It needs no download: a small made-up video dataset is distilled to a few
clips per class. The run appears here by itself."""


class RunsScreen(LiveScreen):
    """Shows all runs in ``folder``, newest first; ``clock`` gives Unix seconds."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open", priority=True),
        Binding("d", "data", "Data"),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "app.leave", "Leave"),
    ]

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self.snapshot: RunsSnapshot | None = None
        self._folder = folder
        self._clock = clock
        self._watcher = RunsWatcher(folder)
        self._cells: dict[str, list[Text]] = {}
        self._shown_rows: dict[str, tuple[RunRow, str]] = {}

    def compose(self) -> ComposeResult:
        """Title, table or friendly words, details of the chosen run, keys."""
        yield Lines(id="title")
        yield DataTable(cursor_type="row", cursor_foreground_priority="renderable")
        yield Lines(id="empty")
        yield Lines(id="details")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to follow the folder."""
        self.query_one(DataTable).display = False
        self.run_worker(self._follow())

    async def _follow(self) -> None:
        while True:
            if self.is_current:
                snapshot = await asyncio.to_thread(self._watcher.poll)
                if snapshot is not None:
                    self.snapshot = snapshot
                self._show()
            await asyncio.sleep(self._watcher.pause or 0.1)

    def on_resize(self, event: events.Resize) -> None:
        """Choose the columns for this width."""
        self._cells.clear()  # so that the table is filled anew, with the columns for this width
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        if self.snapshot is None or not self.shown:
            return
        rows = self.snapshot.rows
        self._show_title(rows)
        table = self.query_one(DataTable)
        if table.display != bool(rows):
            table.display, self.query_one("#empty").display = bool(rows), not rows
        if not rows:
            self._show_empty()
        now = self._clock()
        cells = {str(row.path): self._cached_cells(row, now) for row in rows}
        if list(cells) == list(self._cells):
            self._update(table, cells)
        else:
            self._refill(table, cells)
        self._cells = cells
        self._show_details()

    def _show_title(self, rows: tuple[RunRow, ...]) -> None:
        colours = self.app.theme_variables
        running = sum(row.state == "running" for row in rows)
        text = Text.assemble(
            (" vdtui ", f"bold {colours['background']} on {colours['primary']}"),
            (f" {len(rows)} {'run' if len(rows) == 1 else 'runs'}", "bold"),
            f" · {running} running" if running else "",
            (f" · {words.plain(self._folder)}", colours["text-muted"]),
            no_wrap=True,
            overflow="ellipsis",
        )
        self.query_one("#title", Lines).put(text)

    def _show_empty(self) -> None:
        before, after = EMPTY.split("{command}")
        command = ("vdtui distill --preset demo", f"bold {self.app.theme_variables['primary']}")
        self.query_one("#empty", Lines).put(Text.assemble(before, command, after))

    def _columns(self) -> list[tuple[str, int]]:
        if self.size.width >= WIDE:
            fixed = [
                ("state", 12),
                ("preset", 26),
                ("stage", 9),
                ("progress", 15),
                ("best", 7),
                ("stored", 8),
                ("age", 7),
            ]
        else:
            fixed = [("state", 11), ("stage", 8), ("progress", 9), ("best", 7), ("stored", 8), ("age", 6)]
        used = sum(width + 2 for _, width in fixed) + 2
        return [("name", max(12, self.size.width - used - 2)), *fixed]

    def _cached_cells(self, row: RunRow, now: float) -> list[Text]:
        """The cells as they were, if nothing in them changed: with hundreds of runs most do not."""
        key, shown = str(row.path), (row, words.age(now - row.created))
        if self._shown_rows.get(key) != shown or key not in self._cells:
            self._shown_rows[key] = shown
            return self._row_cells(row, now)
        return self._cells[key]

    def _row_cells(self, row: RunRow, now: float) -> list[Text]:
        colours = self.app.theme_variables
        widths = dict(self._columns())
        state = Text(f"{words.GLYPHS[row.state]} {row.state}", colours[words.COLOURS[row.state]])
        cells = {
            "name": Text(words.short(words.plain(row.name), widths["name"]), "bold"),
            "state": state,
            "preset": Text(words.short(words.plain(row.title), 26)),
            "stage": Text(words.short(words.plain(row.stage), widths["stage"])),
            "progress": _progress(row, widths["progress"], colours),
            "best": Text(words.percent(row.best).rjust(widths["best"])),
            "stored": Text(words.size(row.stored_bytes).rjust(widths["stored"])),
            "age": Text(words.age(now - row.created).rjust(widths["age"])),
        }
        return [cells[name] for name in widths]

    def _refill(self, table: DataTable[Text], cells: dict[str, list[Text]]) -> None:
        chosen = self._chosen()
        table.clear(columns=True)
        right = ("best", "stored", "age")
        for name, width in self._columns():
            table.add_column(Text(name.rjust(width) if name in right else name), width=width, key=name)
        for key, row in cells.items():
            table.add_row(*row, key=key)
        if chosen is not None and str(chosen.path) in cells:
            table.move_cursor(row=list(cells).index(str(chosen.path)), animate=False)

    def _update(self, table: DataTable[Text], cells: dict[str, list[Text]]) -> None:
        names = [name for name, _ in self._columns()]
        for key, row in cells.items():
            old = self._cells[key]
            if row is old:
                continue
            for name, before, after in zip(names, old, row, strict=True):
                if before != after or before.style != after.style:
                    table.update_cell(key, name, after)

    def _chosen(self) -> RunRow | None:
        table = self.query_one(DataTable)
        if self.snapshot is None or not table.is_valid_row_index(table.cursor_row):
            return None
        key = table.ordered_rows[table.cursor_row].key.value
        return next((row for row in self.snapshot.rows if str(row.path) == key), None)

    def _show_details(self) -> None:
        row, text = self._chosen(), Text(no_wrap=True, overflow="ellipsis")
        if row is not None:
            text.append(words.plain(row.title) or "no title", "bold")
            text.append(f"\n{self._advice(row)}", self.app.theme_variables["text-muted"])
        details = self.query_one("#details", Lines)
        if details.display != (row is not None):
            details.display = row is not None
        details.put(text)

    def _advice(self, row: RunRow) -> str:
        if row.trouble:
            return words.plain(" ".join(row.trouble))
        advice = ADVICE.get(row.state, "enter opens it").format(name=words.plain(row.name))
        return f"{words.GLYPHS[row.state]} {row.state}. {advice}"

    def on_data_table_row_highlighted(self) -> None:
        """Show the details of the run under the cursor."""
        self._show_details()

    def on_data_table_row_selected(self) -> None:
        """Open the run under the cursor."""
        self.action_open()

    def action_open(self) -> None:
        """Open the chosen run."""
        row = self._chosen()
        if row is not None:
            self.app.push_screen(run_screen(RunDirectory(row.path), self._clock))

    def action_data(self) -> None:
        """The clips file of the chosen run."""
        row = self._chosen()
        if row is not None:
            from vdtui.tui.clips import clips_file
            from vdtui.tui.screens.data import DataScreen

            self.app.push_screen(DataScreen(clips_file(RunDirectory(row.path))))

    def action_help(self) -> None:
        """The keys."""
        self.app.push_screen(HelpScreen("runs", KEYS, NOTES))


def run_screen(run: RunDirectory, clock: Callable[[], float]) -> Screen[None]:
    """The screen of one run; imported here, since curves need numpy and the table does not."""
    from vdtui.tui.screens.run import RunScreen

    return RunScreen(run, clock)


def _progress(row: RunRow, width: int, colours: dict[str, str]) -> Text:
    if row.fraction is None:
        return Text("—", colours["text-muted"])
    done, left = words.bar(row.fraction, width - 5)
    shown = f" {100 * row.fraction:3.0f}%"
    return Text.assemble((done, colours[words.COLOURS[row.state]]), (left, colours["text-disabled"]), shown)
