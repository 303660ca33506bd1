"""`vdtui bench` at sizes that take seconds: every part runs, beside something. Speed itself is not tested."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from engine import bench as module
from vdtui.cli.main import app


def test_every_part_is_measured_beside_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that fails at the end of minutes takes the measured ones with it."""
    small = {"CLASSES": 2, "BATCH_REAL": 1, "SYN_STEPS": 1, "EVALUATED": 1, "NETWORKS": 2}
    small |= {"BANK_RENEWED": 1, "BANK_CLIPS": 1, "PLAIN_BATCH_REAL": 2}
    for name, value in (small | {"LOOP_CLASSES": 2, "LOOP_BATCH_REAL": 2}).items():
        monkeypatch.setattr(module, name, value)
    answer = CliRunner().invoke(app, ["bench", "--repeats", "1", "--json", "--device", "cpu"])
    assert answer.exit_code == 0, answer.output
    measured = json.loads(answer.stdout)
    parts = [one["part"] for one in measured]
    assert len(set(parts)) == len(parts) == 7 and any("MTT" in part for part in parts)
    for one in measured:
        assert one["seconds"] > 0 and one["floor_seconds"] > 0 and one["floor"]
        assert one["ratio"] == pytest.approx(one["seconds"] / one["floor_seconds"])
