"""What commands print of other people's names: what a user loses here is their terminal, or the table."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import Preset, load_preset, to_toml
from engine.runs import RunDirectory, Status
from tests.vdtui.test_cli import typed, vdtui
from tests.vdtui.test_damaged_runs import EVENTS, make
from vdtui.cli.options import note, print_json, print_table, printable, say

HOSTILE = "[/bold]\x1b]0;owned\x07\x1b[2J\x9b2J[red]\x7f\u202e\x08[link=file:///x]"
NOT_SHOWN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def hostile_run(folder: Path) -> RunDirectory:
    """A run with such texts wherever a run has texts."""
    run = make(folder, "mean")
    texts = json.dumps(HOSTILE)
    lines = []
    for record in EVENTS:
        for name, value in record.items():
            if isinstance(value, str) and name not in ("event", "schema"):
                record = {**record, name: HOSTILE}
        if "result" in record:
            named = dict.fromkeys(("what", "model", "protocol", "storage", "selected_on", "caution"), HOSTILE)
            record = {**record, "result": {**record["result"], **named, "deviations": [HOSTILE]}}
        lines.append(json.dumps(record))
    failed = f'{{"event":"run_failed","time":1.7e9,"problem":{texts},"hint":{texts}}}'
    run.events_file.write_text("\n".join([*lines, failed]) + "\n")
    run.preset_file.write_text(to_toml(Preset(title=HOSTILE, description=HOSTILE)))
    run.meta_file.write_text(
        json.dumps({"seed": 3, "device": HOSTILE, "dataset": HOSTILE, "data_fingerprint": HOSTILE})
    )
    Status(state="failed", stage=HOSTILE, heartbeat=1.7e9).save(run.status_file)
    return run


@pytest.mark.parametrize(
    "words",
    [
        "runs",
        "runs --json",
        "show mean",
        "show mean --json",
        "compare mean",
        "compare mean --json",
        "monitor mean --plain",
        "compare mean --format md",
        "compare mean --format csv",
        "presets runs/mean/preset.toml",
        "resume gone-\x1b[2J",
    ],
)
def test_texts_of_a_run_reach_no_terminal_raw(tmp_path: Path, words: str) -> None:
    """A title with [/bold] ended `show` with a traceback; one with an escape set the terminal's own title."""
    hostile_run(tmp_path / "runs")
    run = vdtui if "--format" in words else typed  # bytes of a file need a stdout that takes them
    done = run(tmp_path, *words.split(" "))
    assert done.returncode in (0, 1, 2) and "Traceback" not in done.stderr
    assert not NOT_SHOWN.search(done.stdout + done.stderr), ascii(done.stdout + done.stderr)
    if words in ("runs", "show mean"):
        assert "[/bold]" in done.stdout.replace("\n", "") and "\\x1b" in done.stdout
    if "--json" in words:
        json.loads(done.stdout)


def test_a_preset_with_control_characters_is_printed_so_that_it_reads_the_same(tmp_path: Path) -> None:
    """`vdtui presets FILE > mine.toml` gives the file that is run."""
    preset = Preset(title=HOSTILE, description="naïve 動作")
    (tmp_path / "mine.toml").write_text(to_toml(preset))
    shown = typed(tmp_path, "presets", "mine.toml").stdout
    (tmp_path / "again.toml").write_text(shown)
    assert load_preset(tmp_path / "again.toml") == preset and not NOT_SHOWN.search(shown)


@given(st.text())
def test_what_is_printed_is_printable(text: str) -> None:
    """Escaped as Python does, so that one can see what is there; and nothing else is changed."""
    shown = printable(text)
    assert shown.isprintable()
    assert (shown == text) == text.isprintable()


@given(st.text())
def test_everything_that_prints_goes_through_it(text: str) -> None:
    """One place prints; a second one would be forgotten."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        note(text)
        say(text)
        print_table([text, "b"], [[text, text]], text)
        print_json({text: [text]})
    assert not NOT_SHOWN.search(out.getvalue() + err.getvalue())
    (out.getvalue() + err.getvalue()).encode()


def test_json_keeps_every_character(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts compare names; an escape of JSON is the same text."""
    print_json({"a": HOSTILE, "b": "naïve 動作 \ud83d"})
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"a": HOSTILE, "b": "naïve 動作 \ud83d"} and "動作" in shown
