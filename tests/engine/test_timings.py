"""If these fail, a change that makes a part slower goes unseen, or a busy machine is taken for one."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest
from typer.testing import CliRunner

import engine.bench
from engine.errors import UsageError
from engine.timings import Measurement, Timings, changes, elsewhere, read_timings
from vdtui.cli.main import app


def part(name: str, *ratios: float, floor: str = "a floor") -> Measurement:
    middle = statistics.median(ratios)
    return Measurement(name, floor, middle, 1.0, middle, ratios)


def timings(*parts: Measurement, threads: int = 2) -> Timings:
    return Timings("cpu", threads, "2.9", parts)


WAS = part("step", 1.30, 1.42, 1.38, 1.35, 1.40)


@pytest.mark.parametrize(
    ("ratios", "slower"),
    [
        ((1.60, 1.55, 1.70, 1.58, 1.61), True),  # all above 1.42
        ((1.60, 1.41, 1.70, 1.58, 1.61), False),  # one as fast as before
        ((1.43, 1.44, 1.43, 1.44, 1.43), False),  # above all, by less than processes differ
        ((1.00, 1.01, 1.02, 0.99, 1.00), False),  # faster
        ((9.00, 9.00), False),  # two timings: nobody knows
    ],
)
def test_slower_is_what_exceeds_the_spread(ratios: tuple[float, ...], slower: bool) -> None:
    """Each timing must be above all earlier ones, and the medians more than 5 % apart."""
    found, untold = changes(timings(WAS), timings(part("step", *ratios)))
    assert any(change.slower for change in found) is slower
    assert bool(found) == (len(ratios) > 2) != bool(untold)


def test_parts_that_cannot_be_compared_are_named() -> None:
    """What was renamed, was left out, or has another floor would silently count as no slower."""
    before = timings(WAS, part("gone", 1, 1, 1), part("moved", 1, 1, 1), part("rare", 1.0))
    now = timings(part("new", 1, 1, 1), part("moved", 9, 9, 9, floor="other"), part("rare", 9, 9, 9))
    found, untold = changes(before, now)
    assert not found
    assert sorted(untold) == [
        "gone: not measured now",
        "moved: not measured before",
        "moved: not measured now",
        "new: not measured before",
        "rare: timed fewer than 3 times before",
        "step: not measured now",
    ]


def test_the_command_ends_with_code_1_if_a_part_became_slower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that guards a change sees nothing but the exit code."""
    file = tmp_path / "before.json"
    file.write_text(json.dumps(timings(WAS, part("pass", 2, 2, 2), threads=4).document()))
    assert read_timings(file).parts[0] == WAS and elsewhere(read_timings(file), timings()) == ["threads 4, now 2"]
    codes = {}
    for factor in (1.0, 1.5):
        now = timings(part("step", *(factor * ratio for ratio in WAS.ratios)), part("pass", 2.1, 1.9, 2.0))
        monkeypatch.setattr(engine.bench, "bench", lambda *_, now=now: now)
        answer = CliRunner().invoke(app, ["bench", "--against", str(file)])
        codes[factor] = answer.exit_code
        assert "threads 4, now 2" in answer.stderr and "as before: pass" in answer.stderr
    assert codes == {1.0: 0, 1.5: 1} and "SLOWER: step: ratio 2.07, before 1.38 (1.30 to 1.42)" in answer.stderr


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "vdtui.bench", "version": 2}', "damaged"])
def test_a_file_that_is_no_timings_is_refused_before_anything_is_measured(tmp_path: Path, content: str) -> None:
    """After minutes of measuring it would be too late."""
    file = tmp_path / "file.json"
    good = json.dumps(timings(WAS).document())
    file.write_text(good.replace("1.42", "-1") if content == "damaged" else content)
    with pytest.raises(UsageError, match="is damaged" if content == "damaged" else "is not a file of"):
        read_timings(file)
    assert CliRunner().invoke(app, ["bench", "--against", str(file)]).exit_code != 0
