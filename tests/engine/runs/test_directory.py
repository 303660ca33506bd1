"""Run directories: what a user loses here is a run under a name that was taken, or one that cannot be found."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from engine.errors import RunError, UsageError
from engine.runs import RunDirectory, create_run, find_run, list_runs, runs_folder
from engine.runs.directory import check_name
from tests.tiny import PYTHON, ROOT


def make(folder: Path, name: str | None = None, stem: str = "demo") -> RunDirectory:
    return create_run(folder, name, stem, 'title = "t"\n', {"seed": 3})


def test_where_runs_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--runs-dir, else $VDTUI_RUNS, else ./runs: scripts rely on it."""
    monkeypatch.delenv("VDTUI_RUNS", raising=False)
    assert runs_folder() == Path("runs")
    monkeypatch.setenv("VDTUI_RUNS", str(tmp_path))
    assert runs_folder() == tmp_path and runs_folder(Path("x")) == Path("x")
    monkeypatch.setenv("VDTUI_RUNS", "")
    assert runs_folder() == Path("runs")


def test_a_new_run_is_complete(tmp_path: Path) -> None:
    """What is needed to start a worker is there, and nothing is left over."""
    run = make(tmp_path / "runs" / "deep")
    assert run.name == "demo" and run.state() == "queued" and run.control().want == "run"
    assert run.preset_values() == {"title": "t"} and run.meta() == {"seed": 3}
    assert {path.name for path in run.path.iterdir()} == {"preset.toml", "meta.json", "control.json", "status.json"}
    assert list(run.path.parent.iterdir()) == [run.path]


def test_the_files_have_the_names_of_the_design(tmp_path: Path) -> None:
    """Scripts outside the project read these."""
    run = RunDirectory(tmp_path / "r")
    found = {
        run.preset_file: "preset.toml",
        run.meta_file: "meta.json",
        run.status_file: "status.json",
        run.events_file: "events.jsonl",
        run.control_file: "control.json",
        run.engine_log: "engine.log",
        run.lock_file: "lock",
        run.checkpoints: "checkpoints",
        run.best: "synthetic/best.safetensors",
        run.last: "synthetic/last.safetensors",
        run.previews: "previews",
        run.evaluations: "evaluations",
        run.report: "report.html",
    }
    assert {str(path.relative_to(run.path)) for path in found} == set(found.values())
    assert all(str(path.relative_to(run.path)) == name for path, name in found.items())


def test_without_a_name_the_next_free_one_is_taken(tmp_path: Path) -> None:
    """Starting the same preset three times gives three runs; a foreign folder in between is left alone."""
    (tmp_path / "demo-2").mkdir()
    (tmp_path / "demo-2" / "notes.txt").write_text("mine")
    assert [make(tmp_path).name for _ in range(3)] == ["demo", "demo-3", "demo-4"]
    assert (tmp_path / "demo-2" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("kind", ["run", "file", "folder", "link"])
def test_a_name_that_is_taken_is_refused(tmp_path: Path, kind: str) -> None:
    """Two runs in one directory would be none."""
    if kind == "run":
        make(tmp_path, "mine")
    elif kind == "file":
        (tmp_path / "mine").write_text("precious")
    elif kind == "folder":
        (tmp_path / "mine" / "empty").mkdir(parents=True)
    else:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "mine").symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="exists"):
        make(tmp_path, "mine")
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_has_no_name(tmp_path: Path) -> None:
    """A kill at the wrong moment used to leave one, and no run could have its name any more."""
    (tmp_path / "mine").mkdir()
    assert make(tmp_path, "mine").state() == "queued"


CREATE = """
import sys
from pathlib import Path
from engine.runs import create_run
for _ in range(10):
    print(create_run(Path(sys.argv[1]), None, "demo", "", {}).name)
"""


def test_processes_that_create_at_once_get_different_runs(tmp_path: Path) -> None:
    """A shell loop with & at its end: thirty runs, none shared, none lost."""
    command = [PYTHON, "-c", CREATE, str(tmp_path)]
    workers = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    names = [name for worker in workers for name in worker.communicate()[0].split()]
    assert sorted(names) == sorted(["demo", *(f"demo-{number}" for number in range(2, 31))])
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    assert all(run.state() == "queued" for run in list_runs(tmp_path))


HOSTILE = ["", ".", "..", ".hidden", "a/b", "../x", "/tmp/x", "a\\b", "a\nb", "a\x00b", "-rf", " a", "a ", "a\x1b[31m"]
HOSTILE += ["a" * 101, "字" * 100, "a;b", "$(x)", "a*"]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:8]))
def test_hostile_names_are_refused(tmp_path: Path, name: str) -> None:
    """A name must not reach outside the folder, hide there, or look like an option; two lines, not a traceback."""
    with pytest.raises(UsageError):
        make(tmp_path / "runs", name)
    assert [path.name for path in tmp_path.iterdir()] in ([], ["runs"])
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize("name", ["a", "MiniUCF ipc=1 dm", "ucf101-ipc1.dm+sd", "_x", "2024-01-01", "Straße"])
def test_decent_names_are_taken(tmp_path: Path, name: str) -> None:
    """People name runs after what they change."""
    assert check_name(name) == name == make(tmp_path, name).name == find_run(tmp_path, name).name


# --- finding ---------------------------------------------------------------------------------------------------------


def test_runs_are_found_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tab completion gives a path, the list gives a name."""
    run = make(tmp_path / "runs", "mine")
    monkeypatch.chdir(run.path)
    for name in ("mine", str(run.path), f"{run.path}/", "../mine", "."):
        assert find_run(tmp_path / "runs", name).name == "mine"


def test_a_typing_mistake_gets_a_hint(tmp_path: Path) -> None:
    """The nearest name, and the folder that was searched."""
    make(tmp_path, "miniucf-ipc1")
    with pytest.raises(UsageError) as caught:
        find_run(tmp_path, "minicuf-ipc1")
    assert str(tmp_path) in caught.value.problem and "miniucf-ipc1" in caught.value.hint
    with pytest.raises(UsageError):
        find_run(tmp_path / "gone", "x")


@pytest.mark.parametrize("name", ["a" * 300, "a\x00b"], ids=["long", "null"])
def test_names_that_no_disk_can_hold(tmp_path: Path, name: str) -> None:
    """Two lines, not a traceback."""
    with pytest.raises(UsageError):
        find_run(tmp_path, name)


def test_listing_shows_runs_and_only_runs(tmp_path: Path) -> None:
    """Oldest first; half-made ones, the demo's data and the user's own folders are none."""
    later, earlier = make(tmp_path, "later"), make(tmp_path, "earlier")
    os.utime(earlier.preset_file, (1, 1))
    damaged = make(tmp_path, "damaged")
    damaged.status_file.unlink()
    os.utime(damaged.preset_file, (2, 2))
    for name in (".data", ".vdtui-1-00000000-abcdefgh.tmp", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / ".vdtui-1-00000000-abcdefgh.tmp" / "preset.toml").write_text("")
    (tmp_path / "a-file").write_text("")
    assert [run.name for run in list_runs(tmp_path)] == ["earlier", "damaged", "later"]
    assert list_runs(tmp_path / "gone") == [] and later.state() == "queued"


# --- damage ----------------------------------------------------------------------------------------------------------


def test_what_is_damaged_says_so(tmp_path: Path) -> None:
    """A run error with the file's name; the history, which is in another file, can still be read."""
    run = make(tmp_path)
    run.preset_file.write_bytes(b"\xff\xfe")
    run.meta_file.write_text("[")
    run.status_file.write_text("")
    with pytest.raises(RunError, match=r"preset\.toml"):
        run.preset_values()
    with pytest.raises(RunError, match=r"status\.json"):
        run.state()
    assert run.meta() == {} and run.folded().events == 0
