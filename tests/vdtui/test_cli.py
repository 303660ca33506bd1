"""The commands as a user types them: in processes of their own, by exit code, stdout and stderr."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.runs import RunDirectory
from tests.tiny_run import make_clips, quick_options
from vdtui.cli.main import app, main

ROOT = Path(__file__).parents[2]
VDTUI = [sys.executable, "-c", "import sys; sys.argv[0] = 'vdtui'; from vdtui.cli.main import main; main()"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clips.h5 and one finished run named `done`."""
    folder = tmp_path_factory.mktemp("home")
    make_clips(folder)
    command = ["distill", "--data", "clips.h5", *quick_options(), "--run", "done", "--plain"]
    result = vdtui(folder, *command)
    assert result.returncode == 0, result.stderr
    return folder


def vdtui(folder: Path, *words: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*VDTUI, *words], cwd=folder, env=environment(), capture_output=True, text=True, timeout=timeout
    )


def typed(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The same in this process, which has imported everything already: for commands that are refused."""
    stdout, stderr, code = io.StringIO(), io.StringIO(), 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        patch.setattr(sys, "argv", ["vdtui", *words])
        patch.delenv("VDTUI_RUNS", raising=False)
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    return subprocess.CompletedProcess(words, code, stdout.getvalue(), stderr.getvalue())


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "VDTUI_RUNS"}
    return {**kept, "PYTHONPATH": str(ROOT)}


def refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Two plain lines on stderr, exit code 2, nothing on stdout."""
    assert result.returncode == 2, (result.returncode, result.stderr)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 2 and lines[0].startswith("error: ") and lines[1].startswith("hint: "), result.stderr
    assert not result.stdout
    for word in words:
        assert word in result.stderr, (word, result.stderr)


def wait_until(condition, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def state(folder: Path, name: str) -> str:
    return RunDirectory(folder / "runs" / name).state()


def reached(folder: Path, name: str, text: str) -> bool:
    log = folder / "runs" / name / "events.jsonl"
    return log.exists() and text in log.read_text()


def test_help_and_runs_do_not_import_torch(home):
    """`vdtui --help` that takes seconds is a bad first impression; what decides is what is imported."""
    for words in (["--help"], ["runs"], ["presets"], ["show", "done"], ["distill", "--help"]):
        code = (
            "import sys, vdtui.cli.main as m; sys.argv = ['vdtui', *sys.argv[1:]]\n"
            "try: m.main()\n"
            "except SystemExit as end: assert not end.code, end.code\n"
            "assert not {'torch', 'textual', 'matplotlib'} & set(sys.modules), 'heavy'"
        )
        result = subprocess.run(
            [sys.executable, "-c", code, *words], cwd=home, env=environment(), capture_output=True, text=True
        )
        assert result.returncode == 0, (words, result.stderr)


def test_help_has_an_example_and_breaks_lines_where_the_terminal_ends():
    """Paragraphs that keep the breaks of the source come out as long and short lines in turn."""
    registered = [*app.registered_commands, *app.registered_groups[0].typer_instance.registered_commands]
    assert len(registered) > 20
    for command in registered:
        assert "\n\nExample: vdtui " in command.help, command.callback
        assert "\n" not in command.help.replace("\n\n", ""), command.callback


def test_version():
    assert subprocess.run([*VDTUI, "--version"], cwd=ROOT, capture_output=True, text=True).stdout == "vdtui 0.2.0\n"


def test_the_end_of_a_run_is_shown_everywhere(home):
    """The numbers that a user came for, in every place where they look for them."""
    shown = json.loads(vdtui(home, "show", "done", "--json").stdout)
    assert {"name", "state", "preset", "stage", "step", "total", "path", "results"} <= shown.keys()
    assert (shown["name"], shown["state"], shown["stage"]) == ("done", "completed", "evaluate")
    assert [result["what"] for result in shown["results"]] == ["static-dynamic", "random", "static-only"]
    for result in shown["results"]:
        assert len(result["top1"]["values"]) == len(result["top1"]["seeds"]) == 2
        assert result["protocol"] == "strict" and result["bytes"] > 0
    listed = json.loads(vdtui(home, "runs", "--json").stdout)
    assert "done" in [run["name"] for run in listed]
    text = vdtui(home, "show", "done").stdout
    assert "static-dynamic" in text and "+-" in text and "\x1b" not in text
    assert (home / "runs" / "done" / "report.html").is_file()


def test_plain_output_has_progress_on_stderr_and_results_on_stdout(home):
    """A log file must hold lines, not escape codes; a pipe must hold results, not progress."""
    command = ["distill", "--data", "clips.h5", *quick_options(), "--run", "plain", "--set", "static.steps=1"]
    result = vdtui(home, *command)
    assert result.returncode == 0
    assert "left in this stage" in result.stderr and "loss" in result.stderr
    assert "static-dynamic" in result.stdout and "loss" not in result.stdout
    assert "\x1b" not in result.stderr + result.stdout


def test_interrupt_saves_and_resume_gives_the_same_set(home):
    """Ctrl+C is not an accident: exit code 130, and the resumed run ends where an uninterrupted one does."""
    command = [*VDTUI, "distill", "--data", "clips.h5", *quick_options(), "--run", "interrupted", "--plain"]
    process = subprocess.Popen(command, cwd=home, env=environment(), stderr=subprocess.PIPE, text=True)
    wait_until(lambda: reached(home, "interrupted", '"stage":"dynamic"'))
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert state(home, "interrupted") == "stopped"
    resumed = vdtui(home, "resume", "interrupted", "--plain")
    assert resumed.returncode == 0, resumed.stderr
    one, other = (home / "runs" / name / "synthetic" / "best.safetensors" for name in ("interrupted", "done"))
    assert one.read_bytes() == other.read_bytes()


def test_detached_run_pauses_resumes_and_stops(home):
    """A run is steered from any terminal, and the one that started it may be gone."""
    longer = ["--set", "dynamic.steps=2000", "--set", "dynamic.eval_every=2000"]
    started = vdtui(home, "distill", "--data", "clips.h5", *quick_options(), *longer, "--run", "long", "--detach")
    assert started.returncode == 0 and started.stdout == "long\n"
    wait_until(lambda: reached(home, "long", '"event":"step","time"') and state(home, "long") == "running")
    assert vdtui(home, "pause", "long").returncode == 0
    wait_until(lambda: state(home, "long") == "paused")
    size = (home / "runs" / "long" / "events.jsonl").stat().st_size
    time.sleep(1)
    assert (home / "runs" / "long" / "events.jsonl").stat().st_size == size
    refused(vdtui(home, "remove", "long"), "Stop it first")
    assert vdtui(home, "resume", "long", "--detach").returncode == 0
    wait_until(lambda: state(home, "long") == "running")
    refused(vdtui(home, "resume", "long"), "running already")
    assert vdtui(home, "stop", "long").returncode == 0
    assert state(home, "long") == "stopped"
    refused(vdtui(home, "stop", "long"), "nothing to stop")
    assert vdtui(home, "remove", "long", "--yes").returncode == 0
    assert not (home / "runs" / "long").exists()


def test_the_doctor_says_what_works_in_words_and_as_json(home):
    """It is what a bug report begins with, and what a script asks before a night of runs."""
    told = json.loads(typed(home, "doctor", "--json").stdout)
    assert {one["state"] for one in told} <= {"ok", "limited"} and {"device", "terminal"} <= {
        one["part"] for one in told
    }
    shown = typed(home, "doctor")
    assert shown.returncode == 0 and "H.264" in shown.stdout and "What vdtui needs is here." in shown.stderr
    assert typed(home, "doctor", "--runs-dir", "clips.h5/runs").returncode == 1


def test_mistakes_get_two_plain_lines_before_any_work(home):
    """Each of these is somebody's first try; none may start a run, and none may show a traceback."""
    before = sorted(path.name for path in (home / "runs").iterdir())
    data = ("--data", "clips.h5")
    refused(vdtui(home, "distill"), "needs data", "vdtui prepare")
    refused(typed(home, "distill", "--preset", "dmeo"), "Did you mean demo")
    refused(typed(home, "distill", *data, "--set", "dynamic.step=3"), "dynamic.step", "Did you mean dynamic.steps")
    refused(typed(home, "distill", *data, "--set", "dynamic.steps=many"), "dynamic.steps", "many")
    refused(typed(home, "distill", *data, "--set", "dynamic.lr_dynamic="), "no value")
    refused(typed(home, "distill", *data, "--set", "dynamic.lr_dynamic=nan"), "lr_dynamic")
    refused(typed(home, "distill", "--data", "absent.h5"), "absent.h5")
    refused(typed(home, "distill", *data, "--set", "dataset.frames=16"), "frames")
    refused(typed(home, "distill", *data, "--run", "../up"), "name")
    refused(typed(home, "distill", *data, "--run", "done"), "exists already")
    refused(typed(home, "distill", "--preset", "demo", *data, "--device", "tpu"), "run.device")
    refused(typed(home, "plan", "--data", "absent.h5"), "absent.h5")
    refused(typed(home, "plan", *data, "--set", "dataset.frames=16"), "frames")
    refused(typed(home, "show", "dnoe"), "Did you mean done")
    refused(typed(home, "resume", "done"), "completed")
    refused(typed(home, "pause", "done"), "nothing to pause")
    refused(typed(home, "distill", "--dta", "clips.h5"), "--dta", "vdtui distill --help")
    refused(typed(home, "export", "done", "--format", "avi", "--output", "x.avi"), "avi")
    refused(typed(home, "shwo"), "shwo")
    refused(typed(home, "show"), "RUN")
    refused(typed(home, "monitor"), "needs a terminal")
    refused(typed(home), "needs a terminal")
    (home / "half.h5").write_bytes((home / "clips.h5").read_bytes()[:20000])
    refused(typed(home, "distill", "--data", "half.h5"), "half.h5")
    (home / "mine.toml").write_text('extends = "demo"\n[dynamic]\nsteps = "ten"\n')
    refused(typed(home, "presets", "--check", "mine.toml"), "mine.toml", "dynamic.steps")
    assert sorted(path.name for path in (home / "runs").iterdir()) == before


def test_presets_shown_can_be_run_again(home):
    """What `presets NAME` prints is a preset file: the way to a preset of one's own."""
    (home / "copy.toml").write_text(vdtui(home, "presets", "demo").stdout)
    assert vdtui(home, "presets", "--check", "copy.toml").returncode == 0
    copied = json.loads(vdtui(home, "presets", "./copy.toml", "--json").stdout)
    assert copied == json.loads(vdtui(home, "presets", "demo", "--json").stdout)


def test_a_folder_named_engine_in_the_way_is_not_imported(home):
    """The worker starts from where the user stands; their own `engine/` must not be taken for ours."""
    folder = home / "elsewhere"
    (folder / "engine").mkdir(parents=True)
    (folder / "engine" / "__init__.py").write_text("raise SystemExit('wrong engine')")
    command = ["distill", "--data", "../clips.h5", *quick_options(), "--set", "static.steps=1", "--set"]
    program = "import sys; sys.path = [p for p in sys.path if p]; from vdtui.cli.main import main; main()"
    result = subprocess.run(
        [sys.executable, "-P", "-c", program, *command, "dynamic.steps=1", "--plain"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr


def test_windows_is_told_the_way(tmp_path: Path) -> None:
    """Else it would be a trace of a module that Windows does not have."""
    code = "import sys; sys.modules['fcntl'] = None; sys.platform = 'win32'\nfrom vdtui.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.splitlines()[0] == "error: vdtui does not run on Windows itself."
    assert "WSL 2" in done.stderr.splitlines()[1]
