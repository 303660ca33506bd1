"""`vdtui bench` at sizes that take seconds: every part runs, beside something. Speed itself is not tested."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import ANY

import pytest
import torch
from typer.testing import CliRunner

from engine import bench as module
from engine.models.convnet3d import ConvNet3DSmall
from engine.models.registry import VIDEO_MODELS
from engine.models.repeated import WARM_UP
from engine.timings import Measurement, read_timings
from tests.traced import Traced
from vdtui.cli.main import app


@pytest.fixture(autouse=True)
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VIDEO_MODELS, "convnet3d", ConvNet3DSmall)
    monkeypatch.setattr(module, "ConvNet3D", ConvNet3DSmall)


def test_every_part_is_measured_beside_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that fails at the end of minutes takes the measured ones with it."""
    small = {"CLASSES": 2, "BATCH_REAL": 1, "SYN_STEPS": 1, "EVALUATED": 1, "NETWORKS": 2}
    small |= {"BANK_RENEWED": 1, "BANK_CLIPS": 1, "LOOP_BATCH_REAL": 2}
    for name, value in small.items():
        monkeypatch.setattr(module, name, value)
    arguments = ["bench", "--repeats", "1", "--device", "cpu"]
    kept = tmp_path / "timings.json"
    answer = CliRunner().invoke(app, [*arguments, "--seconds", "10000", "--json", "--output", str(kept)])
    assert answer.exit_code == 0, answer.output
    document = json.loads(answer.stdout)
    assert json.loads(kept.read_text()) == document and read_timings(kept).document() == document | {"parts": ANY}
    measured = document["parts"]
    parts = [one["part"] for one in measured]
    assert len(set(parts)) == len(parts) == 9 and any("MTT" in part for part in parts)
    for one in measured:
        assert one["seconds"] > 0 and one["floor_seconds"] > 0 and one["floor"]
        assert [one["ratio"]] == one["ratios"] == pytest.approx([one["seconds"] / one["floor_seconds"]])
    few = CliRunner().invoke(app, [*arguments, "--seconds", "1", "--against", str(kept)])
    assert "not compared: ConvNet3D forward" in few.stderr and "0 of 0 parts became slower" in few.stderr
    assert few.exit_code == 0 and "left out for want of time" in few.stderr
    assert "An evaluation of 5 networks takes about" in few.stdout and "vdtui plan" in few.stdout


def test_what_a_gpu_has_besides_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded steps beside plain ones; on a CPU by traced operations in place of graphs."""
    small = {"CLASSES": 2, "BATCH_REAL": 1, "NETWORKS": 2, "BANK_CLIPS": 1}
    for name, value in {**small, "RECORDED_EPOCHS": WARM_UP + 1, "RECORDED_STEPS": WARM_UP + 1}.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(Traced, "made", [])
    for measure in (module._in_turn, module._dm_recorded):
        before = len(Traced.made)
        found = measure(torch.device("cpu"), torch.float32, 1, Traced)
        assert found.seconds > 0 and found.floor_seconds > 0 and len(Traced.made) > before


def test_what_a_user_may_conclude_follows_from_the_passes() -> None:
    """8 clips forward in 0.08 s, trained in 0.24 s: 500 epochs of 10 clips are 150 s, a test on 1,000 is 10 s."""
    passes = [Measurement("", "", seconds, 1.0, 1.0, (1.0,)) for seconds in (0.08, 0.24)]
    evaluation, matching, larger = module.conclusions(passes)
    assert "about 13 minutes" in evaluation  # 5 * 160 s
    assert "about 1.9 hours" in matching and "about 5 minutes and its filling" in matching  # 6,700 s, 300 s
    assert "6 times" in larger
