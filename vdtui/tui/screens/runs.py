"""The runs screen: a table of all runs of a folder, live. It imports nothing heavy, so that it is there at once.

What it shows of a run is one immutable row of ``watch``; sorting, filtering and marking are its own and change no run.
"""

from __future__ import annotations

import asyncio
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import DataTable, Input

from engine.errors import VdtuiError
from engine.runs import RunDirectory, remove_run
from vdtui.tui import columns, keys, words
from vdtui.tui.cautions import CHOSEN_ON_TEST, SHORT
from vdtui.tui.messages import OpenComparison, OpenGallery, OpenRun
from vdtui.tui.screens.dialogs import ColumnsDialog, ConfirmRemove
from vdtui.tui.screens.steering import ChosenRun, SteeringScreen, comparison_report
from vdtui.tui.watch import RunRow, RunsSnapshot, RunsWatcher, RunWatcher
from vdtui.tui.widgets.keyline import KeyLine
from vdtui.tui.widgets.lines import Lines
from vdtui.tui.widgets.panels import ADVICE
from vdtui.tui.widgets.preview import RunPreview
from vdtui.tui.widgets.workline import WorkLine

PREVIEW_WIDTH, PREVIEW_CELLS = 170, 70
"""The least width for the chosen run beside the table, and the room that it takes."""
PREVIEW_SECONDS = 0.3
RIGHT = ("left", "best", "test", "stored", "worked", "age")
ORDERS = ("age", "name", "state", "progress", "left", "best", "test", "stored")
"""The orders of the rows: age, name, state from the least, the others from the greatest."""
STATE_ORDER = (
    "running", "paused", "stopping", "queued", "failed", "crashed", "damaged", "stopped", "completed"
)  # fmt: skip
MOST_COMPARED = 6
MOST_IN_GALLERY = 5
EMPTY = """No runs here yet.

Press {key} to start one, or type    {command}

The demo needs no download: a small made-up video dataset is distilled to a
few clips per class. The run appears here by itself."""


class RunTable(DataTable[Text]):
    """A table in which Home and End go to the first and the last row; Textual's go to columns."""

    def to_end(self, last: bool) -> None:
        """Go to the first or the last row."""
        self.move_cursor(row=self.row_count - 1 if last else 0)

    def action_scroll_home(self) -> None:
        """Go to the first row."""
        self.to_end(False)

    def action_scroll_end(self) -> None:
        """Go to the last row."""
        self.to_end(True)


class RunsScreen(SteeringScreen):
    """Shows all runs in ``folder``, newest first unless sorted otherwise; ``clock`` gives Unix seconds."""

    SCREEN = "runs"
    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(SCREEN)]
    HEADING = "runs"
    NOTES = (
        "best: accuracy on validation (!: on test, by which it was chosen); course: the way there.",
        "test: top-1 of its set on the test split (!: see below the table); left, progress: of the whole run.",
        "Silent: the worker lives, but says nothing (suspended?).",
        "ctrl+p opens the command palette: all this, and themes.",
    )

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self.snapshot: RunsSnapshot | None = None
        self.marked: set[Path] = set()
        self.order, self.turned, self.words = "age", False, ""
        self.columns = columns.from_environment()
        """The columns that somebody has chosen; none: those that fit."""
        self._folder = folder
        self._clock = clock
        self._watcher = RunsWatcher(folder)
        self._cells: dict[str, list[Text]] = {}
        self._shown_rows: dict[str, tuple[RunRow, str, bool, int, tuple[str, ...]]] = {}
        self._rows: dict[str, RunRow] = {}
        self._columns_shown: list[tuple[str, int]] = []
        self._heads_shown: list[Text] = []

    def compose(self) -> ComposeResult:
        """Title, table or friendly words, details of the chosen run, keys."""
        yield Lines(id="title")
        yield Input(
            placeholder="words in name, preset, state or stage; enter keeps, esc ends", compact=True, id="filter"
        )
        with Horizontal(id="table"):
            yield RunTable(cursor_type="row", cursor_foreground_priority="renderable")
            yield RunPreview(classes="panel")
        yield Lines(id="empty")
        yield Lines(flows=True, id="details")
        yield WorkLine()
        yield KeyLine(self.SCREEN, self.useful)

    def on_mount(self) -> None:
        """Begin to follow the folder."""
        self.query_one(DataTable).display = self.query_one("#filter").display = False
        self.query_one(DataTable).focus()
        self.run_worker(self._follow())
        self.run_worker(self._follow_chosen())

    async def _follow(self) -> None:
        while True:
            if self.is_current:
                snapshot = await asyncio.to_thread(self._watcher.poll)
                if snapshot is not None:
                    known = {row.path: row.state for row in self.snapshot.rows} if self.snapshot is not None else {}
                    for row in snapshot.rows:
                        self.tell_end(row.name, known.get(row.path, row.state), row.state)
                    self.snapshot = snapshot
                self._show()
            await asyncio.sleep(self._watcher.pause or 0.1)

    async def _follow_chosen(self) -> None:
        """Follow the run under the cursor, where there is room to show it."""
        watcher: RunWatcher | None = None
        while True:
            chosen = self.chosen() if self.has_class("preview") and self.shown else None
            if chosen is not None:
                preview = self.query_one(RunPreview)
                if watcher is None or watcher.run.path != chosen.run.path:
                    watcher = RunWatcher(chosen.run)
                    preview.show(None, self._clock())
                snapshot = await asyncio.to_thread(watcher.poll)
                if snapshot is not None:
                    preview.show(snapshot, self._clock())
            await asyncio.sleep(max(PREVIEW_SECONDS, watcher.pause if watcher is not None else 0))

    def on_resize(self, event: events.Resize) -> None:
        """Choose the columns for this width, and show the chosen run where there is room."""
        self.set_class(event.size.width >= PREVIEW_WIDTH, "preview")
        self.recolour()

    def recolour(self) -> None:
        """Fill the table anew, with the columns for this width and the colours of this theme."""
        self._shown_rows.clear()
        self.call_after_refresh(self._show)

    def on_screen_resume(self) -> None:
        """Show what changed while another screen was on top."""
        self._show()

    def _show(self) -> None:
        if self.snapshot is None or not self.shown:
            return
        rows = self._ordered([row for row in self.snapshot.rows if self._wanted(row)])
        self.marked &= {row.path for row in self.snapshot.rows}
        self._show_title(self.snapshot.rows, len(rows))
        table = self.query_one(DataTable)
        if table.display != bool(rows):
            table.display, self.query_one("#empty").display = bool(rows), not rows
            self.query_one("#table").display = bool(rows)
        if not rows:
            self._show_empty()
        now = self._clock()
        self._rows = {str(row.path): row for row in rows}
        cells = {key: self._cached_cells(row, now) for key, row in self._rows.items()}
        self._arrange(table, cells)
        self._show_details()

    def _wanted(self, row: RunRow) -> bool:
        """Tell whether every word of the filter is somewhere in the row."""
        text = f"{row.name} {row.title} {self._state_of(row)} {row.stage}".lower()
        return all(word in text for word in self.words.lower().split())

    def _ordered(self, rows: list[RunRow]) -> list[RunRow]:
        """``rows`` by the present order; rows without a value come last, equal ones newest first."""

        least_first = self.order in ("name", "state")
        if self.order == "age":  # as the watcher gives them
            return rows[::-1] if self.turned else rows
        known = [row for row in rows if self._value(row) is not None]
        unknown = [row for row in rows if self._value(row) is None]
        known.sort(key=lambda row: self._value(row), reverse=least_first == self.turned)  # type: ignore[arg-type,return-value]
        return known + unknown

    def _value(self, row: RunRow) -> float | str | int | None:
        if self.order == "name":
            return row.name.lower()
        if self.order == "state":
            return STATE_ORDER.index(row.state) if row.state in STATE_ORDER else len(STATE_ORDER)
        left = row.left.run if row.left is not None else None
        values = {"progress": row.fraction, "left": left, "best": row.best, "test": row.test}
        return values.get(self.order, row.stored_bytes)

    def _show_title(self, rows: tuple[RunRow, ...], shown: int) -> None:
        colours = self.app.theme_variables
        running = sum(row.state == "running" for row in rows)
        number = f" {len(rows)} {'run' if len(rows) == 1 else 'runs'}"
        left = Text.assemble(
            (" vdtui ", f"bold {colours['background']} on {colours['primary']}"),
            (number if shown == len(rows) else f" {shown} of{number}", "bold"),
            f" · {running} running" if running else "",
            f" · {len(self.marked)} marked" if self.marked else "",
            (f" · {words.plain(self._folder)}", colours["text-muted"]),
            no_wrap=True,
            overflow="ellipsis",
        )
        right = Text(f"by {self.order}{', turned' if self.turned else ''} ", colours["text-muted"])
        left.truncate(max(10, self.size.width - right.cell_len - 1), overflow="ellipsis")
        gap = max(1, self.size.width - left.cell_len - right.cell_len)
        self.query_one("#title", Lines).put(Text.assemble(left, " " * gap, right, no_wrap=True, overflow="crop"))

    def _show_empty(self) -> None:
        bold = f"bold {self.app.theme_variables['primary']}"
        if self.words:
            text = Text.assemble("No run has ", (words.plain(self.words, 60), bold), " in it.\n\nesc shows all runs")
        else:
            before, middle, after = EMPTY.replace("{command}", "{key}").split("{key}")
            text = Text.assemble(before, ("n", bold), middle, ("vdtui distill --preset demo", bold), after)
        self.query_one("#empty", Lines).put(text)

    def _columns(self) -> list[tuple[str, int]]:
        width = self.size.width - (PREVIEW_CELLS if self.size.width >= PREVIEW_WIDTH else 0)
        fixed = columns.columns(width, self.columns)
        used = sum(cells + 2 for _, cells in fixed) + 7
        return [("mark", 1), ("name", max(columns.LEAST_NAME, width - used)), *fixed]

    def _cached_cells(self, row: RunRow, now: float) -> list[Text]:
        """The cells as they were, if nothing in them changed: with hundreds of runs most do not."""
        key = str(row.path)
        shown = (row, words.age(now - row.created), row.path in self.marked, self.size.width, self.columns)
        if self._shown_rows.get(key) == shown and key in self._cells:
            return self._cells[key]
        self._shown_rows[key] = shown
        return self._row_cells(row, now)

    def _row_cells(self, row: RunRow, now: float) -> list[Text]:
        colours = self.app.theme_variables
        widths = dict(self._columns())
        state = self._state_of(row)
        course = words.spark(row.accuracies, widths.get("course", 0))
        cells = {
            "mark": Text("◆" if row.path in self.marked else " ", colours["accent"]),
            "name": Text(words.short(words.plain(row.name), widths["name"]), "bold"),
            "state": Text(f"{words.GLYPHS[state]} {state}", colours[words.COLOURS[state]]),
            "preset": Text(words.short(words.plain(row.title), widths.get("preset", 0))),
            "stage": Text(words.short(words.plain(row.stage), widths.get("stage", 0))),
            "progress": _progress(row, widths.get("progress", 0), colours),
            "left": Text(_left(row, now).rjust(widths.get("left", 0))),
            "best": self._best(row, widths.get("best", 0)),
            "test": self._test(row, widths.get("test", 0)),
            "course": Text(course or "—", colours["success" if course else "text-muted"]),
            "stored": Text(words.size(row.stored_bytes).rjust(widths.get("stored", 0))),
            "worked": Text(words.brief(row.worked).rjust(widths.get("worked", 0))),
            "age": Text(words.age(now - row.created).rjust(widths.get("age", 0))),
        }
        return [cells[name] for name in widths]

    def _best(self, row: RunRow, width: int) -> Text:
        """The best accuracy; one on the test split has a sign."""
        if row.best is None or not row.chosen_on_test:
            return Text(words.percent(row.best).rjust(width))
        return Text(f"!{words.percent(row.best)}".rjust(width), self.app.theme_variables["warning"])

    def _test(self, row: RunRow, width: int) -> Text:
        """The top-1 on test; one that there are warnings about has a sign, and the words are below."""
        if row.test is None or not row.warnings:
            return Text(words.percent(row.test).rjust(width))
        return Text(f"!{words.percent(row.test)}".rjust(width), self.app.theme_variables["warning"])

    def _state_of(self, row: RunRow) -> str:
        return "silent" if row.silent is not None else row.state

    def _arrange(self, table: DataTable[Text], cells: dict[str, list[Text]]) -> None:
        """Bring the table to ``cells`` with as little as possible: to add hundreds of rows takes a while."""
        chosen, columns = self._chosen_key(), self._columns()
        if columns != self._columns_shown or cells.keys() != self._cells.keys():
            self._refill(table, cells, columns)
            moved = True
        else:
            self._update(table, cells)
            moved = list(cells) != list(self._cells)
        heads = self._heads()
        if heads != self._heads_shown or moved:
            for column, head in zip(table.ordered_columns, heads, strict=True):
                column.label = head
            places = {id(row[0]): place for place, row in enumerate(cells.values())}
            table.sort(key=lambda row: places[id(row[0])])
            if chosen in cells:
                table.move_cursor(row=list(cells).index(chosen), animate=False)
        self._cells, self._columns_shown, self._heads_shown = cells, columns, heads

    def _refill(self, table: DataTable[Text], cells: dict[str, list[Text]], columns: list[tuple[str, int]]) -> None:
        other = columns != self._columns_shown
        table.clear(columns=other)
        if other:
            for name, width in columns:
                table.add_column(Text(), width=width, key=name)
        for key, row in cells.items():
            table.add_row(*row, key=key)

    def _heads(self) -> list[Text]:
        """The heads of the columns, with a sign at the one that is sorted by."""
        sign = "▲" if self.turned != (self.order in ("age", "name", "state")) else "▼"
        heads = []
        for name, width in self._columns():
            head = "" if name == "mark" else "done" if name == "progress" and width < 8 else name
            head = f"{head[: width - 2]} {sign}" if name == self.order else head
            heads.append(Text(head.rjust(width) if name in RIGHT else head))
        return heads

    def _update(self, table: DataTable[Text], cells: dict[str, list[Text]]) -> None:
        names = [name for name, _ in self._columns()]
        for key, row in cells.items():
            old = self._cells[key]
            if row is old:
                continue
            for column, (name, before, after) in enumerate(zip(names, old, row, strict=True)):
                if before != after or before.style != after.style:
                    table.update_cell(key, name, after)
                else:
                    row[column] = before  # the very object that the table has: rows are found again by it

    def _chosen_key(self) -> str | None:
        table = self.query_one(DataTable)
        if not table.is_valid_row_index(table.cursor_row):
            return None
        return table.ordered_rows[table.cursor_row].key.value

    def _chosen(self) -> RunRow | None:
        """The run under the cursor, where the table has any."""
        key = self._chosen_key()
        return self._rows.get(key) if key is not None else None

    def _show_details(self) -> None:
        row, text = self._chosen(), Text(no_wrap=True, overflow="ellipsis")
        if row is not None:
            colours = self.app.theme_variables
            text.append(words.plain(row.title) or "no title", "bold")
            shown = dict(self._columns())
            for name, told in (("stage", words.plain(row.stage, 16)), ("stored", _stored(row))):
                if name not in shown and told:
                    text.append(f" · {told}", colours["text-muted"])
            for line in textwrap.wrap(_warned(row), max(20, self.size.width - 2)):
                text.append(f"\n{line}", colours["warning"])
            text.append(f"\n{self._advice(row)}", colours["text-muted"])
        details = self.query_one("#details", Lines)
        if details.display != (row is not None):
            details.display = row is not None
        details.put(text)
        self.query_one(KeyLine).show()

    def _advice(self, row: RunRow) -> str:
        if row.trouble:
            return words.plain(" ".join(row.trouble))
        if row.silent is not None:
            return f"It lives, but has said nothing for {words.duration(row.silent)}: suspended, or a slow disk?"
        name = words.plain(row.path if "/" in row.name else row.name)
        advice = ADVICE.get(row.state, "enter opens it").format(name=name)
        return f"{words.GLYPHS[row.state]} {row.state}. {advice}"

    def on_data_table_row_highlighted(self) -> None:
        """Show the details of the run under the cursor."""
        self._show_details()

    def on_data_table_row_selected(self) -> None:
        """Open the run under the cursor."""
        self.action_open()

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """A click on a column's head sorts by it; a second one turns the order round."""
        name = event.column_key.value
        if name in ORDERS:
            self.turned = not self.turned if name == self.order else False
            self.order = name
            self._show()

    # --- sorting, filtering, marking ---------------------------------------------------------------------------------

    def action_row(self, by: int) -> None:
        """Go up or down."""
        table = self.query_one(DataTable)
        table.action_cursor_down() if by > 0 else table.action_cursor_up()

    def action_end(self, last: bool) -> None:
        """Go to the first or the last run."""
        self.query_one(RunTable).to_end(last)

    def action_order(self, by: int) -> None:
        """Sort by another of the columns that can be sorted by."""
        self.order, self.turned = ORDERS[(ORDERS.index(self.order) + by) % len(ORDERS)], False
        self._show()

    def action_turn_order(self) -> None:
        """The other way round."""
        self.turned = not self.turned
        self._show()

    def action_columns(self) -> None:
        """Choose the columns of the table."""
        shown = tuple(name for name, _ in self._columns() if name in columns.WIDTHS)

        def take(names: tuple[str, ...] | None) -> None:
            if names is not None:
                self.columns = names
                self.recolour()

        self.app.push_screen(ColumnsDialog(shown), take)

    def action_filter(self) -> None:
        """Type words that runs must have."""
        field = self.query_one("#filter", Input)
        field.display = True
        self.set_focus(field)  # at once: letters may follow

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter as the user types."""
        self.words = event.input.value  # not that of the event, which may be from before an escape
        self._show()

    def action_clear(self) -> None:
        """End the filter; without one, forget the marks."""
        field = self.query_one("#filter", Input)
        if field.display:
            field.display = False
            field.value = self.words = ""
            self.set_focus(self.query_one(DataTable))
        else:
            self.marked.clear()
        self._show()

    def action_mark(self) -> None:
        """Mark the chosen run, or take its mark away, and go on to the next."""
        row = self._chosen()
        if row is not None:
            self.marked ^= {row.path}
            self._show()
            self.query_one(DataTable).action_cursor_down()

    # --- what can be done with a run ---------------------------------------------------------------------------------

    def chosen(self) -> ChosenRun | None:
        """The run under the cursor."""
        row = self._chosen()
        return ChosenRun(RunDirectory(row.path), row.state) if row is not None else None

    def useful(self, action: str) -> bool:
        """Leave out of the line of keys what has no run, or not enough runs, to act on."""
        if action == "open":
            return self._chosen() is not None
        if action == "compare":
            return 2 <= len(self.marked) <= MOST_COMPARED
        if action in ("mark", "filter", "order(1)"):
            return len(self._rows) > 1
        return super().useful(action)

    def action_open(self) -> None:
        """Open the chosen run; while a filter is typed, go on to the table."""
        if self.focused is self.query_one("#filter"):
            self.set_focus(self.query_one(DataTable))
            return
        row = self._chosen()
        if row is not None:
            self.post_message(OpenRun(RunDirectory(row.path)))

    def action_gallery(self) -> None:
        """The gallery of the chosen run, or of those that are marked, side by side."""
        marked = [RunDirectory(row.path) for row in self._rows.values() if row.path in self.marked]
        row = self._chosen()
        runs = marked if len(marked) > 1 else [RunDirectory(row.path)] if row is not None else []
        if len(runs) > MOST_IN_GALLERY:
            self.say(f"Mark at most {MOST_IN_GALLERY} runs; {len(runs)} marked.", warn=True)
        elif runs:
            self.post_message(OpenGallery(runs))

    def action_compare(self) -> None:
        """The marked runs beside each other."""
        runs = [RunDirectory(row.path) for row in self._rows.values() if row.path in self.marked]
        if not 2 <= len(runs) <= MOST_COMPARED:
            self.say(f"Mark 2 to {MOST_COMPARED} runs with space first; {len(runs)} marked.", warn=True)
            return
        self.post_message(OpenComparison(runs))

    def action_report(self) -> None:
        """Write the report of the chosen run; of those that are marked, one that compares them."""
        runs = [RunDirectory(row.path) for row in self._rows.values() if row.path in self.marked]
        if len(runs) > 1:
            self.run_command(*comparison_report(runs))
        else:
            super().action_report()

    def action_remove(self) -> None:
        """Ask, then delete the chosen run; one that lives is kept."""
        row = self._chosen()
        if row is None:
            return
        if row.alive:
            self.say(f"{row.name} is {row.state}, so it is kept. Stop it first (s).", warn=True)
            return

        def remove(confirmed: bool | None) -> None:
            if confirmed:
                self.run_worker(self._remove(row))

        self.app.push_screen(ConfirmRemove(row.name, row.path, row.stored_bytes is not None), remove)

    async def _remove(self, row: RunRow) -> None:
        try:
            await asyncio.to_thread(remove_run, RunDirectory(row.path))
        except (VdtuiError, OSError) as error:
            self.say_error(error)
            return
        self.say(f"Removed {row.path}.")


def _left(row: RunRow, now: float) -> str:
    """The time left of a run that goes on: with a sign where it is at least so much."""
    if row.left is None or (row.left.at_least and row.left.run <= 0):
        return "—"
    text = words.brief(max(0.0, row.left.run - max(0.0, now - row.left.told)))
    return f">{text}" if row.left.at_least else text


def _stored(row: RunRow) -> str:
    return f"stored {words.size(row.stored_bytes)}" if row.stored_bytes is not None else ""


def _warned(row: RunRow) -> str:
    """The warnings about a run's numbers, in words."""
    told = [CHOSEN_ON_TEST.short] if row.best is not None and row.chosen_on_test else []
    told += [SHORT[name] for name in row.warnings if name in SHORT]
    return f"! {' · '.join(dict.fromkeys(told))}" if told else ""


def _progress(row: RunRow, width: int, colours: dict[str, str]) -> Text:
    if row.fraction is None:
        return Text("—", colours["text-muted"])
    if width < 8:
        return Text(f"{100 * row.fraction:3.0f} %")
    done, left = words.bar(row.fraction, width - 5)
    shown = f" {100 * row.fraction:3.0f}%"
    return Text.assemble((done, colours[words.COLOURS[row.state]]), (left, colours["text-disabled"]), shown)
