"""If these fail, somebody who gets an export without this tool cannot train on it, or trusts numbers of other files."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import DataError
from engine.export.card import About
from engine.export.write import Wish, write
from engine.synthetic import ClipSpec, LoadedSet, Pixels, Provenance, StaticDynamic, load_set, load_synthetic
from engine.synthetic.files import save_synthetic
from engine.synthetic.formation import Formation
from tests.engine.export.made_up import SCRIPT, make_set, noisy_set, result
from tests.tiny import make_spec, make_static_dynamic

NAMES = ("zebra 10", "zebra 9", SCRIPT, "Zebra/9", "", "..", "a\nb", "ünï", "e", "f", "g")
"""Eleven names that loaders would order in other ways, or that no folder may have."""
TRAINABLE = ("pt", "h5", "folders", "frames", "webdataset", "safetensors")
OUTPUT = {"pt": "my set.pt", "h5": "set.h5", "safetensors": "set.safetensors", "set": "set.vds"}

PLANNED = {
    "model": "convnet3d_small",
    "recipe": {
        "epochs": 7,
        "batch": 5,
        "lr": 0.02,
        "optimiser": "adamw",
        "momentum": None,
        "weight_decay": 0.01,
        "labels": "hard",
        "augment": "resized crop and flip",
    },
}
"""What a run says of the evaluation that it has not come to."""


def separable(kind: str, soft: bool = False, ipc: int = 2, size: int = 16) -> Pixels | StaticDynamic:
    """A set whose classes are plain colours, which every network learns to tell apart."""
    if kind == "static-dynamic":
        return make_set(("red", "green"), size=size, frames=8)
    spec = ClipSpec(("red", "green", "blue"), 8, size, size, (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
    colours = torch.eye(3).view(3, 1, 1, 3, 1, 1) * 160 + 40
    noise = torch.randint(-20, 20, (3, ipc, 8, 3, size, size), generator=torch.Generator().manual_seed(0))
    levels = (colours + noise).round()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.mean, spec.std))
    labels = (torch.eye(3) - 1 / 3).unsqueeze(1).repeat(1, 2, 1) + torch.tensor([0.0, 0.125]).view(1, 2, 1)
    return Pixels(spec, (levels / 255 - mean) / std, soft_labels=labels if soft else None)


def about(tmp_path: Path, synthetic: Any, **recipe: Any) -> About:
    """What a run says of ``synthetic``: an accuracy on the test split, and the recipe by which it was measured."""
    known = {"epochs": 5, "batch": 4, "lr": 0.01, "optimiser": "sgd", "momentum": 0.9, "weight_decay": 5e-4}
    path = tmp_path / "best.safetensors"
    save_synthetic(path, synthetic, Provenance("mine", 7, 20, "strict", "val", 0.5, objective="dm"))
    row = result(synthetic.kind, (1.0, 1.0, 1.0), 3, recipe=known | recipe)
    meta = {
        "command": ["/usr/bin/vdtui", "distill", "--data", "a `b`.h5"],
        "versions": {"torch": "2.11"},
        "tool": "vdtui 0.2",
        "dataset": "toys",
        "data_fingerprint": "abc",
    }
    return About(load_set(path), path, PLANNED, False, "my run", meta, "folders", row)


def export(tmp_path: Path, what: About, kind: str, precision: str = "float32") -> Path:
    output = tmp_path / "out" / OUTPUT.get(kind, kind)
    output.parent.mkdir(exist_ok=True)
    format = "folders" if kind == "frames" else kind
    exported = write(what, Wish(format, output, precision=precision, frames=kind == "frames"))
    assert exported.card is not None and exported.card.is_file()
    return exported.card


def code_of(card: Path) -> str:
    found = re.search(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), re.DOTALL)
    assert found, card.read_text(encoding="utf-8")
    return found[1]


def run_code(card: Path, more: str = "", training: bool = False) -> dict[str, Any]:
    """Run the card's code in its folder, with the training or without, and return its variables."""
    code = code_of(card) if training else code_of(card).partition("from torch import nn")[0]
    assert "engine" not in code and "vdtui" not in code
    found: dict[str, Any] = {}
    before = Path.cwd()
    os.chdir(card.parent)
    try:
        torch.manual_seed(0)
        exec("import torch\n" + code + more, found)
    finally:
        os.chdir(before)
    return found


TESTED = """
network.eval()
with torch.no_grad():
    probe = clips + 0.3 * torch.randn(clips.shape)
    wanted = targets if targets.dim() == 1 else targets.argmax(1)
    assert (network(probe).argmax(1) == wanted).float().mean() >= 0.99, "not the run's accuracy"
"""


@pytest.mark.parametrize("kind", TRAINABLE)
def test_every_export_is_trained_on_without_this_package(tmp_path: Path, kind: str) -> None:
    """The card's code, as it stands, ends with a network as good as the run's, on the same clips and labels."""
    synthetic = separable("static-dynamic" if kind == "safetensors" else "pixels", ipc=1, size=64)
    card = export(tmp_path, about(tmp_path, synthetic, epochs=5 * synthetic.variants), kind)
    read = run_code(card, TESTED, training=True)
    clips, labels = synthetic.expand()
    shown = synthetic.spec.to_pixels(clips)
    exact = clips if kind not in ("folders", "frames") else synthetic.spec.normalise(shown)
    assert torch.equal(read["targets"], labels) and (read["clips"] - exact).abs().max() < 1e-4


def test_clips_that_share_a_picture_are_cut_out_of_it(tmp_path: Path) -> None:
    """Whole pictures as clips would be other clips, and too few for the labels."""
    spec = separable("pixels").spec
    pixels = torch.randn(3, 2, 8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    synthetic = Pixels(spec, pixels, formation=Formation(spec, 2))
    read = run_code(export(tmp_path, about(tmp_path, synthetic), "safetensors"))
    clips, labels = synthetic.expand()
    assert torch.equal(read["targets"], labels) and (read["clips"] - clips).abs().max() < 1e-4


@pytest.mark.parametrize("kind", [*TRAINABLE, "set"])
def test_soft_labels_go_along_with_their_meaning_or_are_refused(tmp_path: Path, kind: str) -> None:
    """A set whose labels were learned is another set without them, so no format may drop them unsaid."""
    synthetic = separable("pixels", soft=True)
    what = about(tmp_path, synthetic, labels="own", epochs=1)
    card = export(tmp_path, what, kind)
    assert "squared error" in card.read_text(encoding="utf-8")
    if kind != "set":
        assert torch.equal(run_code(card)["targets"], synthetic.expand()[1])
    back = load_synthetic(card.parent if card.name == "README.md" else card.with_suffix(""))
    assert torch.equal(back.expand()[1], synthetic.expand()[1])
    hard = about(tmp_path, synthetic, epochs=1)  # judged by classes, so the card trains on classes
    if kind in ("pt", "webdataset"):
        (tmp_path / "hard").mkdir()
        assert run_code(export(tmp_path / "hard", hard, kind))["targets"].tolist() == [0, 0, 1, 1, 2, 2]
    looked_at = write(what, Wish("gif", tmp_path / "look.gif"))
    assert any("soft labels" in note for note in looked_at.notes)


@pytest.mark.parametrize("kind", TRAINABLE)
@pytest.mark.parametrize("precision", ["uint8", "float16"])
def test_other_precisions_are_loaded_as_they_were_written(tmp_path: Path, kind: str, precision: str) -> None:
    if kind in ("folders", "frames"):
        pytest.skip("pixels have one precision")
    synthetic = separable("pixels")
    card = export(tmp_path, about(tmp_path, synthetic, epochs=1), kind, precision)
    clips = run_code(card)["clips"]
    assert clips.dtype == torch.float32 and (clips - synthetic.expand()[0]).abs().max() < 0.02
    back = load_set(card.parent if card.name == "README.md" else card.with_suffix(""))
    assert back.precision == precision and (back.synthetic.expand()[0] - clips).abs().max() < 1e-5
    assert back.provenance.accuracy_as == "float32" and back.provenance.accuracy == 0.5
    assert "Measured of the set as float32, not of these files" in card.read_text(encoding="utf-8")


@pytest.mark.parametrize(("statics", "hallucinators", "side"), [(2, 2, None), (0, 1, None), (1, 1, 2)])
def test_the_tensors_of_memories_are_made_into_clips_by_the_card(
    tmp_path: Path, statics: int, hallucinators: int, side: int | None
) -> None:
    spec = make_spec(("a", "b"), frames=4, height=8)
    synthetic = make_static_dynamic(spec, 2, statics, 2, hallucinators=hallucinators, side=side)
    for precision in ("float32", "uint8"):
        folder = tmp_path / precision
        folder.mkdir()
        path = folder / "best.safetensors"
        save_synthetic(path, synthetic, Provenance())
        card = export(folder, About.of_file(path, lambda step_size: PLANNED), "safetensors", precision)
        clips = run_code(card)["clips"]
        assert (clips - load_synthetic(folder / "out" / "set.safetensors").expand()[0]).abs().max() < 1e-4


def test_a_card_says_all_that_is_known_and_what_is_not(tmp_path: Path) -> None:
    known = export(tmp_path, about(tmp_path, separable("pixels")), "pt", "uint8").read_text(encoding="utf-8")
    for fact in (
        "`` vdtui distill --data 'a `b`.h5' ``",
        "Preset: mine; seed 7; step 20",
        "torch 2.11",
        "0. red\n1. green\n2. blue",
        "mean 0.5, 0.4, 0.3",
        "(3 networks, standard deviation",
        "Protocol strict",
        "network convnet3d",
        "on: val",
        "epochs 5;",
        "not of these files, which hold uint8",
        "terms",
        "bytes as float32",
    ):
        assert fact in known, fact
    assert "top-5" not in known, "of three classes it says nothing"
    (tmp_path / "alone").mkdir()
    alone = About.of_file(tmp_path / "best.safetensors", lambda step_size: PLANNED)
    unknown = export(tmp_path / "alone", alone, "gif").read_text(encoding="utf-8")
    assert "Command: unknown" in unknown and "not a test accuracy" in unknown and "looking at" in unknown


def test_without_a_result_the_recipe_is_that_of_the_preset_or_said_to_be_assumed(tmp_path: Path) -> None:
    """The code trained by values that were nobody's: 60 epochs in batches of 16."""
    known = about(tmp_path, separable("pixels", size=64))
    unmeasured = dataclasses.replace(known, result=None, layout="ucf101")
    for what, words in (
        (unmeasured, "recipe of its preset"),
        (dataclasses.replace(unmeasured, assumed=True), "Assumed"),
    ):
        (tmp_path / "out" / "set.h5").unlink(missing_ok=True)
        (tmp_path / "out" / "set.h5.md").unlink(missing_ok=True)
        card = export(tmp_path, what, "h5")
        text, code = card.read_text(encoding="utf-8"), code_of(card)
        assert words in text and "7 epochs in batches of 5, AdamW at 0.02, weight decay 0.01" in text
        assert "leaves out augmentation" in text and "Soomro" in text
        assert "batch_size=5" in code and "range(7)" in code and "AdamW" in code and "block(3, 16, 1)" in code


def test_what_came_out_of_a_codec_is_what_was_measured(tmp_path: Path) -> None:
    """The card disowned the accuracy of the very clips that networks were trained on."""
    known = about(tmp_path, separable("pixels", size=64))
    path = tmp_path / "coded.vds"
    save_synthetic(path, known.loaded.synthetic, known.loaded.provenance, "h264-28")
    row = {**(known.result or {}), "storage": "h264-28"}
    coded = dataclasses.replace(known, loaded=load_set(path), source=path, result=row)
    for precision, words in (("float32", "what came out of it"), ("uint8", "not of these files")):
        (tmp_path / precision).mkdir()
        text = export(tmp_path / precision, coded, "pt", precision).read_text(encoding="utf-8")
        assert f"Measured of the set as h264-28{'; these files hold' if precision == 'float32' else ''}" in text
        assert words in text


def test_class_numbers_are_the_same_for_every_loader(tmp_path: Path) -> None:
    """`zebra 9` and `zebra 10` swapped places for whoever sorts folders; a label must mean one class everywhere."""
    spec = make_spec(NAMES, frames=2, height=16)
    synthetic = Pixels(spec, torch.rand(len(NAMES), 11, 2, 3, 16, 16) - 0.5)
    what = About(LoadedSet(synthetic, Provenance(), "float32"), tmp_path / "none", PLANNED)
    for kind in ("folders", "frames", "webdataset"):
        export(tmp_path, what, kind)
    out = tmp_path / "out"
    assert len((out / "folders" / "classes.txt").read_text(encoding="utf-8").splitlines()) == len(NAMES)
    for kind in ("folders", "frames"):
        folders = sorted(path.name for path in (out / kind).iterdir() if path.is_dir())
        rows = [line.split(" ") for line in (out / kind / "list.txt").read_text(encoding="utf-8").splitlines()]
        assert len(rows) == len(NAMES) * 11 and rows == sorted(rows, key=lambda row: row[0])
        for row in rows:
            assert folders.index(row[0].partition("/")[0]) == int(row[-1]) and (out / kind / row[0]).exists()
            assert len(row) == (2 if kind == "folders" else 3)
    for kind in ("folders", "frames", "webdataset"):
        back = load_synthetic(out / kind)
        assert back.spec.classes == tuple(name.encode("utf-8", "replace").decode() for name in NAMES)
        assert (back.expand()[0] - synthetic.expand()[0]).abs().max() < 0.02


def test_what_pixels_cannot_show_is_said(tmp_path: Path) -> None:
    loaded = noisy_set(("red", "green"))
    loaded.synthetic.static *= 4  # type: ignore[attr-defined]
    what = About(loaded, tmp_path / "none", PLANNED)
    exported = write(what, Wish("folders", tmp_path / "folders"))
    assert any("beyond black or white" in note for note in exported.notes)
    assert "beyond black or white" in (tmp_path / "folders" / "README.md").read_text(encoding="utf-8")
    assert not write(what, Wish("pt", tmp_path / "set.pt")).notes


@pytest.mark.parametrize("name", ["index.json", "list"])
def test_damaged_exports_and_those_for_looking_are_refused_in_words(tmp_path: Path, name: str) -> None:
    what = About(noisy_set(("red", "green")), tmp_path / "none", PLANNED)
    write(what, Wish("folders", tmp_path / "folders"))
    index = json.loads((tmp_path / "folders" / "index.json").read_text())
    if name == "index.json":
        index["samples"][0]["path"] = "../../etc/passwd"
    else:
        index["classes"] = index["classes"][:1] * 3
    (tmp_path / "folders" / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="cannot be read as an exported set"):
        load_synthetic(tmp_path / "folders")
    write(what, Wish("gif", tmp_path / "gif"))
    with pytest.raises(DataError, match="looking at"):
        load_synthetic(tmp_path / "gif")
    torch.save({"image": torch.zeros(2)}, tmp_path / "foreign.pt")
    with pytest.raises(DataError) as refusal:
        load_synthetic(tmp_path / "foreign.pt")
    assert "vdtui import" in refusal.value.hint
