"""If these fail, sets that people have made with the public code cannot be compared with ours, or become other sets."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from engine.errors import DataError, UsageError
from engine.synthetic import StaticDynamic, load_set
from engine.synthetic.reference import IMAGENET, UNIT, Wanted, read_reference
from tests.tiny import compose_by_hand
from tests.tiny_run import make_clips
from vdtui.cli.main import app

OWN = ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
NAMES = ("a", "b", "c")


class Conv3DNet(nn.Module):
    """A module whose state has the names of the public hallucinator's."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv3d(4, 3, 3, padding=1)


def leave(folder: Path, hallucinators: int = 1) -> tuple[torch.Tensor, torch.Tensor, nn.ModuleList]:
    """The files of a run of static and dynamic memory: 3 classes, 2 stills and 2 dynamic memories each."""
    torch.manual_seed(0)
    static, dynamic = torch.randn(6, 3, 8, 8), torch.randn(6, 4, 1, 8, 8)
    networks = nn.ModuleList([Conv3DNet() for _ in range(hallucinators)])
    torch.save(static, folder / "images_best.pt")
    torch.save(dynamic, folder / "dynamic_best.pt")
    torch.save(networks.state_dict(), folder / "weights_best.pt")
    torch.save(torch.zeros(1), folder / "images_400.pt")  # of another step
    return static, dynamic, networks


@pytest.mark.parametrize("hallucinators", [1, 2])
@pytest.mark.parametrize("made", [IMAGENET, OWN])
def test_memories_make_the_clips_that_the_public_code_makes(
    tmp_path: Path, hallucinators: int, made: tuple[tuple[float, ...], tuple[float, ...]]
) -> None:
    """The same pixels, whatever the normalisation of the clips that networks are tested on."""
    static, dynamic, networks = leave(tmp_path, hallucinators)
    synthetic, notes = read_reference(tmp_path, Wanted(NAMES, made=made))
    assert isinstance(synthetic, StaticDynamic) and synthetic.ipc == 1 and "order of the classes" in notes[0]
    clips = synthetic.expand()[0].detach().double().numpy()
    at = 0
    for c in range(3):
        for s in range(2):
            for d in range(2):
                for network in networks:
                    weight, bias = (tensor.detach().numpy() for tensor in network.encoder.parameters())  # type: ignore[union-attr]
                    by_hand = compose_by_hand(static[2 * c + s].numpy(), dynamic[2 * c + d, :, 0].numpy(), weight, bias)
                    ours, theirs = (
                        value * np.reshape(norm[1], (3, 1, 1, 1)) + np.reshape(norm[0], (3, 1, 1, 1))
                        for value, norm in ((clips[at], made), (by_hand, IMAGENET))
                    )
                    assert np.abs(ours - theirs).max() < 1e-5
                    at += 1


def test_clips_of_every_form_are_taken(tmp_path: Path) -> None:
    clips = torch.rand(6, 4, 3, 8, 8)
    torch.save(clips, tmp_path / "images_best.pt")
    torch.save({"image": clips.transpose(1, 2), "label": torch.tensor([0, 0, 1, 1, 2, 2])}, tmp_path / "named.pt")
    torch.save({"image": clips[:, 0]}, tmp_path / "stills.pt")
    wanted = Wanted(NAMES, given=UNIT, made=UNIT)
    for path in (tmp_path, tmp_path / "images_best.pt", tmp_path / "named.pt"):
        synthetic, _ = read_reference(path, wanted)
        assert synthetic.kind == "pixels" and torch.equal(synthetic.expand()[0].transpose(1, 2), clips)
    assert read_reference(tmp_path / "named.pt", Wanted())[0].spec.classes == ("0", "1", "2")
    stills, _ = read_reference(tmp_path / "stills.pt", Wanted(ipc=2, frames=5))
    assert stills.kind == "static-only" and stills.expand()[0].shape == (6, 3, 5, 8, 8)
    shown = read_reference(tmp_path, Wanted(NAMES, given=UNIT, made=OWN))[0]
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in OWN)
    assert torch.allclose(shown.expand()[0] * std + mean, clips.transpose(1, 2), atol=1e-6)


def test_learned_labels_are_not_lost(tmp_path: Path) -> None:
    leave(tmp_path)
    labels = torch.rand(3, 3)
    torch.save(labels, tmp_path / "y_syn_400.pt")
    assert torch.equal(read_reference(tmp_path, Wanted(NAMES))[0].soft_labels[:, 0], labels)  # type: ignore[index]
    torch.save(torch.rand(2, 3), tmp_path / "y_syn_400.pt")
    with pytest.raises(DataError, match="Soft labels"):
        read_reference(tmp_path, Wanted(NAMES))


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ran",)


def test_nothing_is_run_and_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"image": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(DataError, match="more than tensors"):
        read_reference(tmp_path / "evil.pt", Wanted(NAMES))
    assert not (tmp_path / "ran").exists()
    leave(tmp_path)
    (tmp_path / "images_best.pt").unlink()
    (tmp_path / "images_400.pt").unlink()
    with pytest.raises(UsageError) as refusal:
        read_reference(tmp_path, Wanted(NAMES))
    assert "--static" in refusal.value.hint
    torch.save({"image": torch.randn(6, 3, 8, 8)}, tmp_path / "stage1.pt")
    assert read_reference(tmp_path, Wanted(NAMES), tmp_path / "stage1.pt")[0].kind == "static-dynamic"
    for wanted, told in ((Wanted(("a",) * 4), "not those of 4 classes"), (Wanted(), "how many classes")):
        with pytest.raises(UsageError, match=told):
            read_reference(tmp_path, wanted, tmp_path / "stage1.pt")
    (tmp_path / "weights_best.pt").write_bytes(b"torn")
    with pytest.raises(DataError):
        read_reference(tmp_path, Wanted(NAMES), tmp_path / "stage1.pt")


def test_an_imported_set_can_be_judged_shown_and_exported(tmp_path: Path) -> None:
    """By the command, on real clips: names and normalisation are those of the data."""
    data = make_clips(tmp_path, per_class=4)
    torch.save(torch.randn(2, 8, 3, 64, 64), tmp_path / "images_best.pt")

    def call(*words: object) -> str:
        answer = CliRunner().invoke(app, [str(word) for word in words])
        assert answer.exit_code == 0, answer.output
        return answer.stdout

    made = tmp_path / "theirs.safetensors"
    said = json.loads(call("import", tmp_path / "images_best.pt", "--data", data, "--output", made, "--json"))
    assert said["ipc"] == 1 and said["classes"] == list(load_set(made).synthetic.spec.classes)
    judged = call("evaluate", made, "--data", data, "--epochs", 1, "--repeats", 1, "--runs-dir", tmp_path, "--json")
    assert json.loads(judged)["results"][0]["what"] == "pixels"
    exported = tmp_path / "out.pt"
    call("export", made, "--format", "pt", "--precision", "uint8", "--output", exported)
    assert "imported from images_best.pt" in call("data", exported)
    again = call("evaluate", exported, "--data", data, "--epochs", 1, "--repeats", 1, "--runs-dir", tmp_path, "--json")
    assert json.loads(again)["results"][0]["precision"] == "uint8"
