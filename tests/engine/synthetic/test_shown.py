"""Compressed sets in previews and exports: if these fail, a user sees or hands out other clips than were learned."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from engine.data.spec import ClipSpec
from engine.distilling.previews import save_preview
from engine.export.media import export_gif, export_mp4, export_png
from engine.export.tensors import export_safetensors
from engine.models.hallucinator import Hallucinator
from engine.synthetic import LoadedSet, Pixels, Provenance, StaticDynamic, StillVideo, SyntheticSet, Temporal, load_set
from tests.tiny import enlarge_by_hand

SPEC = ClipSpec(("red", "blue"), 6, 16, 16, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def noise(*shape: int) -> torch.Tensor:
    return 0.5 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


def compressed(side: int = 4) -> StaticDynamic:
    """Two hallucinators, the second of which shows everything darker; soft labels; small dynamics of few frames."""
    temporal = Temporal(6, 2, 1, "linear")
    hallucinator = Hallucinator.identity(SPEC.std, 2)
    with torch.no_grad():
        hallucinator.bias[1] = -0.5
    memories = noise(2, 1, 3, 16, 16), noise(2, 1, temporal.stored, 1, side, side)
    return StaticDynamic(SPEC, 1, *memories, hallucinator, temporal=temporal, soft_labels=noise(2, 1, 2))


def others() -> list[SyntheticSet]:
    temporal = Temporal(6, 1, 2)
    return [
        Pixels(SPEC, noise(2, 1, 2, 3, 16, 16), temporal=temporal),
        StillVideo(SPEC, 1, noise(2, 1, 3, 16, 16), soft_labels=noise(2, 1, 2)),
        StaticDynamic(SPEC, 1, noise(2, 0, 3, 16, 16), noise(2, 2, 6, 1, 16, 16), Hallucinator.identity(SPEC.std)),
        one_for_each_class(),
    ]


def one_for_each_class() -> StaticDynamic:
    """Of the classes' own hallucinators the second shows everything darker."""
    hallucinator = Hallucinator.identity(SPEC.std, 2)
    with torch.no_grad():
        hallucinator.bias[1] = -0.5
    memories = noise(2, 2, 3, 16, 16), noise(2, 1, 6, 1, 16, 16)
    return StaticDynamic(SPEC, 1, *memories, hallucinator, per_class=True)


EVERY = [compressed(), *others()]


@pytest.mark.parametrize("synthetic", EVERY, ids=lambda each: each.kind)
def test_previews_hold_whole_clips(synthetic: SyntheticSet, tmp_path: Path) -> None:
    """The gallery plays the clips as networks see them: all frames, in the clip's size."""
    with np.load(tmp_path / save_preview(tmp_path, "dynamic", 3, synthetic)) as arrays:
        shown = arrays["clips"]
    clips = synthetic.spec.to_pixels(synthetic.expand()[0].detach()).numpy()
    assert shown.shape == (2, synthetic.clips_per_class, 6, 16, 16, 3)
    assert np.array_equal(shown, clips.reshape(shown.shape))


def test_a_preview_s_dynamic_memory_is_what_the_hallucinator_sees(tmp_path: Path) -> None:
    """Enlarged and stretched, against explicit loops: beside the clip that it moves, frame by frame."""
    synthetic = compressed()
    with np.load(tmp_path / save_preview(tmp_path, "dynamic", 3, synthetic)) as arrays:
        shown = arrays["dynamic"]
    assert shown.shape == (2, 1, 6, 16, 16)
    matrix = synthetic.temporal.matrix().double().numpy()  # type: ignore[union-attr]
    for label in range(2):
        large = np.stack([enlarge_by_hand(frame, 16, 16) for frame in synthetic.dynamic[label, 0, :, 0].numpy()])
        expected = (np.einsum("fs,shw->fhw", matrix, large) / 3 * 127 + 128).clip(0, 255)
        assert np.abs(shown[label, 0] - expected).max() <= 0.501


def test_a_preview_of_many_large_classes_is_made_smaller(tmp_path: Path) -> None:
    """Clips, stills and dynamics in one size, also where the dynamic memory is stored smaller than the preview."""
    spec = ClipSpec(tuple("abc"), 4, 80, 80, SPEC.mean, SPEC.std)
    synthetic = StaticDynamic(
        spec, 1, noise(3, 2, 3, 80, 80), noise(3, 2, 4, 1, 10, 10), Hallucinator.identity(spec.std)
    )
    with np.load(tmp_path / save_preview(tmp_path, "dynamic", 0, synthetic)) as arrays:
        shapes = {name: arrays[name].shape for name in ("clips", "static", "dynamic")}
    assert shapes == {"clips": (3, 2, 4, 64, 64, 3), "static": (3, 2, 64, 64, 3), "dynamic": (3, 2, 4, 64, 64)}


@pytest.mark.parametrize("synthetic", EVERY, ids=lambda each: each.kind)
def test_pictures_are_those_of_the_clips(synthetic: SyntheticSet, tmp_path: Path) -> None:
    """Every frame of every clip, in the order of ``expand``, exactly; and one grid of everything."""
    export_png(synthetic, tmp_path / "stills")
    clips = synthetic.spec.to_pixels(synthetic.expand()[0].detach()).numpy()
    number = synthetic.clips_per_class
    for label, name in enumerate(SPEC.classes):
        for k in range(number):
            sheet = np.array(Image.open(tmp_path / "stills" / f"{label:02d}_{name}" / f"{k + 1}.png"))
            assert np.array_equal(sheet, np.concatenate(list(clips[label * number + k]), axis=1))
    assert export_png(synthetic, tmp_path / "all.png").nbytes > 0


@pytest.mark.parametrize("synthetic", EVERY, ids=lambda each: each.kind)
def test_videos_have_all_frames(synthetic: SyntheticSet, tmp_path: Path) -> None:
    """A clip of which two frames are stored is a video of six."""
    export_mp4(synthetic, tmp_path / "clips")
    with av.open(str(next((tmp_path / "clips").glob("*_blue")) / "1.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert np.stack(frames).shape == (6, 16, 16, 3)
    exported = export_gif(synthetic, tmp_path / "all.gif")
    assert exported.notes == () and exported.nbytes > 0


@pytest.mark.parametrize("precision", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("synthetic", EVERY, ids=lambda each: each.kind)
def test_tensors_are_handed_out_as_small_as_was_said(synthetic: SyntheticSet, precision: str, tmp_path: Path) -> None:
    """At each precision: the promised bytes, hard labels beside them, and clips that are nearly those of the set."""
    output = tmp_path / "set.safetensors"
    export_safetensors(LoadedSet(synthetic, Provenance(), "float32"), output, precision)
    content = output.read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert json.loads(content[8 : 8 + length])["labels"]["dtype"] == ("I64" if synthetic.soft_labels is None else "F32")
    hard = 0 if synthetic.soft_labels is not None else 2 * 8
    assert len(content) - 8 - length - hard == synthetic.nbytes(precision)
    clips, targets = load_set(output).synthetic.expand()
    wanted, labels = synthetic.expand()
    assert torch.equal(targets, labels) and torch.allclose(clips, wanted, atol=0.05)
