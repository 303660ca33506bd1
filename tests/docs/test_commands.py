"""The commands of README and docs, typed in order at reduced size: a reader copies them, and trusts them.

The commands of a page run after one another, in a folder with a few tiny videos. The engine's work is that of one tiny
run, whose files each new run gets; all else is as for a user. A block that cannot be run has a comment with its one
reason before it (`test: parsed only: REASON`). Its syntax, options and file names are looked at nevertheless.
"""

from __future__ import annotations

import contextlib
import csv
import io
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import pytest
import typer

from engine import load_preset, run_distillation
from engine.distilling import process
from engine.runs import RunDirectory
from tests.tiny import ROOT
from tests.tiny_run import QUICK, make_clips
from vdtui import launch
from vdtui.cli.main import app, main

SMALL = (
    *(change for change in QUICK if not change.startswith("storage.")),  # readers get what the preset stores
    *("static.steps=0", "dynamic.steps=1", "run.precision=float32", 'evaluation.models=["convnet3d_small"]'),
    *("evaluation.epochs=1", "evaluation.repeats=1"),
)
CHANGES = [word for change in (*SMALL, "dataset.frames=8", "dataset.size=64") for word in ("--set", change)]
REDUCED = {
    "distill": CHANGES,
    "plan": CHANGES,
    "select": CHANGES,
    "evaluate": ["--epochs", "1", "--repeats", "1"],
    "prepare": ["--frames", "8", "--size", "64", "--overwrite"],
}
"""Options that make a command small; of an option that is there twice, the last one counts."""
MARK = r"(?:^<!-- test: parsed only: (?P<why>[^\n]*) -->\n)?"
BLOCK = re.compile(MARK + r"^```(?P<language>bash|python)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
OTHERS = (
    " cd do docker done else export fi for git if lint-imports mkdir mkdocs mypy pip pipx python python3 ruff source "
    " tensorboard then torchrun unrar unzip uv .ci/run #!/bin/bash "
)
"""The commands of pages beside our own."""
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EXPERIMENTS = sorted((ROOT / "docs" / "experiments").glob("*.md"))


class Block(NamedTuple):
    page: str
    text: str
    why: str | None
    """The reason for which it is not run."""


def blocks(path: Path, language: str) -> list[Block]:
    found = BLOCK.finditer(path.read_text(encoding="utf-8"))
    return [Block(path.name, one["text"], one["why"]) for one in found if one["language"] == language]


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a script, without comments and assignments; a variable is 1."""
    script = ""
    for line in text.replace("\\\n", " ").splitlines():
        script += line + "\n"
        try:
            found = shlex.split(re.sub(r"\$\([^)]*\)|\$\w+", "1", script), comments=True)
        except ValueError:  # a quotation that goes on
            continue
        script = ""
        for words in split(found):
            while words and (re.match(r"\w+=", words[0]) or words[0] in ("srun", "then", "do")):
                words = words[1:]
            if words:
                yield [words[0].removeprefix(".venv/bin/"), *words[1:]]


def split(words: list[str]) -> Iterator[list[str]]:
    """Commands between `&&` and `;`; what is written to a file ends before `>`."""
    own: list[str] = []
    for word in [*words, ";"]:
        if word in ("&&", ";") or word.endswith(";"):
            own += [word.removesuffix(";")] if word not in ("&&", ";") else []
            yield own
            own = []
        else:
            own.append(word)


def parse(words: list[str]) -> None:
    """Let the command line read ``words`` as far as it does before it does anything; raises what it would refuse."""
    command = typer.main.get_command(app)
    while own := getattr(command, "commands", {}):
        if not words or words[0].startswith("-"):
            break
        command, words = own[words[0]], words[1:]
    command.make_context("vdtui", [*words])


EVERY = [block for page in [*PAGES, *EXPERIMENTS] for block in blocks(page, "bash")]


@pytest.mark.parametrize("page", [path.name for path in [*PAGES, *EXPERIMENTS]])
def test_commands_can_be_parsed(page: str) -> None:
    """An option that was renamed, a script that was moved, a quote that was forgotten."""
    for block in (block for block in EVERY if block.page == page):
        assert subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True).returncode == 0, block
        for words in commands(block.text):
            if words[0] == "vdtui":
                parse([word for word in words[1:] if ">" not in words or words.index(word) < words.index(">")])
            else:
                assert f" {words[0]} " in OTHERS or (ROOT / words[0]).is_file(), words
            scripts = [
                word for word in words[1:] if word.startswith(("docs/", "tests/")) and word.endswith((".py", ".sh"))
            ]
            assert [script for script in scripts if not (ROOT / script).exists()] == []


def test_every_command_has_its_row() -> None:
    """A command that the reference does not name is known to nobody."""
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert [name for name in typer.main.get_command(app).commands if f"`vdtui {name}" not in page] == []


def test_reasons_are_few_and_said() -> None:
    """A test that leaves out what it likes is none."""
    reasons = {block.why for block in EVERY if block.why is not None}
    assert "" not in reasons and len(reasons) <= 10, reasons
    ran = [block for page in PAGES for block in blocks(page, "bash") if block.why is None]
    assert len(ran) >= 14


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with videos, a table of them, files in the names of benchmarks, and one finished run, `my-run`."""
    folder = tmp_path_factory.mktemp("reader")
    clips = make_clips(folder)
    (folder / "videos").rename(folder / "my-videos")
    for name, interval, split in (("my", 4, 1), ("hmdb51", 4, 1), ("miniucf101", 4, 1), ("kinetics400", 0, 1)):
        shutil.copy(clips, folder / f"{name}.h5")
        with h5py.File(folder / f"{name}.h5", "r+") as file:  # as presets of benchmarks want theirs
            file.attrs.update(interval=interval, split=split)
    with open(folder / "my-table.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "split"])
        for path in sorted((folder / "my-videos").rglob("*.mp4")):
            split, name = path.relative_to(folder / "my-videos").parts[:2]
            table.writerow([path.relative_to(folder), name, split])
    run_distillation(load_preset("default", [*SMALL]), clips, runs_dir=folder / "runs", name="my-run")
    return folder


@pytest.fixture
def folder(home: Path, tmp_path: Path) -> Path:
    """A copy of it, for a page whose commands write what those of another page do."""
    return Path(shutil.copytree(home, tmp_path / "reader"))


@pytest.fixture
def instant(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that are done at once: a new run gets the files of `my-run`."""

    def finished(run: RunDirectory, *_: object) -> None:
        own = run.preset_file.read_bytes()
        shutil.copytree(home / "runs" / "my-run", run.path, dirs_exist_ok=True)
        run.preset_file.write_bytes(own)

    monkeypatch.setattr(launch, "launch", finished)
    monkeypatch.setattr(process, "carry_out", finished)
    monkeypatch.setattr("engine.distilling.plan._start_seconds", lambda: 0.0)  # see test_plan.py


def typed(folder: Path, words: list[str]) -> tuple[int, str]:
    """Return the exit code and what is said of `vdtui WORDS` in ``folder``; ``> FILE`` is written there."""
    words, target = (words[: words.index(">")], words[-1]) if ">" in words else (words, None)
    stdout, stderr, code = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        reduced = REDUCED.get(words[0] if words else "", [])
        by_steps = ["--steps" if word == "--epochs" and "--steps" in words else word for word in reduced]
        patch.setattr(sys, "argv", ["vdtui", *words, *by_steps])
        patch.delenv("VDTUI_RUNS", raising=False)
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            try:
                main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
        said = stdout.buffer.getvalue()
        if target:
            Path(target).write_bytes(said)
    return code, said.decode() + stderr.getvalue()


@pytest.mark.parametrize("page", [path.name for path in PAGES])
def test_commands_run(page: str, folder: Path, instant: None) -> None:
    """What stands there is what one types first; that it is refused would be the first that one sees."""
    for block in (block for block in EVERY if block.page == page and block.why is None):
        for words in commands(block.text):
            if words[0] == "vdtui":
                code, said = typed(folder, words[1:])
                assert code == 0, (words, said)


def test_python_of_the_page_on_using_sets_runs(folder: Path, instant: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set that cannot be used as it says is of no use."""
    monkeypatch.chdir(folder)
    own = '{"dynamic.steps": 100, "run.seed": 1}'
    assert typed(folder, ["export", "my-run", "--format", "pt", "--output", "my-run.pt"])[0] == 0
    text = "\n".join(block.text for block in blocks(ROOT / "docs" / "using.md", "python"))
    assert text.count(own) == 1 and text.count("import") >= 4
    exec(compile(text.replace(own, repr([*SMALL])), "using.md", "exec"), {})
