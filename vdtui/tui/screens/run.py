"""The screen of one run: stages, curves, figures, results and log, and the keys that pause and stop it.

It shows one snapshot at a time and keeps nothing else of the run. Curves are drawn at most once a second, texts
when they changed; while another screen is on top nothing is drawn at all.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.widget import Widget

from engine.runs import RunDirectory
from engine.runs.state import Accuracy
from engine.runs.status import Action
from vdtui.tui import keys, words
from vdtui.tui.screens.steering import ChosenRun, SteeringScreen
from vdtui.tui.watch import RunSnapshot, RunWatcher
from vdtui.tui.widgets.classes import Classes
from vdtui.tui.widgets.curves import AccuracyCurve, LossCurve, Reference
from vdtui.tui.widgets.keyline import KeyLine
from vdtui.tui.widgets.panels import Banner, Figures, Header, Log, Results, top1
from vdtui.tui.widgets.search import SearchLine
from vdtui.tui.widgets.series import Group, figure_groups
from vdtui.tui.widgets.stepper import Stepper
from vdtui.tui.widgets.workline import WorkLine

if TYPE_CHECKING:
    from vdtui.tui.clips import RealClips
    from vdtui.tui.screens.gallery import GalleryScreen

REDRAW_SECONDS = 1.0
WIDE, TALL, VERY_WIDE = 112, 38, 170
"""The least size for three rows of panels; below it two rows are larger than three would be."""
ROOMY_ROWS = 30
ORDER = (LossCurve, Figures, AccuracyCurve, Results, Classes, Log)
COMPACT_ORDER = (LossCurve, AccuracyCurve, Log, Results, Classes, Figures)
"""The panels from left to right and from top to bottom; with little room, log and results share a place."""
REFERENCES = {"full": ("full data", "warning"), "random": ("random coreset", "secondary")}
"""Results that stand as lines in the accuracy plot: what they are called there, and their colours."""


class RunScreen(SteeringScreen):
    """Shows ``run`` as it is on the disk; ``clock`` gives Unix seconds."""

    SCREEN = "run"
    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(SCREEN)]
    HEADING = "run"
    NOTES = (
        "The bright line is the mean of the loss, the dark one its range, or the raw loss.",
        "Validation chooses the best step; results are on videos not seen before.",
        "Published numbers are the paper's; nobody has checked them.",
    )
    AUTO_FOCUS = "Log"

    def __init__(self, run: RunDirectory, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self.run = run
        self.snapshot: RunSnapshot | None = None
        self._clock = clock
        self._watcher = RunWatcher(run)
        self._chosen_stage: str | None = None
        self._logarithmic = False
        self._figures = 0
        self._real: RealClips | None = None
        self._gallery: GalleryScreen | None = None
        self._show_classes = False
        self._drawn = float("-inf")
        self._undrawn = False
        self._log_first: bool | None = None

    def compose(self) -> ComposeResult:
        """Header, stages, curves beside figures, results and log, keys."""
        yield Header()
        yield Stepper()
        yield Banner(flows=True)
        with Container(id="panels"):
            yield LossCurve(classes="panel")
            yield Figures(classes="panel")
            yield AccuracyCurve(classes="panel")
            yield Results(classes="panel")
            yield Classes(classes="panel")
            yield Log(classes="panel")
        yield SearchLine()
        yield WorkLine()
        yield KeyLine(self.SCREEN, self.useful)

    def on_mount(self) -> None:
        """Begin to follow the run."""
        self.query_one(Banner).display = False
        self.run_worker(self._follow())

    async def _follow(self) -> None:
        ticked = time.monotonic()
        while True:
            snapshot = await asyncio.to_thread(self._watcher.poll)
            if snapshot is not None:
                before, self.snapshot = self.snapshot, snapshot
                if before is not None:
                    self.tell_end(snapshot.name, before.state, snapshot.state)
                self._pass_on(snapshot)
                self._show()
            elif time.monotonic() - ticked >= REDRAW_SECONDS:
                ticked = time.monotonic()
                self._tick()
            await asyncio.sleep(self._watcher.pause)

    def _pass_on(self, snapshot: RunSnapshot) -> None:
        if self._gallery is not None and self._gallery.is_running:
            self._gallery.follow(snapshot.previews)

    def _tick(self) -> None:
        if self.snapshot is None or not self.shown:
            return
        if self._undrawn:
            self._draw_curves(self.snapshot)
        self.query_one(Figures).show(self.snapshot, self._clock())
        self.query_one(Stepper).show(self.snapshot, self._clock())

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """Show what happened while another screen was on top."""
        self._show()

    def on_resize(self, event: events.Resize) -> None:
        """Choose the layout for this size."""
        compact = event.size.width < WIDE or event.size.height < TALL
        self.set_class(compact, "compact")
        self.set_class(compact and event.size.height >= ROOMY_ROWS, "roomy")
        self.set_class(not compact and event.size.width >= VERY_WIDE, "wide")
        order = COMPACT_ORDER if compact else ORDER
        self.query_one("#panels").sort_children(key=lambda panel: order.index(type(panel)))
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        run = self.snapshot
        if run is None or not self.shown:
            return
        with self.app.batch_update():
            self.query_one(Header).show(run)
            self.query_one(Stepper).show(run, self._clock())
            self.query_one(Banner).show(run)
            self.query_one(Figures).show(run, self._clock())
            self.query_one(Log).show(run.log)
            self.query_one(Results).show(run)
            self.query_one(Classes).show(run)
            self.query_one(KeyLine).show()
            self.set_class(self._show_classes, "classes")
            self.set_class(self._log_is_first(run), "log-first")
            if time.monotonic() - self._drawn >= REDRAW_SECONDS:
                self._draw_curves(run)
            else:
                self._undrawn = True

    def _log_is_first(self, run: RunSnapshot) -> bool:
        """Tell whether the log hides the results where both do not fit: while there are none, unless the user chose."""
        return not run.results if self._log_first is None else self._log_first

    def _draw_curves(self, run: RunSnapshot) -> None:
        stage = self._loss_stage(run)
        group = self._group(run, stage)
        best = run.best[0] if run.best is not None else None
        chosen = best if stage == "dynamic" and chosen_by(run) else None
        self.query_one(LossCurve).show(stage, group.lines, self._logarithmic, group.title, chosen)
        total = next((stage.total for stage in run.stages if stage.name == "dynamic"), 0)
        star = best if chosen_by(run) else None
        self.query_one(AccuracyCurve).show(accuracy_points(run), references(run), total, asked_for(run), star)
        self._drawn, self._undrawn = time.monotonic(), False

    def _group(self, run: RunSnapshot, stage: str) -> Group:
        """The curve that ``f`` has chosen; the loss where there is no such figure."""
        groups = figure_groups(run.figure_curves.get(stage, {}))
        if 0 < self._figures <= len(groups):
            return groups[self._figures - 1]
        return Group("loss", {"loss": run.losses[stage]} if stage in run.losses else {})

    def _loss_stage(self, run: RunSnapshot) -> str:
        """The chosen stage, else the present one if it has a loss, else the last that has one."""
        if self._chosen_stage is not None:
            return self._chosen_stage
        return run.stage if run.stage in run.losses else next(reversed(run.losses), "")

    def chosen(self) -> ChosenRun | None:
        """The run of this screen, once something is known of it; one that is asked to stop counts as stopping."""
        if self.snapshot is None:
            return None
        stopping = self.snapshot.shown_state == "stopping"
        return ChosenRun(self.run, "stopping" if stopping else self.snapshot.state)

    def scrolled(self) -> Widget:
        """The panel in which one is (tab goes on to the next), or the log: the keys that scroll move in it."""
        focused = self.focused
        return focused if isinstance(focused, (Figures, Results)) else self.query_one(Log)

    def action_once(self, what: Action) -> None:
        """Ask for an evaluation or a checkpoint now; the run goes on as if nobody had asked."""
        run, chosen = self.snapshot, self.chosen()
        done = {"evaluate": "evaluated", "checkpoint": "saved"}[what]
        if run is None or chosen is None or self._refused(chosen, done):
            return
        why = unready(run, what)
        if why:
            self.say(why, warn=True)
            return
        said = {"evaluate": "evaluates the set after the present step.", "checkpoint": "saves a checkpoint."}
        waits = " It is paused: that waits until it goes on." if what == "evaluate" and run.state == "paused" else ""
        self._request(chosen, lambda: self.run.request_once(what), said[what] + waits)

    def action_scale(self) -> None:
        """Logarithmic or linear loss."""
        self._logarithmic = not self._logarithmic
        if self.snapshot is not None:
            self._draw_curves(self.snapshot)

    def action_smooth(self) -> None:
        """The next smoothing of the curve."""
        weight = self.query_one(LossCurve).smooth()
        self.say(f"Smoothed: exponential mean with weight {weight:g}." if weight else "Not smoothed.")

    def action_zoom(self, closer: bool) -> None:
        """Fewer or more steps in the curve."""
        self.query_one(LossCurve).zoom(closer)

    def action_move(self, later: bool) -> None:
        """Later or earlier steps in the curve."""
        self.query_one(LossCurve).move(later)

    def action_cursor(self, by: int) -> None:
        """Move the cross-hair of the curves by a step that can be told apart."""
        self.query_one(LossCurve).move_cursor(by)
        self.query_one(AccuracyCurve).look_at(self.query_one(LossCurve).cursor)

    def action_select(self) -> None:
        """Set one end of a selection in the curve, or zoom to it."""
        if said := self.query_one(LossCurve).select():
            self.say(said)

    def action_figures(self) -> None:
        """The next figures of this stage in the place of the loss, then the loss again."""
        run = self.snapshot
        if run is None:
            return
        groups = figure_groups(run.figure_curves.get(self._loss_stage(run), {}))
        if not groups:
            self.say("No step has told any figures yet.")
        self._figures = self._figures + 1 if self._figures < len(groups) else 0
        self._draw_curves(run)

    def action_classes(self) -> None:
        """The accuracy of each class in the place of the results, or the results again."""
        if self.snapshot is None:
            return
        hidden = self.has_class("compact") and self._log_is_first(self.snapshot)
        self._show_classes, self._log_first = hidden or not self._show_classes, False
        self._show()

    def action_search(self) -> None:
        """Search the log."""
        self._log_first = True
        self._show()
        self.query_one(SearchLine).open()

    def on_search_line_sought(self, event: SearchLine.Sought) -> None:
        """Show the lines that were found."""
        log = self.query_one(Log)
        log.search(event.text)
        if event.done:
            log.focus()

    def action_back(self) -> None:
        """All of the log again if it was searched, else the cross-hair goes, else back to the runs."""
        if self.query_one(SearchLine).close():
            return
        curves = [self.query_one(LossCurve), self.query_one(AccuracyCurve)]
        if any(curve.cursor is not None and not curve.is_mouse_over for curve in curves):
            for curve in curves:
                curve.look_at(None)
            return
        self.app.pop_screen()

    def action_stage(self, name: str | None = None) -> None:
        """The loss of stage ``name``, or of the next one that has a loss."""
        run = self.snapshot
        if run is None or not run.losses:
            self.say("No stage has a loss yet.")
            return
        if name is not None and name not in run.losses:
            self.say(f"The stage {name} has no loss.")
            return
        names = list(run.losses)
        present = self._loss_stage(run)
        after = names[(names.index(present) + 1) % len(names)] if present in names else names[0]
        chosen = name or after
        # Choosing the present stage is following the run again: the next stage will show itself.
        self._chosen_stage = None if chosen == run.stage else chosen
        self._draw_curves(run)

    def action_view(self) -> None:
        """Results instead of the log or the other way round."""
        if self.snapshot is not None:
            self._log_first = not self._log_is_first(self.snapshot)
            self._show()

    def action_gallery(self) -> None:
        """Open the gallery."""
        from vdtui.tui.clips import RealClips, frame_interval
        from vdtui.tui.screens.gallery import GalleryScreen

        self._real = self._real or RealClips(self.run)
        previews = self.snapshot.previews if self.snapshot else ()
        interval = frame_interval(self.run)
        self._gallery = GalleryScreen(self.run.previews, previews, real=self._real, interval=interval)
        self.app.push_screen(self._gallery)


def accuracy_points(run: RunSnapshot) -> tuple[Accuracy, ...]:
    """The accuracy curve: of the synthetic set on the split that chooses the iteration.

    Where none does, the set's own row of the final table, which is the first, is the only point.
    """
    every = [one for one in run.accuracies if one.what != "now"]
    own = chosen_by(run) or every[:1]
    points = [one for one in own if one.split == "val"] or own
    return tuple(sorted(points, key=lambda one: one.step))


def chosen_by(run: RunSnapshot) -> list[Accuracy]:
    """The evaluations among which the iteration was chosen; none without a split for that."""
    return [one for one in run.accuracies if one.what == "synthetic"]


def asked_for(run: RunSnapshot) -> tuple[Accuracy, ...]:
    """The evaluations that somebody asked for in between."""
    return tuple(one for one in run.accuracies if one.what == "now")


def unready(run: RunSnapshot, what: str) -> str:
    """Say why ``what`` cannot be asked of a living run at this moment, or nothing."""
    if run.state == "queued":
        return "Its worker has not begun yet."
    if what == "evaluate" and run.stage != "dynamic":
        return f"Only the dynamic stage can be evaluated in between; it is in {words.plain(run.stage, 20) or 'none'}."
    if what == "checkpoint" and run.stage not in ("static", "dynamic"):
        return f"The stage {words.plain(run.stage, 20)} keeps what it has done by itself."
    return ""


def references(run: RunSnapshot) -> tuple[Reference, ...]:
    """The accuracies of random clips and all data, if the results tell, and of the paper, if the preset does."""
    found = [(result.get("what"), top1(result, "mean")) for result in run.results]
    known = {what: mean for what, mean in found if isinstance(what, str) and what in REFERENCES and mean is not None}
    lines = [Reference(REFERENCES[what][0], what, mean, REFERENCES[what][1]) for what, mean in known.items()]
    published = published_top1(run.published)
    if published is not None:
        lines.append(Reference("published, unchecked", "paper?", published, "accent"))
    return tuple(lines)


def published_top1(text: str) -> float | None:
    """The top-1 in a preset's ``published``, such as ``25.7 % top-1 (Wang et al. 2024)``, as a fraction."""
    found = re.search(r"(\d+(?:\.\d+)?)\s*%\s*top-1", text)
    return float(found[1]) / 100 if found and float(found[1]) <= 100 else None
