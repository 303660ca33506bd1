"""The dashboard as a process in a real terminal, through tmux: keys go in as a user's do, and the screen is read back.

The pilot of the other tests has no terminal: that raw mode ends, that the shell's screen comes back, that Ctrl+Z works
and that a size that changes is noticed can only go wrong in one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.events import Step
from engine.runs.status import process_start

ROOT = Path(__file__).resolve().parents[3]
VDTUI = f"{sys.executable} -m vdtui"
SECONDS = 20.0
SHELL = "0 1 0 0"
"""What a terminal's modes are while the shell has it, as ``Terminal.modes`` tells them."""
needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


class Terminal:
    """A shell in a tmux server of its own, with a prompt that nothing else prints."""

    PROMPT = "ready>"

    def __init__(self, place: Path, folder: Path, **variables: str) -> None:
        self._socket = str(place / "tmux.socket")
        environment = {"VDTUI_RUNS": str(folder.resolve()), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        environment |= {"TZ": "UTC", "COLORTERM": "truecolor"} | variables
        known = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        self._variables = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"} | known | environment
        begin = place / "bashrc"
        begin.write_text(f"PS1='{self.PROMPT} '\n")
        shell = f"exec bash --noprofile --rcfile {begin} -i"
        self._tmux("-f", os.devnull, "new-session", "-d", "-x", "80", "-y", "24", shell)
        self._tmux("set", "-g", "escape-time", "0")

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-u", "-S", self._socket, *words]
        done = subprocess.run(command, env=self._variables, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def screen(self, *options: str) -> str:
        """What stands in the terminal."""
        return self._tmux("capture-pane", "-p", *options)

    def until(self, condition: Callable[[str], object], what: str) -> str:
        """Wait until the screen is as it should be, and return it; fails saying ``what`` did not come."""
        end = time.monotonic() + SECONDS
        while not condition(screen := self.screen()):
            assert time.monotonic() < end, f"did not come: {what}\n{screen}"
            time.sleep(0.03)
        return screen

    def seen(self, *words: str) -> str:
        """Wait until all ``words`` are on the screen."""
        return self.until(lambda screen: all(word in screen for word in words), " and ".join(words))

    def gone(self, word: str) -> str:
        """Wait until ``word`` is on the screen no more."""
        return self.until(lambda screen: word not in screen, f"the end of {word}")

    def press(self, *keys: str) -> None:
        """Keys by their names in tmux."""
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        """Text as it is."""
        self._tmux("send-keys", "-l", text)

    def command(self, text: str) -> None:
        """A line for the shell."""
        self.type(text)
        self.press("Enter")

    def resize(self, columns: int, lines: int) -> None:
        """Another size of the window."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def left(self) -> None:
        """Wait for the prompt, and see that the terminal is as a shell needs it."""
        self.until(lambda screen: screen.rstrip().endswith(self.PROMPT), "the prompt")
        assert self.modes == SHELL

    @property
    def modes(self) -> str:
        """Whether the alternate screen is on, the cursor is shown, and mouse or keypad modes are left on."""
        return self._tmux(
            "display-message", "-p", "#{alternate_on} #{cursor_flag} #{mouse_any_flag} #{keypad_cursor_flag}"
        ).strip()

    def close(self) -> None:
        """End the shell and all that it started."""
        self._tmux("kill-server")


@pytest.fixture
def terminal(tmp_path: Path, folder: Path) -> Iterator[Callable[..., Terminal]]:
    """Opens terminals whose shell has the runs folder of the test."""
    opened: list[Terminal] = []

    def open_one(**variables: str) -> Terminal:
        place = tmp_path / f"terminal-{len(opened)}"
        place.mkdir()
        opened.append(Terminal(place, folder, **variables))
        opened[-1].seen(Terminal.PROMPT)
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def worker() -> Iterator[tuple[int, str]]:
    """Number and start of a process that lives as long as the test, for runs that are to count as running."""
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    yield process.pid, process_start(process.pid)
    process.kill()
    process.wait()


def step(stage: str, number: int, total: int) -> Step:
    """The next step of a run."""
    return Step(stage, number, total, 1.0, 2.5, {})


def content(folder: Path) -> dict[str, str]:
    """Every file below ``folder`` with a hash of its bytes."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@needs_tmux
def test_a_visit_from_the_list_to_the_prompt(folder: Path, fake: Any, terminal: Callable[..., Terminal]) -> None:
    """A dashboard that hurts the run it shows, or leaves a ruined shell behind, is worse than none."""
    fake("first").half_way()
    fake("second").complete().previews(0, 60)
    before = content(folder)
    it = terminal()
    it.command(VDTUI)
    it.seen("first", "second", "45.0 %", "2 runs")
    it.type("/")
    it.seen("words in name")
    it.type("secon")
    it.until(lambda screen: "first" not in screen and "1 of 2 runs" in screen, "the filtered list")
    it.press("Enter")
    it.press("Enter")
    it.seen("linear scale", "seed 3")
    it.type("L")
    it.seen("log scale")
    it.type("?")
    it.seen("open the gallery: the")
    it.press("Escape")
    it.gone("open the gallery: the")
    it.resize(120, 40)
    it.until(lambda screen: "log scale" in screen and len(screen.rstrip().splitlines()) == 40, "the larger layout")
    it.resize(80, 24)
    it.until(lambda screen: "log scale" in screen and "Leave" in screen.splitlines()[23], "the smaller layout again")
    it.type("q")
    it.left()
    it.command("echo code $?.")
    assert "[?" not in it.seen("code 0.")
    assert content(folder) == before


@needs_tmux
def test_suspended_and_brought_back(folder: Path, fake: Any, terminal: Callable[..., Terminal]) -> None:
    """After Ctrl+Z the shell would be unusable, and after fg the dashboard."""
    fake("only").half_way()
    it = terminal()
    it.command(VDTUI)
    it.seen("only", "1 run")
    it.press("C-z")
    it.until(lambda screen: "Stopped" in screen and screen.rstrip().endswith(it.PROMPT), "the prompt")
    assert it.modes == SHELL
    it.command("echo still $((40 + 2))")
    it.seen("still 42")
    it.command("fg")
    it.seen("only", "1 run", "q Leave")
    it.type("?")
    it.seen("open the run: curves")
    it.press("Escape")
    it.gone("open the run: curves")
    it.type("q")
    it.left()
    assert "still 42" in it.screen()


@needs_tmux
def test_where_nobody_could_bring_it_back_it_is_not_suspended(
    folder: Path, fake: Any, terminal: Callable[..., Terminal]
) -> None:
    """Behind `ssh -t host vdtui` there is no shell with jobs: the terminal would be stuck for good."""
    fake("only").half_way()
    it = terminal()
    it.command(f'sh -c "{VDTUI}; echo it ended"')
    it.seen("only", "1 run")
    it.press("C-z")
    it.seen("No shell here could bring it back", "only")
    it.type("q")
    it.seen("it ended")
    it.left()


@needs_tmux
def test_two_dashboards_on_one_run(
    folder: Path, fake: Any, terminal: Callable[..., Terminal], worker: tuple[int, str]
) -> None:
    """A second look, from another computer say, would disturb the first, or the run."""
    run = fake("shared").half_way()
    dataclasses.replace(run.run.status(), pid=worker[0], pid_started=worker[1]).save(run.run.status_file)
    before = content(folder)
    both = terminal(), terminal()
    for it in both:
        it.command(f"{VDTUI} monitor shared")
        it.seen("step 60 of 100", "shared")
    run.say(step("dynamic", 61, 100))
    for it in both:
        it.seen("step 61 of 100")
    assert {name for name, bytes_ in content(folder).items() if before[name] != bytes_} == {str(run.run.events_file)}
    both[0].type("q")
    both[0].left()
    assert "The run shared goes on." in both[0].screen()
    run.say(step("dynamic", 62, 100))
    both[1].seen("step 62 of 100")
    both[1].type("p")
    both[1].seen("pausing")
    assert run.run.control().want == "pause"


@needs_tmux
def test_a_terminal_without_colours(folder: Path, fake: Any, terminal: Callable[..., Terminal]) -> None:
    """Who has asked for no colours, or cannot see them, would get them all the same."""
    fake("plain").half_way()
    it = terminal(NO_COLOR="1")
    it.command(VDTUI)
    it.seen("plain", "1 run")
    it.press("Enter")
    it.seen("linear scale")
    colours = re.findall(r"\x1b\[([0-9;:]*)m", it.screen("-e"))
    shades = {code for found in colours for code in re.findall(r"[34]8[;:]2[;:](\d+[;:]\d+[;:]\d+)", found)}
    assert all(len(set(re.split("[;:]", shade))) == 1 for shade in shades), shades  # greys at most
    assert not any(code in found.split(";") for found in colours for code in [str(30 + hue) for hue in range(1, 7)])
    it.type("q")
    it.left()


@pytest.mark.parametrize("arguments", [["runs"], ["show", "done"], ["monitor", "done"]])
def test_without_a_terminal_there_is_plain_text(folder: Path, fake: Any, arguments: list[str]) -> None:
    """A log file or a pipe would be full of escape codes."""
    fake("done").complete()
    variables = os.environ | {"PYTHONPATH": str(ROOT), "VDTUI_RUNS": str(folder.resolve()), "TERM": "xterm-256color"}
    done = subprocess.run([*VDTUI.split(), *arguments], env=variables, capture_output=True, timeout=SECONDS)
    assert done.returncode == 0 and done.stdout and b"\x1b" not in done.stdout + done.stderr


def test_the_dashboard_itself_needs_a_terminal_and_says_so(folder: Path) -> None:
    """It would hang, or paint into a file."""
    variables = os.environ | {"PYTHONPATH": str(ROOT), "VDTUI_RUNS": str(folder.resolve())}
    done = subprocess.run(VDTUI.split(), env=variables, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)
    assert done.returncode == 2 and not done.stdout and b"\x1b" not in done.stderr
    assert b"needs a terminal" in done.stderr and b"vdtui runs" in done.stderr


@pytest.mark.parametrize(
    ("variables", "arguments", "code"),
    [
        ({"TERM": "dumb"}, ["runs"], 0),
        ({"TERM": "dumb"}, ["monitor", "done"], 0),
        ({"TERM": "dumb"}, [], 2),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, ["show", "done"], 0),
    ],
)
def test_a_terminal_that_can_only_write(
    folder: Path, fake: Any, variables: dict[str, str], arguments: list[str], code: int
) -> None:
    """In an editor's shell there would be nothing but rubbish."""
    fake("done").complete()
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    environment |= {"PYTHONPATH": str(ROOT), "VDTUI_RUNS": str(folder.resolve())} | variables
    here, there = os.openpty()
    process = subprocess.Popen([*VDTUI.split(), *arguments], env=environment, stdin=there, stdout=there, stderr=there)
    os.close(there)
    shown = b""
    with contextlib.suppress(OSError):  # that is how its end is said
        while block := os.read(here, 1 << 16):
            shown += block
    os.close(here)
    assert process.wait(SECONDS) == code and shown
    codes = re.findall(rb"\x1b\[([0-9;]*)m", shown)
    assert shown.count(b"\x1b") == (len(codes) if "NO_COLOR" in variables else 0)
    assert {one for some in codes for one in some.split(b";")} <= {b"0", b"1", b"2", b"3", b"4", b""}  # no colours
