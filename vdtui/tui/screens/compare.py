"""Two to six runs beside each other: their curves in one plot, what differs in their presets, and their results.

Each run is followed by a watcher of its own, so that runs which are still going are compared as they are now.
"""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Static

from engine.config.tables import dotted
from engine.export.tables import over_seeds, points
from engine.runs import RunDirectory, RunState
from engine.runs.comparison import Group, Row, Source, compare
from engine.runs.differences import Difference
from engine.runs.methods import Method, origin_of
from engine.runs.results import is_result, results_of, trained_on
from engine.runs.state import Accuracy
from vdtui.tui import keys, words
from vdtui.tui.cautions import CHOSEN_ON_TEST, cautions, shorts
from vdtui.tui.screens.base import DashboardScreen
from vdtui.tui.screens.run import accuracy_points, chosen_by
from vdtui.tui.screens.steering import comparison_report
from vdtui.tui.watch import Loss, RunSnapshot, RunWatcher, preset_values
from vdtui.tui.widgets.keyline import KeyLine
from vdtui.tui.widgets.lines import Lines
from vdtui.tui.widgets.overlay import COLOURS, MARKERS, Line, Overlay
from vdtui.tui.widgets.panels import chosen_on, top1_text
from vdtui.tui.widgets.series import SMOOTHINGS
from vdtui.tui.widgets.workline import WorkLine

WIDE, TALL = 100, 30
STANDING_CELLS = 46
"""Cells of the legend beside the name."""
PAGES = ("accuracy", "loss", "differences", "results")
NOISE = (
    "Differences in points with their 95 % interval over networks: better or worse set where it does not contain 0; "
    "they tell of these sets. Of methods, those over run seeds do."
)
RESULT_HEADS = ("run", "trained on", "top-1", "to best", "over baseline", "bytes", "step")
METHOD_HEADS = ("method", "trained on", "top-1", "over", "to best", "over baseline")
UNSAID = ("title", "description", "published")
"""Keys of a preset that compute nothing."""


class CompareScreen(DashboardScreen):
    """Compares ``runs``, each with the colour and the marker of its place."""

    SCREEN = "compare"
    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(SCREEN)]
    HEADING = "compare"
    NOTES = (
        "A run has the same colour and marker everywhere.",
        "Results that were measured under other conditions stand in another table:",
        "they cannot be compared. The same, for a paper: vdtui compare RUN... --format tex",
    )

    def __init__(self, runs: Sequence[RunDirectory]) -> None:
        super().__init__()
        self.snapshots: dict[int, RunSnapshot] = {}
        self.page = PAGES[0]
        self._runs = list(runs)
        self._watchers = [RunWatcher(run) for run in runs]
        self._presets = [preset_values(run) for run in runs]
        self._sources: dict[int, Source] = {}
        self._curves: dict[int, tuple[tuple[Accuracy, ...], Loss]] = {}
        self._stage: str | None = None
        self._logarithmic = False

    def compose(self) -> ComposeResult:
        """Lay out the legend, curves, differences, results and keys."""
        yield Lines(id="class")
        yield Lines(flows=True, id="legend-lines")
        with Container(id="compared"):
            yield Overlay("accuracy on validation", True, classes="panel", id="accuracy")
            yield Overlay("loss", False, classes="panel", id="loss")
            for page, title in (("differences", "what differs in the presets"), ("results", "results")):
                with VerticalScroll(classes="panel", id=page) as panel:
                    panel.border_title = Text(title)
                    yield Static(id=f"{page}-text", markup=False)
        yield WorkLine()
        yield KeyLine(self.SCREEN, self.useful)

    def on_mount(self) -> None:
        """Begin to follow the runs."""
        self.run_worker(self._follow())

    async def _follow(self) -> None:
        while True:
            if self.is_current:
                changed = False
                for place, watcher in enumerate(self._watchers):
                    snapshot = await asyncio.to_thread(watcher.poll)
                    if snapshot is not None:
                        self.snapshots[place] = snapshot
                        run, preset = self._runs[place], self._presets[place]
                        self._sources[place] = await asyncio.to_thread(_source, run, snapshot, preset)
                        changed = True
                if changed:
                    self._show()
            await asyncio.sleep(max([0.2, *(watcher.pause for watcher in self._watchers)]))

    def on_screen_resume(self) -> None:
        """Show what happened while another screen was on top."""
        self._show()

    def on_resize(self, event: events.Resize) -> None:
        """All at once where there is room, else one after the other."""
        self.set_class(event.size.width < WIDE or event.size.height < TALL, "compact")
        self.call_after_refresh(self._show)

    def recolour(self) -> None:
        """Everything in the colours of the theme."""
        self._show()
        for overlay in self.query(Overlay):
            overlay.draw()

    def _show(self) -> None:
        if not self.shown:
            return
        for page in PAGES:
            self.query_one(f"#{page}").set_class(page != self.page, "away")
        self._show_legend()
        lines = [Line(place, curve) for place in self.snapshots if len((curve := self._accuracy(place)).steps)]
        self.query_one("#accuracy", Overlay).show(lines)
        stage = self.stage
        losses = [
            Line(place, snapshot.losses[stage])
            for place, snapshot in self.snapshots.items()
            if stage in snapshot.losses
        ]
        self.query_one("#loss", Overlay).show(losses, self._logarithmic, f"loss · {words.plain(stage, 20)}")
        self.query_one("#differences-text", Static).update(self._differences())
        self.query_one("#results-text", Static).update(self._table())

    @property
    def stage(self) -> str:
        """The stage whose losses are shown: the chosen one, else the last that any run has."""
        known = self._stages()
        return self._stage if self._stage in known and self._stage else next(reversed(known), "")

    def _stages(self) -> list[str]:
        return list(dict.fromkeys(stage for snapshot in self.snapshots.values() for stage in snapshot.losses))

    def _accuracy(self, place: int) -> Loss:
        """The accuracies of a run as a curve; the same object as long as they are the same."""
        points = accuracy_points(self.snapshots[place]) if chosen_by(self.snapshots[place]) else ()
        known = self._curves.get(place)
        if known is None or known[0] != points:
            steps, means = [one.step for one in points], [one.mean for one in points]
            self._curves[place] = points, Loss(np.array(steps, np.float64), np.array(means, np.float64))
        return self._curves[place][1]

    def _style(self, place: int) -> str:
        return self.app.theme_variables[COLOURS[place]]

    def _sign(self, place: int, width: int = 24) -> Text:
        name = words.short(words.plain(self._runs[place].name), width)
        return Text(f"{MARKERS[place]} {name}", self._style(place))

    def _show_legend(self) -> None:
        colours = self.app.theme_variables
        title = Text(f" compare {len(self._runs)} runs", f"bold {colours['primary']}")
        if self.has_class("compact"):
            title.append(f"   {self.page}, {PAGES.index(self.page) + 1} of {len(PAGES)}: v", colours["text-muted"])
        self.query_one("#class", Lines).put(title)
        most = max(12, min(30, self.size.width - STANDING_CELLS))
        width = max(len(words.short(words.plain(run.name), most)) for run in self._runs)
        lines = []
        for place in range(len(self._runs)):
            name = self._sign(place, most)
            name.pad_right(width + 2 - name.cell_len)
            line = Text(no_wrap=True, overflow="ellipsis").append_text(name).append(f"  {self._standing(place)}")
            told, room = self._warned(place), max(30, self.size.width - 2)
            if told and line.cell_len + 2 + len(told) <= room:
                line.append(f"  {told}", colours["warning"])
                told = ""
            lines.append(line)
            lines += [Text(f"    {part}", colours["warning"]) for part in textwrap.wrap(told, room - 4)]
        self.query_one("#legend-lines", Lines).put(Text("\n").join(lines))

    def _standing(self, place: int) -> str:
        """State, best accuracy and stage of a run in one line; what is wrong with it, if anything is."""
        snapshot = self.snapshots.get(place)
        if snapshot is None:
            return "reading ..."
        state = f"{words.GLYPHS[snapshot.state]} {snapshot.state}"
        if snapshot.trouble:
            return f"{state}: {words.plain(snapshot.trouble[0], 100)}"
        best = words.percent(snapshot.best[1] if snapshot.best else None)
        reading = f", {100 * snapshot.reading:.0f} % of its log read" if snapshot.reading is not None else ""
        title = words.plain(snapshot.title, 24) if self.size.width >= WIDE else ""
        return f"{state:<12}  best {best:>7}  {words.size(snapshot.stored_bytes):>8}  {title}{reading}".rstrip()

    def _warned(self, place: int) -> str:
        """The warnings about the results of a run."""
        snapshot = self.snapshots.get(place)
        if snapshot is None:
            return ""
        found = [caution for result in snapshot.results for caution in cautions(result, snapshot.results)]
        return shorts([CHOSEN_ON_TEST, *found] if chosen_on(snapshot) == "test" else found)

    def _differences(self) -> Text:
        colours = self.app.theme_variables
        rows = differences(self._presets)
        if not rows:
            return Text("Nothing: the presets are the same.", colours["text-muted"])
        names = [self._sign(place, 18) for place in range(len(self._runs))]
        body = [
            [Text(key, colours["text-muted"]), *(Text(words.short(value, 24)) for value in values)]
            for key, values in rows
        ]
        return aligned([[Text(""), *names], *body])

    def _table(self) -> Text:
        colours = self.app.theme_variables
        groups = compare([self._sources[place] for place in sorted(self._sources)])
        if not groups:
            return Text("They come with the last stage.", colours["text-muted"])
        firsts = [dict(group.rows[0].result) for group in groups]
        parts = []
        for conditions, group in zip(all_measured(firsts), groups, strict=True):
            parts += [self._wrapped(conditions, "bold"), self._group(group)]
            parts += [self._wrapped(f"! {line}", colours["warning"]) for line in _warnings(group)]
        parts.append(self._wrapped(NOISE, colours["text-muted"]))
        return Text("\n").join(parts)

    def _wrapped(self, text: str, style: str) -> Text:
        """``text`` in as many lines as it needs: a warning that is cut off is none."""
        return Text("\n".join(textwrap.wrap(text, self._room)), style, no_wrap=True)

    @property
    def _room(self) -> int:
        """The cells of a line in the results, also before they are laid out."""
        return max(20, self.query_one("#results").scrollable_content_region.width or self.size.width - 6)

    def _group(self, group: Group) -> Text:
        table = self._columns(RESULT_HEADS, [self._row(row) for row in group.rows], right=(2, 5, 6))
        if not group.methods:
            return table
        methods = self._columns(METHOD_HEADS, [self._method(method) for method in group.methods], right=(2, 3))
        return Text("\n").join([table, methods])

    def _columns(self, heads: Sequence[str], rows: Sequence[Sequence[Text]], right: tuple[int, ...]) -> Text:
        """``rows`` as a table; where that is too wide, the rest of each row stands below its first three cells."""
        muted = self.app.theme_variables["text-muted"]
        table = aligned([[Text(head, muted) for head in heads], *rows], right)
        if max(len(line) for line in table.plain.splitlines()) <= self._room:
            return table
        first = aligned([[Text(head, muted) for head in heads[:3]], *(row[:3] for row in rows)], right)
        head, *lines = first.split("\n")
        told = [head]
        for line, row in zip(lines, rows, strict=True):
            told.append(line)
            for name, cell in zip(heads[3:], row[3:], strict=True):
                if cell.plain.strip() not in ("", "—", "–"):
                    told.append(Text.assemble((f"    {name} ", muted), cell))
        return Text("\n").join(told)

    def _method(self, method: Method) -> list[Text]:
        """A row over the runs that differ in their seed alone."""
        return [
            Text(words.plain(method.name, 20)),
            Text(words.plain(method.what, 20)),
            Text(f"{over_seeds(method.top1)} %"),
            Text(f"{len(method.seeds)} seeds"),
            Text("best", self.app.theme_variables["success"]) if method.best else self._verdict(method.over_best),
            self._verdict(method.over_baseline),
        ]

    def _row(self, row: Row) -> list[Text]:
        count, step = row.result.get("bytes"), row.result.get("step")
        place = next(place for place, source in self._sources.items() if source.label == row.run)
        colours = self.app.theme_variables
        sign = " !" if cautions(row.result) else ""
        return [
            self._sign(place, 20),
            Text(words.plain(trained_on(row.result), 20)),
            Text.assemble(top1_text(dict(row.result)), (sign, colours["warning"])),
            Text("best", colours["success"]) if row.best else self._verdict(row.over_best),
            self._verdict(row.over_baseline),
            Text(words.size(count) if isinstance(count, (int, float)) else "—"),
            Text(f"{step}" if isinstance(step, int) else "—"),
        ]

    def _verdict(self, found: Difference | None) -> Text:
        """A difference with its interval and what follows of it, as `vdtui compare` has it."""
        colours = {"better": "success", "worse": "error"}
        colour = colours.get(found.verdict, "text-muted") if found is not None else "text-muted"
        return Text(points(found), self.app.theme_variables[colour])

    # --- keys --------------------------------------------------------------------------------------------------------

    def scrolled(self) -> VerticalScroll:
        """The differences, or the results where those are on top."""
        return self.query_one("#results" if self.page == "results" else "#differences", VerticalScroll)

    def action_turn(self, by: int) -> None:
        """Another view, where they stand one behind the other."""
        self.page = PAGES[(PAGES.index(self.page) + by) % len(PAGES)]
        if self.page in ("differences", "results"):
            self.query_one(f"#{self.page}").focus()
        self._show()

    def action_scale(self) -> None:
        """Logarithmic or linear losses."""
        self._logarithmic = not self._logarithmic
        self._show()

    def _plot(self) -> Overlay:
        """The plot on which the keys act: that of the accuracy if it is alone in sight, else that of the loss."""
        alone = self.has_class("compact") and self.page == "accuracy"
        return self.query_one("#accuracy" if alone else "#loss", Overlay)

    def action_smooth(self) -> None:
        """The next smoothing of the losses."""
        plot = self.query_one("#loss", Overlay)
        plot.smooth(SMOOTHINGS[(SMOOTHINGS.index(plot.smoothing) + 1) % len(SMOOTHINGS)])

    def action_zoom(self, closer: bool) -> None:
        """Fewer or more steps."""
        self._plot().zoom(closer)

    def action_cursor(self, by: int) -> None:
        """Move the cross-hair."""
        self._plot().move_cursor(by)

    def action_select(self) -> None:
        """Set one end of a selection, or zoom to it."""
        if said := self._plot().select():
            self.say(said)

    def action_back(self) -> None:
        """The cross-hair goes, else back."""
        plots = [plot for plot in self.query(Overlay) if plot.cursor is not None and not plot.is_mouse_over]
        for plot in plots:
            plot.look_at(None)
        if not plots:
            self.app.pop_screen()

    def action_report(self) -> None:
        """Write the comparison as a page of HTML beside the runs."""
        self.run_command(*comparison_report(self._runs))

    def action_stage(self) -> None:
        """The losses of the next stage."""
        known = self._stages()
        if known:
            self._stage = known[(known.index(self.stage) + 1) % len(known)]
            self._show()


def _source(run: RunDirectory, snapshot: RunSnapshot, preset: Mapping[str, Any]) -> Source:
    """The results of ``run``, to be compared: those in its log, and those that `vdtui evaluate` has added."""
    try:
        found = results_of(run, RunState(results=list(snapshot.results)))
    except (LookupError, TypeError, ValueError, AttributeError):  # a damaged log can hold anything
        found = list(snapshot.results)
    return Source(run.name, tuple(filter(is_result, found)), run, None, origin_of(preset))


def _warnings(group: Group) -> list[str]:
    """The warnings about the rows of ``group``, each with the row that it is about; one about all rows stands once."""
    told: dict[str, list[str]] = {}
    for row in group.rows:
        for caution in cautions(row.result, [one.result for one in group.rows]):
            told.setdefault(caution.text, []).append(
                f"{words.plain(row.run, 24)}, {words.plain(row.result['what'], 24)}"
            )
    everyone = len(group.rows)
    return [text if len(rows) == everyone > 1 else f"{'; '.join(rows)}: {text}" for text, rows in told.items()]


def measured(result: Mapping[str, Any]) -> str:
    """The conditions of a result in words: only results with the same ones can be compared."""
    version = result.get("protocol_version")
    parts = [
        f"protocol {result.get('protocol', '?')}" + (f" {version}" if version is not None else ""),
        str(result.get("model", "?")),
        f"data {str(result.get('data_fingerprint', '?'))[:8]}",
    ]
    deviations = result.get("deviations")
    parts += [str(each) for each in deviations] if isinstance(deviations, list) else []
    return words.plain(" · ".join(parts), 200)


def all_measured(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """``measured`` of each, and before it what of its recipe is not the same in all of them: why they stand apart."""
    recipes = [flat(recipe) if isinstance(recipe := result.get("recipe"), dict) else {} for result in results]
    keys = dict.fromkeys(key for recipe in recipes for key in recipe)
    differing = [key for key in keys if len({recipe.get(key) for recipe in recipes}) > 1]
    lines = []
    for result, recipe in zip(results, recipes, strict=True):
        told = [f"{words.plain(key.replace('_', ' '), 20)} {recipe[key]}" for key in differing if key in recipe]
        lines.append(words.plain(" · ".join([*told, measured(result)]), 300))
    return lines


def flat(table: Mapping[str, Any]) -> dict[str, str]:
    """A preset's values by dotted key, as text."""
    texts = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in dotted(table)}
    return {key: words.plain(text, 200) or '""' for key, text in texts.items()}


def differences(presets: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """The keys in which the presets differ and what each has; a dash where it has none. Titles say nothing."""
    flats = [flat(preset) for preset in presets]
    keys = dict.fromkeys(key for one in flats for key in one if key not in UNSAID)
    rows = [(key, [one.get(key, "—") for one in flats]) for key in keys]
    return [(words.plain(key, 60), values) for key, values in rows if len(set(values)) > 1]


def aligned(rows: Sequence[Sequence[Text]], right: tuple[int, ...] = ()) -> Text:
    """``rows`` as a table without lines, its columns as wide as their widest cell."""
    widths = [max(row[column].cell_len for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        line = Text(no_wrap=True)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
            gap = " " * (width - cell.cell_len)
            line.append_text(Text.assemble(gap, cell) if column in right else Text.assemble(cell, gap)).append("  ")
        line.rstrip()
        lines.append(line)
    return Text("\n").join(lines)
