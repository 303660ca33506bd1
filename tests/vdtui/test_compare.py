"""`vdtui compare`, and `vdtui report` of several runs, as a user calls them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from engine.errors import DataError, UsageError, VdtuiError
from engine.events import Evaluated, ResultReady, RunCompleted, StageFinished
from engine.export.overlay import LINES, curves_of, overlay_svg
from engine.files import write_json
from engine.runs.comparison import compare as grouped
from engine.runs.comparison import read_sources
from tests.engine.export.made_up import MadeUpRuns, begun, result
from vdtui.cli.compare import compare, print_groups
from vdtui.cli.report import report
from vdtui.cli.show import show

app = typer.Typer()
for command in (compare, report, show):
    app.command()(command)

EXTRA = {"recipe": {"epochs": 500, "lr": 0.01}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs: ``a`` and ``b`` with curves and results, ``b`` also measured as published; ``new`` without results."""
    folder = tmp_path_factory.mktemp("compare") / "runs"
    runs = MadeUpRuns(folder)
    for name, values in (("a", (0.50, 0.52, 0.54)), ("b", (0.60, 0.62, 0.64))):
        rows = (result("static-dynamic", values, 3, **EXTRA), result("random", (0.40, 0.41, 0.42), 3, **EXTRA))
        ends = [StageFinished("dynamic", 90.0), StageFinished("evaluate", 10.0), RunCompleted(100.0)]
        runs.make(name, "completed", [*begun(), *ends, *map(ResultReady, rows)], None)
    runs.make("new", "stopped", begun(), None)
    published = result("static-dynamic", (0.7, 0.72), 3, protocol="vdsd", evaluated=True, recipe={"epochs": 50})
    write_json(folder / "b/evaluations/evaluated-1.json", published | {"deviations": ["epochs 50, published 500"]})
    return folder


def call(*arguments: object) -> tuple[str, str]:
    """stdout and stderr of a command; raises what it raises."""
    answer = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=True)
    if isinstance(answer.exception, VdtuiError):
        raise answer.exception
    assert answer.exit_code == 0, answer.output
    return answer.stdout, answer.stderr


def test_the_table_of_two_runs(folder: Path) -> None:
    """The answer to "which one is better", with what it is worth."""
    stdout, stderr = call("compare", "a", "b", "--runs-dir", folder)
    first, second = stdout.split("protocol vdsd", 1)
    lines = {tuple(line.split()[:2]): line for line in first.splitlines()}
    assert "52.0 +- 2.0" in lines["a", "static-dynamic,"] and "62.0 +- 2.0" in lines["b", "static-dynamic,"]
    assert "+11.0 [" in lines["a", "static-dynamic,"] and "worse" in lines["a", "static-dynamic,"]
    assert lines["b", "static-dynamic,"].endswith("best") and "1 min 30 s + 1.5 s" in lines["b", "static-dynamic,"]
    assert "epochs 50, not 500" in second and "Deviates" in second and "71.0 +- 1.4" in second
    assert stderr == ""


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs: three seeds each of two methods, which differ in their steps, with random clips beside them."""
    folder = tmp_path_factory.mktemp("seeded") / "runs"
    runs = MadeUpRuns(folder)
    for name, steps, means in (("short", 10, (0.40, 0.46, 0.49)), ("long", 20, (0.50, 0.54, 0.58))):
        for seed, (mean, real) in enumerate(zip(means, (0.30, 0.36, 0.33), strict=True)):
            rows = [result("static-dynamic", (mean - 0.001, mean + 0.001), 3, **EXTRA)]
            rows.append(result("random", (real - 0.001, real + 0.001), 3, **EXTRA))
            for row in rows:
                row["top1"] = {**row["top1"], "seeds": [100 * seed, 100 * seed + 1]}
            changes = {"run.seed": seed, "dynamic.steps": steps}
            events = [*begun(), *map(ResultReady, rows), RunCompleted(100.0)]
            runs.make(f"{name}-{seed}", "completed", events, None, **changes)
    return folder


SEEDED = [f"{name}-{seed}" for name in ("short", "long") for seed in range(3)]


def test_runs_of_several_seeds_are_compared_as_methods(seeded: Path, tmp_path: Path) -> None:
    """Ten points between two sets are no more than luck until runs of other seeds have shown them, too."""
    stdout, _ = call("compare", *SEEDED, "--runs-dir", seeded)
    sets, methods = stdout.split("Methods, over seeds of runs", 1)
    short, random, long = [line for line in methods.splitlines() if line.startswith(("short-*", "short-0", "long-*"))]
    # paired differences -10, -8, -9 points; to random +20, +18, +25: error sqrt((1 + 9 + 16) / 6), t = 4.3027
    assert "45.0 +- 4.6" in short and short.endswith("-9.0 [-11.5, -6.5] worse method")
    assert "54.0 +- 4.0" in long and "+21.0 [12.0, 30.0] better method" in long and long.endswith("best")
    assert "33.0 +- 3.0" in random and random.startswith("short-0 and 5 more")
    assert "worse set" in sets and "better method" not in sets and "worse method" not in sets
    assert sum(line.startswith(("short-", "long-")) for line in sets.splitlines()) == 12
    document = json.loads(call("compare", *SEEDED, "--json", "--runs-dir", seeded)[0])
    found = {(one["name"], one["what"]): one for one in document["groups"][0]["methods"]}
    assert found["long-*", "static-dynamic"]["run_seeds"] == [0, 1, 2] and len(found) == 3
    page = tmp_path / "both.html"
    call("report", *SEEDED, "--format", "html", "--output", page, "--runs-dir", seeded)
    assert "better method" in page.read_text(encoding="utf-8") and "worse set" in page.read_text(encoding="utf-8")


def test_runs_of_one_seed_have_no_verdict_on_methods(seeded: Path) -> None:
    """ "Better method" of one run each would be what the interval over networks cannot tell."""
    stdout, _ = call("compare", "short-0", "long-0", "--runs-dir", seeded)
    assert "better method" not in stdout and "worse method" not in stdout and "worse set" in stdout
    assert "Methods, over seeds" not in stdout


def test_a_run_whose_preset_is_damaged_is_compared_as_a_set(seeded: Path, tmp_path: Path) -> None:
    """One damaged file must not keep the numbers of ten other runs from being read."""
    folder = tmp_path / "runs"
    shutil.copytree(seeded, folder)
    (folder / "short-1/preset.toml").write_text("title = ")
    stdout, stderr = call("compare", *SEEDED, "--runs-dir", folder)
    assert "46.0" in stdout.split("Methods, over")[0] and "-8.0" not in stdout.split("Methods, over")[1]
    assert "short-1 is compared as a single set" in stderr


def test_a_narrow_terminal_shows_what_matters(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At 80 columns a table of twelve columns is letters; what is left out is said."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    print_groups(grouped(read_sources(folder, ["a", "b"], lambda _: None))[:1])
    lines = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split()[:1] == ["b"] and "62.0 +- 2.0" in line and "best" in line for line in lines)
    assert "Left out, for want of width: " in " ".join(lines) and "networks" in " ".join(lines)


def test_json_is_one_document_on_stdout(folder: Path) -> None:
    """Scripts read it; notes must not be in it."""
    for form in (["--json"], ["--format", "json"]):
        stdout, stderr = call("compare", "new", "a", *form, "--runs-dir", folder)
        document = json.loads(stdout)
        assert [one["what"] for one in document["results"]] == ["static-dynamic", "random"]
        assert document["groups"][0]["rows"][0]["distillation_seconds"] == 90.0
        assert stderr.strip() == "new has no results yet; it is left out of the tables."


def test_formats_go_to_stdout_or_to_a_file(folder: Path, tmp_path: Path) -> None:
    """What is piped and what is written are the same; a file that exists is not replaced unasked."""
    for suffix, begins in (("md", "### protocol"), ("csv", "group,run,"), ("tex", "% Needs"), ("json", "{")):
        printed, _ = call("compare", "a", "b", "--format", suffix, "--runs-dir", folder)
        stdout, stderr = call("compare", "a", "b", "--output", tmp_path / f"t.{suffix}", "--runs-dir", folder)
        with open(tmp_path / f"t.{suffix}", encoding="utf-8", newline="") as file:
            written = file.read()
        assert written.startswith(begins) and stdout == "" and f"t.{suffix}" in stderr
        assert written.splitlines() == printed.splitlines()
    call("compare", "a", "--output", tmp_path / "t.txt", "--json", "--runs-dir", folder)
    assert "static-dynamic" in (tmp_path / "t.txt").read_text(encoding="utf-8")
    with pytest.raises(UsageError) as refusal:
        call("compare", "a", "--output", tmp_path / "t.md", "--runs-dir", folder)
    assert "--overwrite" in refusal.value.hint
    call("compare", "a", "--output", tmp_path / "t.md", "--overwrite", "--runs-dir", folder)


def test_csv_in_a_pipe_ends_its_lines_as_the_standard_says(folder: Path) -> None:
    """Line ends that are translated on the way become empty rows in a spreadsheet."""
    main = "from vdtui.cli.main import main; main()"
    command = [sys.executable, "-c", main, "compare", "a", "--format", "csv", "--runs-dir", str(folder)]
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": "."})
    assert done.stdout.count(b"\r\n") == done.stdout.count(b"\n") == 3
    assert len(list(csv.reader(io.StringIO(done.stdout.decode(), newline="")))) == 3


def test_results_of_a_file_stand_beside_runs(folder: Path, tmp_path: Path) -> None:
    """A colleague's numbers, without the run; the file that was written of a run adds nothing to that run."""
    results = [result("pixels", (0.1, 0.2, 0.3), 3, source="theirs.safetensors", **EXTRA)]
    results.append(result("static-dynamic", (0.50, 0.52, 0.54), 3, source="a", evaluated=True, **EXTRA))
    write_json(tmp_path / "sent.json", {"results": results})
    document = json.loads(call("compare", "a", tmp_path / "sent.json", "--json", "--runs-dir", folder)[0])
    assert [(one["run"], one["what"]) for one in document["results"]] == [
        ("a", "static-dynamic"), ("a", "random"), ("theirs.safetensors", "pixels"),
    ]  # fmt: skip
    write_json(tmp_path / "again.json", document)
    assert json.loads(call("compare", tmp_path / "again.json", "--json")[0])["results"] == document["results"]


def test_runs_of_the_same_name_are_told_apart(folder: Path, tmp_path: Path) -> None:
    """Two rows of "a" would be read as one run."""
    shutil.copytree(folder / "a", tmp_path / "a")
    names = ["a", folder / "a", tmp_path / "a"]
    document = json.loads(call("compare", *names, "--json", "--runs-dir", folder)[0])
    assert [one["run"] for one in document["results"]] == ["a", "a", str(tmp_path / "a"), str(tmp_path / "a")]


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("bb",), UsageError, "Did you mean b?"),
        (("new",), UsageError, "vdtui evaluate"),
        (("absent.json",), DataError, "vdtui evaluate --output"),
        (("a", "--plot", "curves.jpg"), UsageError, ".png"),
        (("a", "--output", "table.doc"), UsageError, "--format"),
        (("a", "--json", "--format", "csv"), UsageError, "--output"),
    ],
)
def test_mistakes_are_said_in_words(folder: Path, arguments: tuple[str, ...], error: type, said: str) -> None:
    """Exit code 2 and what to do, not a traceback or an empty table."""
    with pytest.raises(error) as refusal:
        call("compare", *arguments, "--runs-dir", folder)
    assert said in refusal.value.hint and refusal.value.exit_code == 2


def test_curves_are_drawn_over_one_another(folder: Path, tmp_path: Path) -> None:
    """The same runs give the same picture; and it is one that a page of paper can hold."""
    for name in ("one.png", "two.png"):
        _, stderr = call("compare", "a", "b", "new", "--plot", tmp_path / name, "--runs-dir", folder)
        assert name in stderr
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.width > 1000 and picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_lines_differ_in_more_than_colour(folder: Path) -> None:
    """In grey, and for one man in twelve, colours alone do not tell runs apart."""
    curves = curves_of(read_sources(folder, ["a", "b", "new"], lambda _: None))
    assert [one.label for one in curves] == ["a", "b", "new"]
    assert curves[0].accuracy == ((0, 0.2, 0.05), (20, 0.5, 0.05)) and curves[0].split == "val"
    assert set(curves[0].losses) == {"static", "dynamic"}
    svg = overlay_svg(curves)
    assert svg.startswith("<svg") and all(f">{name}<" in svg for name in ("a", "b", "new"))
    assert svg.count("stroke-dasharray") >= 2 * 3 and len(set(map(str, LINES))) == len(LINES)
    assert overlay_svg([]) == ""


def test_a_report_of_several_runs_is_one_page(folder: Path, tmp_path: Path) -> None:
    """Tables that are apart, curves over one another, each run named; nothing loaded from anywhere."""
    page = tmp_path / "both.html"
    call("report", "a", "b", "--format", "html", "--output", page, "--runs-dir", folder)
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 2 and "://" not in text and "<script" not in text
    shown = text.replace("\xa0", " ")  # numbers are not broken
    assert "62.0 ± 2.0" in shown and "protocol vdsd 1, not strict 1" in shown and "better set" in shown
    document = json.loads(call("report", "a", "b", "--format", "json", "--output", "-", "--runs-dir", folder)[0])
    assert [one["name"] for one in document["runs"]] == ["a", "b"] and len(document["comparison"]["groups"]) == 2


def test_reports_as_tables(folder: Path, tmp_path: Path) -> None:
    """`report` promises md, csv and tex, also of a single run."""
    for form in ("md", "csv", "tex"):
        printed, _ = call("report", "b", "--format", form, "--output", "-", "--runs-dir", folder)
        assert "static-dynamic" in printed and "vdsd" in printed
        call("report", "b", "--format", form, "--output", tmp_path / f"b.{form}", "--runs-dir", folder)
        assert (tmp_path / f"b.{form}").read_text(encoding="utf-8").splitlines() == printed.splitlines()
    with pytest.raises(UsageError):
        call("report", "new", "--format", "md", "--output", "-", "--runs-dir", folder)


def test_the_report_of_one_run_keeps_its_tables_apart(folder: Path, tmp_path: Path) -> None:
    """A later number of another protocol must not slip into the headline."""
    call("report", "b", "--format", "html", "--output", tmp_path / "b.html", "--runs-dir", folder)
    text = (tmp_path / "b.html").read_text(encoding="utf-8")
    headline = text.split('class="lead">')[1].split("</p>")[0].replace("\u00a0", " ")
    assert "62.0 ± 2.0 %" in headline and "41.0 ± 1.0 %" in headline and "71.0" not in headline
    assert text.count("<thead><tr><th>trained on") == 2 and "protocol vdsd 1, not strict 1" in text


def test_show_has_results_of_later_evaluations(folder: Path) -> None:
    """What `vdtui evaluate` measured of a run belongs to it."""
    document = json.loads(call("show", "b", "--json", "--runs-dir", folder)[0])
    assert [one["protocol"] for one in document["results"]] == ["strict", "strict", "vdsd"]
    stdout, _ = call("show", "b", "--runs-dir", folder)
    assert "protocol vdsd 1, convnet3d, mean +- population std" in stdout
    assert "deviates from it as published: epochs 50, published 500" in stdout and "epochs 50\n" not in stdout


def test_one_network_stands_in_every_table_as_a_mean_alone(tmp_path: Path) -> None:
    """A spread of 0.0, of the log of an older version too, would make its set the most certain one."""
    for name, std in (("old", 0.0), ("new", None)):
        rows = [result("static-dynamic", (0.5,), 6, **EXTRA), result("random", (0.25,), 6, **EXTRA)]
        for row in rows:
            row["top1"] = row["top5"] = {**row["top1"], "std": std}
        ends = [Evaluated("synthetic", 30, "val", 0.5, std, (0.5,), 1.0), *map(ResultReady, rows)]
        MadeUpRuns(tmp_path).make(name, "completed", [*begun(), *ends, RunCompleted(1.0)], None)
    for name in ("old", "new"):
        shown = json.loads(call("show", name, "--json", "--runs-dir", tmp_path)[0])
        assert [row[measure]["std"] for row in shown["results"] for measure in ("top1", "top5")] == [None] * 4
        assert shown["accuracies"] == [[0, 0.2, 0.05], [20, 0.5, 0.05], [30, 0.5, None]]
        reported = json.loads(call("report", name, "--format", "json", "--output", "-", "--runs-dir", tmp_path)[0])
        assert [row["top1"]["std"] for row in reported["results"]] == [None, None]
        assert reported["accuracy"][-1]["std"] is None
        for command in (["show", name], ["compare", name], ["compare", name, "--format", "md"]):
            stdout, _ = call(*command, "--runs-dir", tmp_path)
            assert "50.0" in stdout and "0.0 %" not in stdout.replace("50.0 %", "") and "± 0.0" not in stdout
        call("report", name, "--format", "html", "--output", tmp_path / f"{name}.html", "--runs-dir", tmp_path)
        page = (tmp_path / f"{name}.html").read_text(encoding="utf-8").replace("\u00a0", " ")
        assert "50.0 %" in page and "± 0.0" not in page
    document = json.loads(call("compare", "old", "new", "--json", "--runs-dir", tmp_path)[0])
    assert [row["top1"]["std"] for row in document["results"]] == [None] * 4
    table = csv.DictReader(io.StringIO(call("compare", "old", "--format", "csv", "--runs-dir", tmp_path)[0]))
    assert [(row["top1_mean"], row["top1_std"], row["top5_std"]) for row in table] == [
        ("0.5", "", ""),
        ("0.25", "", ""),
    ]
    call("compare", "old", "new", "--plot", tmp_path / "curves.png", "--runs-dir", tmp_path)


def test_help_does_not_wait_for_torch() -> None:
    """`vdtui compare` reads logs: seconds of importing torch and matplotlib would be for nothing."""
    code = (
        "import sys, vdtui.cli.compare, engine.runs.comparison, engine.export.tables, engine.export.overlay;"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "av", "matplotlib", "PIL", "numpy", "jinja2", "h5py"} & set(done.stdout.split())
