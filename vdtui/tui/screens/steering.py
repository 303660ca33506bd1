"""The keys that act on one run, the same on the table of runs and on the screen of a run.

They write requests into the run's folder, or run a command in a process of its own; each says what it did, or why not.
"""

from __future__ import annotations

import asyncio
import dataclasses
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.errors import VdtuiError
from engine.runs import ALIVE, ENDED, RunDirectory
from engine.runs.status import Want
from vdtui.tui.messages import OpenData, OpenForm, OpenPrepare, OpenPresets
from vdtui.tui.screens.base import DashboardScreen
from vdtui.tui.screens.dialogs import ConfirmStop, ExportDialog, ExportWish

RESUMABLE = ("stopped", "failed", "crashed", "paused")
"""The states from which a run goes on when somebody asks for it."""


def comparison_report(runs: Sequence[RunDirectory]) -> tuple[str, ...]:
    """The words for a user, and the arguments of `vdtui`, that write the comparison of ``runs`` beside the first."""
    stem = "-".join(run.name for run in runs)
    path = runs[0].path.resolve().parent / f"compare-{stem[:80]}.html"
    options = ["--format=html", "--overwrite", f"--output={path}"]
    return f"comparing {len(runs)} runs", "report", *options, "--", *(str(run.path.resolve()) for run in runs)


@dataclasses.dataclass(frozen=True)
class ChosenRun:
    """The run on which keys act, and its state as it is shown."""

    run: RunDirectory
    state: str

    @property
    def name(self) -> str:
        """The run's name."""
        return self.run.name


class SteeringScreen(DashboardScreen):
    """A screen that knows a run to act on."""

    def chosen(self) -> ChosenRun | None:
        """The run on which keys act; None while there is none."""
        raise NotImplementedError

    def useful(self, action: str) -> bool:
        """Tell whether ``action`` can do something with the chosen run in its present state."""
        chosen = self.chosen()
        state = chosen.state if chosen is not None else ""
        if action == "resume":
            return state in RESUMABLE
        if action in ("pause", "stop"):
            return state in ALIVE and state != "paused"
        if action in ("export", "report"):
            return state in ENDED
        return action != "clone" or chosen is not None

    # --- the end of runs ---------------------------------------------------------------------------------------------

    def action_bell(self) -> None:
        """Ring at the end of runs, or do not."""
        self.app.rings = not self.app.rings  # type: ignore[attr-defined]
        rings = self.app.rings  # type: ignore[attr-defined]
        self.say("The bell rings when a run ends." if rings else "No bell.")

    def tell_end(self, name: str, before: str, now: str) -> None:
        """Ring, if somebody wants that, when a run has ended; the message says how."""
        if before in ALIVE and now in ENDED and self.app.rings:  # type: ignore[attr-defined]
            self.app.bell()
            self.say(f"{name}: {now}.", warn=now in ("failed", "crashed"))

    # --- requests ----------------------------------------------------------------------------------------------------

    def action_pause(self) -> None:
        """Pause the run; let one go on that is, or is about to be, paused."""
        chosen = self.chosen()
        if chosen is None or self._refused(chosen, "paused"):
            return
        want: Want = "pause" if chosen.run.control().want == "run" else "run"
        said = "pauses: it waits after the present step." if want == "pause" else "goes on."
        self._request(chosen, lambda: chosen.run.request(want), said)

    def action_stop(self) -> None:
        """Ask, then stop the run."""
        chosen = self.chosen()
        if chosen is None or self._refused(chosen, "stopped"):
            return

        def stop(confirmed: bool | None) -> None:
            if confirmed:
                self._request(chosen, lambda: chosen.run.request("stop"), "stops and saves its state. r resumes it.")

        self.app.push_screen(ConfirmStop(chosen.name), stop)

    def action_resume(self) -> None:
        """Let a run go on that was paused, stopped, or lost its worker."""
        chosen = self.chosen()
        if chosen is not None:
            self.run_worker(self._resume(chosen), group="resume", exclusive=True)

    async def _resume(self, chosen: ChosenRun) -> None:
        from vdtui import launch

        try:
            await asyncio.to_thread(launch.resume, chosen.run)
        except (VdtuiError, OSError) as error:
            self.say_error(error)
            return
        self.say(f"{chosen.name} goes on.")

    def _refused(self, chosen: ChosenRun, what: str) -> bool:
        """Say why a run cannot be ``what``, if it cannot."""
        if chosen.state == "removed":
            self.say(f"{chosen.name} cannot be {what}: its folder is gone.", warn=True)
        elif chosen.state == "stopping":
            self.say(f"{chosen.name} is stopping already.", warn=True)
        elif chosen.state in ENDED or chosen.state == "damaged":
            again = " r resumes it." if chosen.state in RESUMABLE else ""
            self.say(f"{chosen.name} cannot be {what}: it is {chosen.state}.{again}", warn=True)
        else:
            return False
        return True

    def _request(self, chosen: ChosenRun, request: Callable[[], object], said: str) -> None:
        try:
            request()
        except (VdtuiError, OSError) as error:
            self.say_error(error)
            return
        self.say(f"{chosen.name} {said}")

    # --- new runs ----------------------------------------------------------------------------------------------------

    def action_new(self) -> None:
        """Choose a preset for a new run."""
        self.post_message(OpenPresets())

    def action_videos(self) -> None:
        """Make a clips file of a folder of videos."""
        self.post_message(OpenPrepare())

    def action_clone(self) -> None:
        """Begin a new run with the values of this one."""
        chosen = self.chosen()
        if chosen is not None:
            self.run_worker(self._clone(chosen.run), group="clone", exclusive=True)

    async def _clone(self, run: RunDirectory) -> None:
        from vdtui.tui.form import Form  # pydantic comes with it: the dashboard starts without

        try:
            form = await asyncio.to_thread(Form, str(run.preset_file.resolve()), run.name)
        except VdtuiError as error:
            self.say_error(error)
            return
        self.post_message(OpenForm(form))

    # --- what comes out of a run -------------------------------------------------------------------------------------

    def action_data(self) -> None:
        """Show the clips file of the run."""
        chosen = self.chosen()
        if chosen is not None:
            self.post_message(OpenData(chosen.run))

    def action_export(self) -> None:
        """Ask how and where to, then export the synthetic set of the run."""
        chosen = self.chosen()
        if chosen is None:
            return
        if not chosen.run.best.is_file() and not chosen.run.last.is_file():
            self.say(f"{chosen.name} has no synthetic set yet: the first evaluation writes it.", warn=True)
            return

        def export(wish: ExportWish | None) -> None:
            if wish is not None:
                self._export(chosen, wish)

        self.app.push_screen(ExportDialog(chosen.name), export)

    def _export(self, chosen: ChosenRun, wish: ExportWish) -> None:
        precision = [f"--precision={wish.precision}"] if wish.precision is not None else []
        overwrite = ["--overwrite"] if wish.overwrite else []
        output = str(Path(wish.output).expanduser().absolute())
        options = [f"--format={wish.format}", *precision, *overwrite, f"--output={output}"]
        source = str(chosen.run.path.resolve())
        self.run_command(f"exporting {chosen.name} as {wish.format}", "export", *options, "--", source)

    def action_report(self) -> None:
        """Write the report of the run into its folder."""
        chosen = self.chosen()
        if chosen is not None:
            path, source = chosen.run.report.resolve(), str(chosen.run.path.resolve())
            options = ["--format=html", "--overwrite", f"--output={path}"]
            self.run_command(f"writing the report of {chosen.name}", "report", *options, "--", source)

    # --- paths and commands ------------------------------------------------------------------------------------------

    def action_show_files(self) -> None:
        """Open the report, or the folder where there is none, in a program of this machine."""
        from vdtui.tui.commands import open_elsewhere

        chosen = self.chosen()
        if chosen is None:
            return
        path = chosen.run.report if chosen.run.report.is_file() else chosen.run.path
        path = path.resolve()
        opened = open_elsewhere(path)
        self.say(f"Opening {path}" if opened else f"No program here can show it; y copies the path: {path}", not opened)

    def action_copy_path(self) -> None:
        """Put the path of the run's folder on the clipboard, where the terminal lets us."""
        chosen = self.chosen()
        if chosen is not None:
            self.copy(str(chosen.run.path.resolve()))

    def action_copy_command(self) -> None:
        """Put the command that started the run on the clipboard, or one that starts the same again."""
        chosen = self.chosen()
        if chosen is None:
            return
        command = chosen.run.meta().get("command")
        if not isinstance(command, list) or not command:
            command = ["vdtui", "distill", "--preset", str(chosen.run.preset_file.resolve())]
        self.copy(shlex.join(map(str, command)))
