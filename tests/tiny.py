"""Small made-up things for the tests of the engine's core: no files, no videos, nothing that takes time."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from hypothesis import settings
from torch import nn

from engine.data.batches import RealClips
from engine.data.spec import ClipSpec
from engine.models.hallucinator import Hallucinator
from engine.synthetic import StaticDynamic, Temporal

settings.register_profile("patient", deadline=None, max_examples=60)
settings.load_profile("patient")  # a busy machine is no reason to fail

ROOT = Path(__file__).parents[1]
PYTHON = sys.executable


class FakeView:
    """A split view in memory: ``pixels`` uint8 (N, T, H, W, 3)."""

    def __init__(self, pixels: np.ndarray, labels: Sequence[int], video: Sequence[int] | None = None) -> None:
        self.pixels = pixels
        self.labels = np.asarray(labels, dtype=np.int64)
        self.video = np.arange(len(pixels)) if video is None else np.asarray(video, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def identity(self) -> str:
        return hashlib.sha256(self.pixels.tobytes() + self.labels.tobytes()).hexdigest()

    def clips(self, indices: Any) -> np.ndarray:
        return self.pixels[indices]

    def frames_at(self, indices: Any, frame_numbers: Any) -> np.ndarray:
        return self.pixels[indices, frame_numbers]


class TinyClassifier(nn.Module):
    """A video network that takes no time to train: one linear layer."""

    def __init__(self, classes: int, frames: int, size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * frames * size * size, classes)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.layer(clips.flatten(1))


def make_spec(
    classes: Sequence[str] = ("a", "b"), frames: int = 3, height: int = 4, width: int | None = None
) -> ClipSpec:
    return ClipSpec(
        tuple(classes), frames, height, height if width is None else width, (0.45, 0.5, 0.4), (0.25, 0.2, 0.3)
    )


def make_pixels(count: int, spec: ClipSpec, seed: int = 0) -> np.ndarray:
    shape = (count, spec.frames, spec.height, spec.width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def make_real(spec: ClipSpec, counts: Sequence[int], seed: int = 0, still: bool = False) -> RealClips:
    """``counts[c]`` random clips of class c, in mixed order; all frames of a clip the same if ``still``."""
    pixels = make_pixels(sum(counts), spec, seed)
    if still:
        pixels = np.repeat(pixels[:, :1], spec.frames, axis=1)
    labels = np.random.default_rng(seed + 1).permutation(np.repeat(np.arange(len(counts)), counts))
    return RealClips(cast(Any, FakeView(pixels, labels)), spec, torch.device("cpu"))


def normalised(pixels: np.ndarray, spec: ClipSpec) -> np.ndarray:
    """float64 (N, 3, ..., H, W) of uint8 (N, ..., H, W, 3), channel by channel."""
    channels = [(pixels[..., c].astype(np.float64) / 255 - spec.mean[c]) / spec.std[c] for c in range(3)]
    return np.stack(channels, axis=1)


def make_static_dynamic(
    spec: ClipSpec,
    ipc: int = 1,
    statics: int = 2,
    dynamics: int = 2,
    seed: int = 0,
    *,
    temporal: Temporal | None = None,
    side: int | None = None,
    hallucinators: int = 1,
    per_class: bool = False,
    train_static: bool = False,
    soft: bool = False,
) -> StaticDynamic:
    """Random memories and hallucinators (one for each class with ``per_class``); dynamics are squares of ``side``."""
    rng = torch.Generator().manual_seed(seed)
    number = len(spec.classes)
    static = torch.randn(number, ipc * statics, 3, spec.height, spec.width, generator=rng)
    stored, size = temporal.stored if temporal else spec.frames, (side, side) if side else (spec.height, spec.width)
    dynamic = torch.randn(number, ipc * dynamics, stored, 1, *size, generator=rng)
    hallucinator = Hallucinator(number if per_class else hallucinators)
    with torch.no_grad():
        for parameter in hallucinator.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=rng))
    labels = torch.randn(number, ipc, number, generator=rng) if soft else None
    return StaticDynamic(
        spec,
        ipc,
        static,
        dynamic,
        hallucinator,
        temporal=temporal,
        train_static=train_static,
        per_class=per_class,
        soft_labels=labels,
        learn_labels=soft,
    )


def conv3d_by_hand(clip: np.ndarray, weight: np.ndarray, bias: np.ndarray, padding: int = 0) -> np.ndarray:
    """A 3-D convolution of ``clip`` (channels, T, H, W) in float64, one kernel offset at a time."""
    padded = np.pad(clip.astype(np.float64), [(0, 0)] + [(padding, padding)] * 3)
    outputs, _, k_t, k_h, k_w = weight.shape
    t, h, w = (padded.shape[axis + 1] - size + 1 for axis, size in enumerate((k_t, k_h, k_w)))
    result = np.zeros((outputs, t, h, w)) + bias.astype(np.float64)[:, None, None, None]
    for i in range(k_t):
        for j in range(k_h):
            for k in range(k_w):
                window = padded[:, i : i + t, j : j + h, k : k + w]
                for output in range(outputs):
                    for channel in range(len(window)):
                        result[output] += float(weight[output, channel, i, j, k]) * window[channel]
    return result


def compose_by_hand(static: np.ndarray, dynamic: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The clip (3, T, H, W) of one static (3, H, W) and one dynamic (T, H, W), float64."""
    frames = len(dynamic)
    joined = np.concatenate([np.repeat(static[:, None], frames, axis=1), dynamic[None]], axis=0)
    return conv3d_by_hand(joined, weight, bias, padding=1)


def enlarge_by_hand(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """``frame`` (h, w) at height x width, float64, pixel by pixel: bilinear between the centres of its pixels."""

    def around(at: int, size: int, old: int) -> tuple[int, int, float]:
        centre = min(max((at + 0.5) * old / size - 0.5, 0.0), old - 1.0)
        below = int(centre)
        return below, min(below + 1, old - 1), centre - below

    result = np.zeros((height, width))
    for y, x in np.ndindex(height, width):
        (top, bottom, v), (left, right, u) = around(y, height, frame.shape[0]), around(x, width, frame.shape[1])
        upper = (1 - u) * float(frame[top, left]) + u * float(frame[top, right])
        lower = (1 - u) * float(frame[bottom, left]) + u * float(frame[bottom, right])
        result[y, x] = (1 - v) * upper + v * lower
    return result


def wait_until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that another thread or process does."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
