"""Following a run in plain lines: the same event log as the dashboard, printed. For pipes, logs and `--plain`."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from engine.errors import RunError
from engine.events import STAGES
from engine.runs import ENDED, EventTail, RunDirectory, RunState, Status
from engine.runs.status import HEARTBEAT_SECONDS
from vdtui.cli.options import human_time, note, percent, printable
from vdtui.cli.outputs import unheard
from vdtui.cli.progress import ProgressLine
from vdtui.cli.results import print_results, where_to_find
from vdtui.launch import last_words

POLL_SECONDS = 0.25


def follow(run: RunDirectory, since: int = 0) -> int:
    """Print what happens in ``run`` until it ends; returns the exit code.

    Ctrl+C or SIGTERM asks the run to stop and waits for it; a second one leaves it to stop by itself. Events before
    byte ``since`` of the log (an earlier worker's) are folded but not printed.
    """
    interrupts = _Interrupts(run)
    if _print_until_ended(run, since, leave=lambda: interrupts.count > 1):
        return _close(run)
    note(f"Left: the run {run.name} stops by itself.")
    return 130


def watch(run: RunDirectory) -> int:
    """Print what happens in ``run`` until it ends, as ``follow`` does, but without touching it.

    Ctrl+C only leaves, and so does whoever reads the lines.
    """
    try:
        if _print_until_ended(run, 0, leave=unheard):
            return _close(run)
    except KeyboardInterrupt:
        pass
    note(f"The run {run.name} goes on.")
    return 0


def _print_until_ended(run: RunDirectory, since: int, leave: Callable[[], bool]) -> bool:
    """Return True when the run has ended, False if ``leave`` said so before."""
    state, tail, printer = RunState(), EventTail(run.events_file), _Printer(run)
    if since:
        for record in tail.read(limit=since):
            state.add(record)
    while True:
        ended = run.state() in ENDED  # before reading, so that no last event is missed
        for record in tail.read():
            before = len(state.log)
            state.add(record)
            printer.tell(record, state, before)
        if ended or leave():
            printer.close()
            return ended
        time.sleep(POLL_SECONDS)


class _Interrupts:
    """Turns Ctrl+C and SIGTERM of this process into a request to the run."""

    def __init__(self, run: RunDirectory) -> None:
        self.count = 0
        self._run = run
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count == 1:
            self._run.request("stop")
            note("Stopping after the present step; the state is saved. (Again: leave at once.)")


class _Printer:
    """Decides which events deserve a line: all that happen rarely; progress has a line of its own."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._progress = ProgressLine()
        self._told, self._status = float("-inf"), Status()

    def tell(self, record: dict[str, Any], state: RunState, before: int) -> None:
        """Print ``record``, which was just folded into ``state``."""
        if record.get("event") in ("step", "progress"):
            self._progress.tell(_progress(state, self._whole()), state.stage)
        elif record.get("event") not in ("checkpoint_saved", "preview_saved", "run_failed"):
            for line in state.log[before:]:
                self._progress.line(f"{time.strftime('%H:%M:%S', time.localtime(line.time))}  {printable(line.text)}")

    def _whole(self) -> Status:
        """Return the status that the worker wrote last, which has the time left of the whole run."""
        now = time.monotonic()
        if now - self._told > HEARTBEAT_SECONDS:
            self._told = now
            with contextlib.suppress(RunError):
                self._status = self._run.status()
        return self._status

    def close(self) -> None:
        """End the line of progress."""
        self._progress.close()


def _progress(state: RunState, whole: Status) -> str:
    stage = state.stages[state.stage]
    number = [name for name in STAGES if name in state.stages].index(stage.name) + 1 if stage.name in STAGES else 0
    counted = f" {stage.step}/{stage.total}" if stage.total > 1 else ""
    words = [f"          [{number}/{len(state.stages)}] {stage.name}{counted}"]
    if stage.name in state.losses and not stage.what and state.losses[stage.name].values:
        words.append(f"loss {state.losses[stage.name].values[-1]:.4g}")
    if stage.what:
        words.append(printable(stage.what))
    if stage.rate:
        words.append(f"{stage.rate:.2f}/s" if stage.rate >= 1 else f"{1 / stage.rate:.1f} s each")
    forecast = whole.stage_left if whole.stage == stage.name else None
    if (left := stage.eta if forecast is None else forecast) is not None:
        words.append(f"{human_time(left)} left in this stage")
    if whole.left:
        words.append(f"{'at least ' if whole.at_least else ''}{human_time(whole.left)} left in all")
    return ", ".join(words)


def _close(run: RunDirectory) -> int:
    """The last words, and the exit code."""
    ended, state = run.state(), run.folded()
    if ended == "completed":
        print_results(state.results)
        if state.best:
            note(f"Chosen: step {state.best[0]}, {percent(state.best[1])} on validation{_of_the_start(state)}.")
        note(where_to_find(run))
        return 0
    if ended == "stopped":
        note(f"Stopped, state saved. Go on with: vdtui resume {run.name}")
        return 130
    problem, hint = state.problem or _crash(run)
    note(f"error: {printable(problem)}\nhint: {printable(hint)}")
    return 1


def _of_the_start(state: RunState) -> str:
    """Return the accuracy of step 0 where a later step was chosen: what was there before learning added to it."""
    start = next((one for one in state.accuracy_curve() if one.step == 0), None)
    if start is None or not state.best or state.best[0] == 0 or state.best[1] is None:
        return ""
    return f"; its start, step 0, {percent(start.mean)}"


def _crash(run: RunDirectory) -> tuple[str, str]:
    """Problem and hint of a run whose worker is gone; what it wrote last is told before them."""
    hint = f"See {run.engine_log}, then go on with: vdtui resume {run.name}"
    last = last_words(run)
    if not last:
        return f"The run {run.name} crashed: its worker is gone without a word.", hint
    note(f"{run.engine_log} ends with:")
    for line in last:
        note(f"  {printable(line)}")
    return f"The run {run.name} crashed: its worker is gone.", hint
