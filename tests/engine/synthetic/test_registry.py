"""All kinds of sets, as the registry has them: what holds for one must hold for the next that is added.

No kind is named here but those that need a stage before them. A kind that fails one of these would lose its user a run:
a file that cannot be read, a memory that never moves, a plan that counts something else.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config import Preset, load_preset
from engine.config.kinds import KINDS, LABELS, Pictures
from engine.distilling.previews import save_preview
from engine.errors import PresetError
from engine.events import STAGES
from engine.export.gallery import class_pictures
from engine.export.media import export_png
from engine.selection import select_coreset
from engine.synthetic import (
    Provenance,
    Start,
    StaticImages,
    SyntheticSet,
    encode_set,
    load_set,
    save_synthetic,
    set_class,
    to_bytes,
)
from tests.tiny import make_real, make_spec
from vdtui.tui.previews import load_preview

SPEC = make_spec("abc", frames=4, height=16)
CLIP = Pictures(3, SPEC.frames, SPEC.height, SPEC.width)
MADE = [name for name, kind in KINDS.items() if kind.made_by]
VARIANTS: dict[str, dict[str, Any]] = {
    "from clips": {},
    "from noise": {"dynamic.init": "noise", "static.init": "noise"},
    "two instances": {"synthetic.ipc": 2},
    "few frames": {"synthetic.n_syn": 2},
    "small": {"synthetic.dynamic_size": 8},
    "without stills": {"synthetic.statics_per_instance": 0},
    "hallucinators per class": {"synthetic.hallucinator": "per-class"},
    "hallucinators": {"synthetic.hallucinators": 2},
    "labels": {"synthetic.labels": "learned", "dynamic.objective": "frepo", "evaluation.labels": "own"},
}


def preset_of(name: str, variant: str, seed: int = 0) -> Preset:
    """A preset of the kind ``name``, or, of one that none may name, for the stage that makes it."""
    kind = {"synthetic.kind": name} if KINDS[name].in_presets else {}
    return load_preset("default", {**kind, **VARIANTS[variant], "run.seed": seed})


def cells() -> Iterator[Any]:
    """Every kind in every variant that its preset allows."""
    for name in MADE:
        for variant in VARIANTS:
            try:
                preset_of(name, variant)
            except PresetError:
                continue
            if KINDS[name].in_presets or variant in ("from clips", "from noise"):
                yield pytest.param(name, variant, id=f"{name}, {variant}")


every = pytest.mark.parametrize(("name", "variant"), list(cells()))


def made(name: str, variant: str, seed: int = 0) -> tuple[SyntheticSet, Preset]:
    """The set before the first step of its last stage, and its preset."""
    preset = preset_of(name, variant, seed)
    real, kind = make_real(SPEC, (3, 2, 4)), KINDS[name]
    stages = kind.stages(preset.synthetic)
    static = StaticImages.start(Start(preset, real)).static if "static" in stages else None
    chosen = select_coreset(real, "random", preset.synthetic.ipc, seed) if "select" in stages else None
    learned = preset.synthetic.labels == "learned" and "dynamic" in stages
    number = len(SPEC.classes)
    labels = torch.full((number, preset.synthetic.ipc, number), 0.5) if learned else None
    return set_class(name).start(Start(preset, real, static, labels, chosen)), preset


@every
def test_description_and_class_agree(name: str, variant: str) -> None:
    """The size in a plan, the stages of a stepper and the rows of a table would be those of another set."""
    synthetic, preset = made(name, variant)
    kind, section = KINDS[name], preset.synthetic
    assert synthetic.kind == name and synthetic.description is kind
    tensors = synthetic.tensors()
    soft = tensors.pop(LABELS.name, None)
    assert {key: tuple(tensor.shape) for key, tensor in tensors.items()} == kind.shapes(section, len("abc"), CLIP)
    assert [part.name for part in kind.parts] == list(tensors)
    assert synthetic.stored_values == kind.stored_values(section, len("abc"), CLIP)
    assert (soft is not None) == (variant == "labels" and kind.in_stage_2)
    stages = kind.stages(section)
    assert list(stages) == [stage for stage in STAGES if stage in stages]
    filled = {part.stage for part in kind.parts if tensors[part.name].numel()}
    assert filled == set(stages)
    assert list(synthetic.baselines()) == list(kind.baselines(section))
    assert all(KINDS[baseline].contains == () for baseline in kind.contains)


@every
def test_parts_say_what_they_are(name: str, variant: str) -> None:
    """An optimiser without a rate, or a codec that takes coefficients for pictures, ends a run."""
    synthetic, preset = made(name, variant)
    for part in KINDS[name].parts:
        tensor = synthetic.tensors()[part.name]
        assert part.stage in STAGES
        assert isinstance(preset.value(part.rate), float) if part.rate else not KINDS[name].learned
        pictures = part.pictures(tuple(tensor.shape))
        assert (pictures is None) == (part.channels == 0)
        if pictures is not None:
            assert pictures.channels in (1, 3) and tensor.shape[:2].numel() * torch.Size(pictures).numel() == (
                tensor.numel()
            )


@every
def test_a_start_is_a_function_of_the_seed(name: str, variant: str) -> None:
    """Who repeats a run would get another one."""
    first, again, other = (made(name, variant, seed)[0].tensors() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert all(torch.isfinite(tensor).all() for tensor in first.values())
    assert any(not torch.equal(first[key], other[key]) for key in first)


@every
def test_every_learned_part_has_a_gradient(name: str, variant: str) -> None:
    """A memory that nothing reaches stays as it started, and is stored and counted for nothing."""
    synthetic, _ = made(name, variant)
    if not KINDS[name].learned:
        return
    learned = {key: tensor.requires_grad_() for key, tensor in synthetic.parameters().items()}
    drawn = [synthetic.draw(torch.Generator().manual_seed(seed)) for seed in range(8)]
    torch.stack([(one.clips**2).mean() + (one.targets.float() ** 2).mean() for one in drawn]).sum().backward()
    for key, tensor in learned.items():
        assert tensor.grad is not None and torch.isfinite(tensor.grad).all() and tensor.grad.abs().sum() > 0, key


@every
def test_projections_have_the_shape_of_a_memory(name: str, variant: str) -> None:
    """Whitened steps would fail at the first step, or be smooth along the wrong axes."""
    synthetic, _ = made(name, variant)
    clips = make_real(SPEC, (3, 2, 4)).clips(torch.arange(5))
    for part in KINDS[name].parts:
        if part.smooth:
            projected = synthetic.project(part.name, clips)
            assert projected.shape == (5, *synthetic.tensors()[part.name].shape[2:]) and torch.isfinite(projected).all()
            assert all(-projected.dim() < axis < 0 for axis in part.smooth)


@pytest.mark.parametrize("precision", ["float32", "float16", "uint8"])
@every
def test_a_set_comes_back_from_its_file(name: str, variant: str, precision: str, tmp_path: Path) -> None:
    """A run ends in a file: what cannot be read again, or reads as other clips, was learned for nothing."""
    synthetic, _ = made(name, variant)
    path = tmp_path / "set.safetensors"
    save_synthetic(path, synthetic, Provenance("a title", 3), precision)
    loaded = load_set(path)
    assert (loaded.synthetic.kind, loaded.precision) == (name, precision)
    assert loaded.synthetic.metadata() == synthetic.metadata()
    expected, found = synthetic.tensors(), loaded.synthetic.tensors()
    assert expected.keys() == found.keys()
    step = {"float32": 0.0, "float16": 2.0**-10, "uint8": 1 / 255}[precision]
    for key, tensor in expected.items():
        assert found[key].shape == tensor.shape
        if not tensor.numel():
            continue
        wide = float(tensor.max() - tensor.min()) if precision == "uint8" else float(tensor.abs().max())
        bound = step * wide if KINDS[name].part(key).channels else 0.0
        assert (found[key] - tensor).abs().max() <= 0.51 * bound + (1e-6 if bound else 0), key
    assert loaded.synthetic.stored_values == synthetic.stored_values
    if precision == "float32":
        assert to_bytes(loaded.synthetic, loaded.provenance) == path.read_bytes()
        assert all(torch.equal(*pair) for pair in zip(synthetic.expand(), loaded.synthetic.expand(), strict=True))


@every
def test_a_set_goes_through_codecs(name: str, variant: str) -> None:
    """The comparison at equal bytes would leave the kind out."""
    synthetic, _ = made(name, variant)
    parts = [part for part in KINDS[name].parts if part.channels]
    how = "jpeg-90+h264-10" if len({part.still for part in parts}) == 2 else "jpeg-90"
    stored = encode_set(synthetic, how)
    shown = stored.decode()
    assert shown.kind == name and shown.metadata() == synthetic.metadata() and stored.nbytes == len(stored.blob)
    for key, tensor in synthetic.tensors().items():
        other = shown.tensors()[key]
        assert other.shape == tensor.shape
        if not KINDS[name].part(key).channels:
            rounding = 0.0 if key == LABELS.name else 1 / 2048  # float16
            assert torch.allclose(other, tensor, rtol=rounding, atol=rounding / 2**14)


@every
def test_a_set_can_be_looked_at(name: str, variant: str, tmp_path: Path) -> None:
    """Nobody would see what was learned: in the dashboard, the report, and as pictures."""
    synthetic, _ = made(name, variant)
    preview = load_preview(tmp_path, save_preview(tmp_path, "dynamic", 0, synthetic))
    assert preview.classes == SPEC.classes and preview.clips.shape[2] == synthetic.frames
    shown = synthetic.shown_parts(1, most=2)
    assert shown.stills.shape[1:] == (3, 16, 16) and shown.signed.shape[1:] == (4, 16, 16)
    assert len(shown.stills) <= 2 and len(shown.signed) <= 2
    pictures = class_pictures(synthetic, 1, clips=2, memories=1)
    assert pictures.clips or pictures.statics
    assert export_png(synthetic, tmp_path / "all.png").files
