"""If these fail, a run that does not fit is started, or is made smaller than it had to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import engine.distilling.fitting as module
import engine.distilling.plan
from engine.config import Preset, load_preset
from engine.distilling.fitting import Kept, Need, Reduced, counted, fitted, measure_kept
from engine.distilling.reckoning import Sizes
from tests.tiny_run import QUICK, make_clips
from vdtui.cli.main import app

MB, GB = 1 << 20, 1 << 30
SIZES = Sizes(classes=50, frames=8, side=64, train=4000, val=0, test=1000, largest=80)
KEPT = Kept({"convnet3d": 10 * MB}, {"convnet3d": 3_000_000}, cores=2)


def preset(*changes: str) -> Preset:
    base = ("run.device=cpu", "synthetic.kind=pixels", "storage.how=float32", 'evaluation.baselines=["random"]')
    return load_preset("default", [*base, *changes])


def test_what_autograd_keeps_of_a_clip_is_counted() -> None:
    """By hand, of a network with two layers: the input of each, and the mask of what is between them."""
    layers = torch.nn.Sequential(torch.nn.Linear(100, 50), torch.nn.ReLU(), torch.nn.Linear(50, 5))
    assert module._kept(layers, torch.randn(2, 100), torch.float32) == 4 * (100 + 50)
    found = measure_kept(preset(), Sizes(2, 8, 64, 10, 0, 5, 5))
    assert found.weights["convnet3d"] > 10**6 and found.clips["convnet3d"] > 4 * 3 * 8 * 64 * 64


def test_the_need_follows_from_clips_at_once() -> None:
    """Two processes with a batch of 256 each, the other with 64 instances that are learned."""
    need = counted(preset("synthetic.ipc=10", "evaluation.batch=256", "evaluation.repeats=3"), SIZES, KEPT)
    memories = 4 * 4 * 500 * 3 * 8 * 64 * 64
    process = module.PROCESS
    assert need == Need(process + memories + 64 * 10 * MB + 2 * (process + 256 * 10 * MB), memories)
    alone = counted(preset("synthetic.ipc=10", "evaluation.batch=256"), SIZES, KEPT, alone=True)
    assert alone.memory == process + memories + 256 * 10 * MB


def reduced(room: Need, *changes: str, rehearsed: int = 0) -> Reduced | None:
    return fitted(preset("synthetic.ipc=10", *changes), SIZES, KEPT, room, rehearsed)


def test_what_leaves_the_method_alone_is_reduced_first() -> None:
    """Somebody who is told to learn less, where networks one at a time would do, gets worse results for nothing."""
    disk = 100 * GB
    whole, one = reduced(Need(9 * GB, disk)), reduced(Need(5 * GB, disk))
    assert whole is not None and not (whole.alone or whole.same or whole.other)
    assert one is not None and one.alone and not one.other
    batch, fewer = reduced(Need(3 * GB, disk)), reduced(Need(1250 * MB, disk))
    assert batch is not None and batch.alone and batch.other == ("evaluation.batch=128",)
    # With so few instances the batch, which was reduced before, need not be.
    assert fewer is not None and fewer.other == ("synthetic.ipc=1",)
    assert (fewer.preset.synthetic.ipc, fewer.preset.evaluation.batch) == (1, 256)
    assert reduced(Need(500 * MB, disk)) is None
    told = reduced(Need(9 * GB, disk), rehearsed=12 * GB)  # more than counted: less is left for what is reduced
    assert told is not None and told.alone


def test_unrolls_and_files_of_experts() -> None:
    """MTT's unrolls have the same gradient; experts that find no place on the disk would end a run at night."""
    mtt = ("dynamic.objective=mtt", "dynamic.mtt.syn_steps=20", "dynamic.mtt.unroll=plain", "evaluation.batch=32")
    mtt = (*mtt, "experts.number=100", "experts.stored=float32")
    kept = reduced(Need(6 * GB, 100 * GB), *mtt)
    assert kept is not None and kept.same == ("dynamic.mtt.unroll=constant",) and not kept.other
    disk = reduced(Need(900 * GB, 4 * GB), *mtt)
    assert disk is not None and not disk.same and disk.other == ("experts.stored=float16", "experts.number=50")


def test_the_command_tells_what_would_fit_and_plans_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is told of too little memory only wants to know what to type."""
    clips = make_clips(tmp_path)
    told: list[Preset] = []

    def rehearse(resolved: Preset, *_: Any) -> Any:
        told.append(resolved)
        part = engine.distilling.plan.Part("evaluate", 1, "networks", 1.0)
        return engine.distilling.plan.Plan((part,), 1, 4, 8, 0, "cpu", 1.0, "", 0, 0, "", reckoned=True)

    monkeypatch.setattr(engine.distilling.plan, "plan", rehearse)
    monkeypatch.setattr(
        module, "measure_kept", lambda *_: Kept({"convnet3d_small": 100 * MB}, {"convnet3d_small": 1}, cores=2)
    )
    monkeypatch.setattr(module, "room", lambda *_: Need(int(1.3 * GB), 100 * GB))
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    changes = [*QUICK, "synthetic.ipc=8", "synthetic.kind=pixels"]
    arguments = ["plan", "--data", str(clips), "--device", "cpu", *(x for one in changes for x in ("--set", one))]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0 and told[-1].synthetic.ipc == 8, answer.output
    assert "It does not fit, as counted: it needs" in answer.stderr
    assert "Would fit, by the same method: OMP_NUM_THREADS=1 before the command" in answer.stderr
    assert "And, with other results: --set synthetic.ipc=2" in answer.stderr
    assert "may stop early" not in answer.stderr and "cuda_graphs" not in answer.stderr
    uncounted = ("--set", "evaluation.selection_stop=learned", "--set", "run.cuda_graphs=true")
    said = CliRunner().invoke(app, [*arguments, *uncounted]).stderr
    assert "may stop early: here all of their epochs count" in said and "all networks of a row at once, which" in said
    answer = CliRunner().invoke(app, [*arguments, "--fit", "--json"])
    assert answer.exit_code == 0 and told[-1].synthetic.ipc == 2, answer.output
    assert json.loads(answer.stdout)["fit"]["needs"]["disk"] > 0
    monkeypatch.setattr(module, "room", lambda *_: Need(100 * MB, 100 * GB))
    answer = CliRunner().invoke(app, [*arguments, "--fit"])
    assert answer.exit_code != 0 and "Nothing that may be reduced" in answer.stderr
