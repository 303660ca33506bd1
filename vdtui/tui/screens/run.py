"""The screen of one run: stages, curves, figures, results and log, and the keys that pause and stop it.

It shows one snapshot at a time and keeps nothing else of the run. Curves are drawn at most once a second, texts
when they changed; while another screen is on top nothing is drawn at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Footer

from engine.errors import VdtuiError
from engine.runs import ENDED, RunDirectory
from engine.runs.state import Accuracy
from vdtui.tui import words
from vdtui.tui.screens.dialogs import ConfirmStop, HelpScreen
from vdtui.tui.screens.live import LiveScreen
from vdtui.tui.watch import RunSnapshot, RunWatcher
from vdtui.tui.widgets.curves import AccuracyCurve, LossCurve, Reference
from vdtui.tui.widgets.panels import Banner, Figures, Header, Log, Results, top1
from vdtui.tui.widgets.stepper import Stepper

REDRAW_SECONDS = 1.0
WIDE, TALL = 100, 30
ORDER = (LossCurve, Figures, AccuracyCurve, Results, Log)
COMPACT_ORDER = (LossCurve, AccuracyCurve, Log, Results, Figures)
"""The panels from left to right and from top to bottom; with little room, log and results share a place."""
REFERENCES = {"full": "warning", "random": "secondary"}
"""Results that stand as lines in the accuracy plot, with their colours."""
KEYS = (
    ("space", "pause the run, and let it go on"),
    ("s", "stop the run (asks first); its state is saved"),
    ("g", "gallery: the synthetic clips of a class"),
    ("d", "data: what is in the clips file, and real clips"),
    ("l", "loss on a logarithmic or a linear scale"),
    ("tab", "the loss of the next stage; 1 static, 2 dynamic"),
    ("v", "results or log, where both do not fit"),
    ("up down", "scroll the log"),
    ("escape", "back to all runs"),
    ("q", "leave the dashboard; the run goes on"),
)
NOTES = (
    "The bright line is the mean of the loss, the dark one its whole range.",
    "Validation chooses the best step; results are on videos not seen before.",
)


class RunScreen(LiveScreen):
    """Shows ``run`` as it is on the disk; ``clock`` gives Unix seconds."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "pause", "Pause/go on"),
        Binding("s", "stop", "Stop"),
        Binding("g", "gallery", "Gallery"),
        Binding("d", "data", "Data"),
        Binding("l", "scale", show=False),
        Binding("tab", "stage", "Loss of", show=False),
        Binding("1", "stage('static')", show=False),
        Binding("2", "stage('dynamic')", show=False),
        Binding("v", "view", "View", show=False),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("escape", "app.pop_screen", "Runs", key_display="esc"),
        Binding("q", "app.leave", "Leave"),
    ]
    AUTO_FOCUS = "Log"

    def __init__(self, run: RunDirectory, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self.run = run
        self.snapshot: RunSnapshot | None = None
        self._clock = clock
        self._watcher = RunWatcher(run)
        self._chosen_stage: str | None = None
        self._logarithmic = False
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
            yield Log(classes="panel")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to follow the run."""
        self.query_one(Banner).display = False
        self.run_worker(self._follow())

    async def _follow(self) -> None:
        ticked = time.monotonic()
        while True:
            snapshot = await asyncio.to_thread(self._watcher.poll)
            if snapshot is not None:
                self.snapshot = snapshot
                self._pass_on(snapshot)
                self._show()
            elif time.monotonic() - ticked >= REDRAW_SECONDS:
                ticked = time.monotonic()
                self._tick()
            await asyncio.sleep(self._watcher.pause)

    def _pass_on(self, snapshot: RunSnapshot) -> None:
        from vdtui.tui.screens.gallery import GalleryScreen

        for screen in self.app.screen_stack:
            if isinstance(screen, GalleryScreen):
                screen.follow(snapshot.previews)

    def _tick(self) -> None:
        if self.snapshot is None or not self.shown:
            return
        if self._undrawn:
            self._draw_curves(self.snapshot)
        self.query_one(Figures).show(self.snapshot, self._clock())

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """Show what happened while another screen was on top."""
        self._show()

    def on_resize(self, event: events.Resize) -> None:
        """Choose the layout for this size."""
        compact = event.size.width < WIDE or event.size.height < TALL
        self.set_class(compact, "compact")
        order = COMPACT_ORDER if compact else ORDER
        self.query_one("#panels").sort_children(key=lambda panel: order.index(type(panel)))
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        run = self.snapshot
        if run is None or not self.shown:
            return
        with self.app.batch_update():
            self.query_one(Header).show(run)
            self.query_one(Stepper).show(run)
            self.query_one(Banner).show(run)
            self.query_one(Figures).show(run, self._clock())
            self.query_one(Log).show(run.log)
            self.query_one(Results).show(run)
            self.set_class(self._log_is_first(run), "log-first")
            if time.monotonic() - self._drawn >= REDRAW_SECONDS:
                self._draw_curves(run)
            else:
                self._undrawn = True

    def _log_is_first(self, run: RunSnapshot) -> bool:
        """Where results and log do not both fit: results when there are any, unless the user chose."""
        return not run.results if self._log_first is None else self._log_first

    def _draw_curves(self, run: RunSnapshot) -> None:
        stage = self._loss_stage(run)
        self.query_one(LossCurve).show(stage, run.losses.get(stage), self._logarithmic)
        total = next((stage.total for stage in run.stages if stage.name == "dynamic"), 0)
        self.query_one(AccuracyCurve).show(accuracy_points(run), references(run), total)
        self._drawn, self._undrawn = time.monotonic(), False

    def _loss_stage(self, run: RunSnapshot) -> str:
        """The chosen stage, else the present one if it has a loss, else the last that has one."""
        if self._chosen_stage is not None:
            return self._chosen_stage
        return run.stage if run.stage in run.losses else next(reversed(run.losses), "")

    def action_pause(self) -> None:
        """Pause a run that runs; let one go on that is, or is about to be, paused."""
        if self._refused("paused"):
            return
        want = "pause" if self._watcher.run.control().want == "run" else "run"
        said = "Pausing: it waits after the present step." if want == "pause" else "It goes on."
        self._request(want, said)

    def action_stop(self) -> None:
        """Ask, then stop the run."""
        if self._refused("stopped"):
            return
        self.app.push_screen(ConfirmStop(self.run.name), self._stop)

    def _stop(self, confirmed: bool | None) -> None:
        if confirmed and not self._refused("stopped"):
            self._request("stop", f"Stopping: it saves its state. Later: vdtui resume {self.run.name}")

    def _refused(self, what: str) -> bool:
        run = self.snapshot
        if run is None:
            return True
        if run.state in ENDED:
            again = "" if run.state == "completed" else f" It goes on with: vdtui resume {run.name}"
            self.say(f"It cannot be {what}: the run is {run.state}.{again}", warn=True)
        elif run.state == "removed":
            self.say(f"It cannot be {what}: the run's folder is gone.", warn=True)
        elif run.shown_state == "stopping":
            self.say("It is stopping already.", warn=True)
        return run.state in (*ENDED, "removed") or run.shown_state == "stopping"

    def _request(self, want: str, said: str) -> None:
        try:
            self.run.request(want)
        except (VdtuiError, OSError) as error:
            hint = f" {error.hint}" if isinstance(error, VdtuiError) else ""
            self.say(f"{error}{hint}", warn=True)
            return
        self.say(said)

    def say(self, text: str, warn: bool = False) -> None:
        """A short message in the corner; its text is never markup."""
        self.app.notify(words.plain(text), severity="warning" if warn else "information", timeout=4, markup=False)

    def action_data(self) -> None:
        """The clips file that this run learns from."""
        from vdtui.tui.clips import clips_file
        from vdtui.tui.screens.data import DataScreen

        self.app.push_screen(DataScreen(clips_file(self.run)))

    def action_scale(self) -> None:
        """Logarithmic or linear loss."""
        self._logarithmic = not self._logarithmic
        if self.snapshot is not None:
            self._draw_curves(self.snapshot)

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
        from vdtui.tui.screens.gallery import GalleryScreen

        previews = self.snapshot.previews if self.snapshot else ()
        self.app.push_screen(GalleryScreen(self.run.previews, previews))

    def action_help(self) -> None:
        """The keys."""
        self.app.push_screen(HelpScreen("run", KEYS, NOTES))


def accuracy_points(run: RunSnapshot) -> tuple[Accuracy, ...]:
    """The accuracy curve: of the synthetic set on the validation split, or on the split that there is."""
    own = [one for one in run.accuracies if one.what == "synthetic"] or list(run.accuracies)
    points = [one for one in own if one.split == "val"] or own
    return tuple(sorted((one for one in points if one.what == points[-1].what), key=lambda one: one.step))


def references(run: RunSnapshot) -> tuple[Reference, ...]:
    """What random clips and all data reach, if the results tell."""
    found = [(result.get("what"), top1(result, "mean")) for result in run.results]
    known = [(what, mean) for what, mean in found if isinstance(what, str) and what in REFERENCES and mean is not None]
    return tuple(Reference(what, mean, REFERENCES[what]) for what, mean in known)
