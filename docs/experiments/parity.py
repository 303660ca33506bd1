"""How many digits of the published equations the engine's numbers have: docs/parity.md's tables.

    python docs/experiments/parity.py                      # each part beside a plain float64 computation of it
    python docs/experiments/parity.py --data FILE.h5       # what embeddings and whitening see of real clips

Each part is computed twice with equal weights, inputs and draws: by the engine in float32, and here, in float64,
straight from the equations (docs/parity.md names their sources), without the engine's code for it. A row has the length
of the difference relative to the length of the whole. Dropout is off, since its masks would not be the same. Clips are
noise: in smooth ones, maxima of two equal values may take either, and a gradient goes another way.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from engine.data.batches import RealClips
from engine.data.spec import ClipSpec
from engine.data.store import ClipStore
from engine.distilling.optimisers import Whitening
from engine.matching import Setting
from engine.matching.distribution import DistributionMatching
from engine.matching.gradient import GradientMatching
from engine.matching.kernel import KernelRegression
from engine.matching.trajectory import TrajectoryMatching
from engine.models import ConvNet3D, Hallucinator, Network, image_model, video_model
from engine.synthetic import Pixels, StaticDynamic, StaticImages, SyntheticSet

CPU = torch.device("cpu")
CLASSES, REAL = 3, 4
SHAPES = ((8, 64), (16, 112))
Weights = dict[str, torch.Tensor]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="clips file of `vdtui prepare`")
    parser.add_argument("--clips", type=int, default=16, help="clips of it that are embedded")
    parser.add_argument("--networks", type=int, default=3, help="that look at them")
    options = parser.parse_args()
    if options.data is not None:
        seen(options.data, options.clips, options.networks)
        return
    print("| part | clips | relative difference |\n|---|---|---|")  # noqa: T201
    for frames, size in SHAPES:
        for part, ours, theirs in parts(frames, size):
            difference = (ours.double() - theirs).norm() / theirs.norm()
            print(f"| {part} | {frames} x {size} x {size} | {difference:.0e} |", flush=True)  # noqa: T201


def parts(frames: int, size: int) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """(what, by the engine, by the equations)."""
    real = random_clips(frames, size)
    clips = real.clips(torch.arange(len(real)))
    network = without_dropout(video_model("convnet3d", CLASSES, frames, size, 0, CPU))
    weights = in_float64(network)
    few = clips[:2]
    yield "ConvNet3D, logits", network(few), logits(weights, few.double())
    yield "ConvNet3D, embedding", network.embed(few), last_map(weights, few.double()).flatten(1)
    loss = functional.cross_entropy(network(few), torch.tensor([0, 1]))
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    expected = torch.autograd.grad(
        functional.cross_entropy(logits(leaves, few.double()), torch.tensor([0, 1])), list(leaves.values())
    )
    yield "ConvNet3D, gradient of the cross-entropy", flat(gradients), flat(expected)
    for kind, synthetic in (("pixels", pixels(real)), ("static-dynamic", static_dynamic(real))):
        yield f"clips of {kind}", synthetic.expand()[0], composed(in_float64(synthetic.tensors()))
        for name, objective, equation in objectives(real):
            yield from compared(f"{name}, {kind}", objective, equation, synthetic)
    if frames == 8:
        yield from trajectory(real)
    yield from stills(real)


def compared(
    name: str, objective: Any, equation: Callable[[torch.Tensor], torch.Tensor], synthetic: SyntheticSet
) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """The loss of an objective, and its gradient in the memories."""
    learned = synthetic.parameters()
    for tensor in learned.values():
        tensor.requires_grad_().grad = None
    value = sum(backward(part) for part in objective.losses(synthetic, 0))
    leaves = {key: tensor.requires_grad_() for key, tensor in in_float64(synthetic.tensors()).items()}
    expected = equation(composed(leaves))
    expected.backward()
    yield f"{name}, loss", torch.tensor(value), expected.detach()
    yield f"{name}, gradient", flat(learned[key].grad for key in learned), flat(leaves[key].grad for key in learned)


def objectives(real: RealClips) -> Iterator[tuple[str, Any, Callable[[torch.Tensor], torch.Tensor]]]:
    """DM and FRePo, each with its equation as a function of the synthetic clips, one a class."""
    shape = real.spec.frames, real.spec.height

    def network(number: int) -> Network:
        return video_model("convnet3d", CLASSES, *shape, number, CPU)

    setting = Setting(real, network, 0)
    clips, labels = real.clips(torch.arange(len(real))).double(), real.labels
    weights = in_float64(network(0))
    with torch.no_grad():
        phi_t = torch.cat([last_map(weights, part).flatten(1) for part in clips.split(2)])

    def dm(synthetic: torch.Tensor) -> torch.Tensor:
        means = torch.stack([phi_t[labels == c].mean(0) for c in range(CLASSES)])
        return (last_map(weights, synthetic).flatten(1) - means).square().sum()

    def frepo(synthetic: torch.Tensor) -> torch.Tensor:
        phi_s = last_map(weights, synthetic).flatten(1)
        k_ss = phi_s @ phi_s.T
        ridge = 1e-6 * k_ss.trace() / CLASSES * torch.eye(CLASSES, dtype=torch.float64)
        one_hot = torch.eye(CLASSES, dtype=torch.float64) - 1 / CLASSES
        said = phi_t @ phi_s.T @ torch.linalg.solve(k_ss + ridge, one_hot / (CLASSES / 10) ** 0.5)
        return (said - one_hot[labels]).square().sum(1).mean()

    yield "DM", DistributionMatching(setting, 64), dm
    yield "FRePo", KernelRegression(setting, pool=1), frepo


def trajectory(real: RealClips) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """MTT over three student steps, in each of its unrolls."""
    spec = real.spec

    def network(number: int) -> Network:
        return without_dropout(video_model("convnet3d", CLASSES, spec.frames, spec.height, number, CPU))

    shapes = {name: tensor.shape for name, tensor in network(0).named_parameters()}
    start, target = (flat(network(number).parameters()).detach() for number in (0, 1))
    target = start + 0.05 * (target - start)
    experts = cast(Any, type("Experts", (), {"draw": lambda *_: (start, target)})())
    for unroll in ("plain", "checkpointed", "constant"):
        synthetic = pixels(real)
        setting = Setting(real, network, 0, trajectories=experts)
        objective = TrajectoryMatching(setting, syn_steps=3, step_size=0.05, unroll=unroll)

        def mtt(clips: torch.Tensor) -> torch.Tensor:
            theta, goal = start.double().requires_grad_(), target.double()
            for _ in range(3):
                views = zip(shapes, theta.split([shape.numel() for shape in shapes.values()]), strict=True)
                weights = {name: piece.view(shapes[name]) for name, piece in views}
                loss = functional.cross_entropy(logits(weights, clips), torch.arange(CLASSES))
                theta = theta - 0.05 * torch.autograd.grad(loss, theta, create_graph=True)[0]
            return (theta - goal).square().sum() / (start.double() - goal).square().sum()

        yield from compared(f"MTT, {unroll}", objective, mtt, synthetic)


def stills(real: RealClips) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """DC of one still a class, on clips that do not move, so that a random frame is any frame."""
    spec = real.spec
    view = cast(Any, real.view)
    still = RealClips(cast(Any, View(np.repeat(view.pixels[:, :1], spec.frames, 1), view.labels)), spec, CPU)
    images = torch.randn(CLASSES, 1, 3, spec.height, spec.width, generator=torch.Generator().manual_seed(3))
    synthetic = StaticImages(spec, images.requires_grad_())

    def network(number: int) -> Network:
        return image_model(CLASSES, spec.height, number, CPU)

    objective = GradientMatching(Setting(still, network, 0), 256)
    value = sum(backward(part) for part in objective.losses(synthetic, 0))
    twin, leaf = network(0).double(), images.detach().double().requires_grad_()
    weights = [parameter for parameter in twin.parameters() if parameter.dim() > 1]
    expected = torch.zeros((), dtype=torch.float64)
    frames = still.clips(torch.arange(len(still)))[:, :, 0].double()
    for c in range(CLASSES):
        own = frames[still.labels == c]
        by_real = torch.autograd.grad(functional.cross_entropy(twin(own), torch.full((len(own),), c)), weights)
        loss = functional.cross_entropy(twin(leaf[c]), torch.tensor([c]))
        for a, b in zip(torch.autograd.grad(loss, weights, create_graph=True), by_real, strict=True):
            for row, other in zip(a.flatten(1), b.flatten(1), strict=True):
                expected = expected + 1 - row @ other / (row.norm() * other.norm() + 1e-6)
    expected.backward()
    yield "DC, loss", torch.tensor(value), expected.detach()
    assert images.grad is not None and leaf.grad is not None
    yield "DC, gradient", images.grad, leaf.grad


# --- the equations in float64 ----------------------------------------------------------------------------------------


def last_map(weights: Weights, clips: torch.Tensor) -> torch.Tensor:
    """ConvNet3D before its average pool: three times convolution, ReLU and maximum over blocks."""
    names = [name for name, tensor in weights.items() if tensor.dim() == 5 and tensor.shape[-1] == 7]
    x = clips
    for name, pool in zip(names, ((1, 2, 2), (2, 2, 2), (2, 2, 2)), strict=True):
        bias = weights[name.removesuffix("weight") + "bias"]
        x = functional.conv3d(x, weights[name], bias, stride=(1, 2, 2), padding=(1, 3, 3))
        x = functional.max_pool3d(x.clamp_min(0), pool)
    return x


def logits(weights: Weights, clips: torch.Tensor) -> torch.Tensor:
    """Average pool, 1 x 1 x 1 convolution, mean over space and maximum over time."""
    pooled = functional.avg_pool3d(last_map(weights, clips), (2, 2, 2) if clips.shape[-1] > 64 else (2, 1, 1), 1)
    (name,) = [name for name, tensor in weights.items() if tensor.dim() == 5 and tensor.shape[-1] == 1]
    said = functional.conv3d(pooled, weights[name], weights[name.removesuffix("weight") + "bias"])
    return said.mean((3, 4)).amax(2)


def composed(tensors: Weights) -> torch.Tensor:
    """The clips (C, 3, T, H, W) of a set with one instance a class: pixels, or hallucinator(static, dynamic)."""
    if "pixels" in tensors:
        return tensors["pixels"][:, 0].transpose(1, 2)
    static, dynamic = tensors["static"][:, 0], tensors["dynamic"][:, 0, :, 0]
    still = static.unsqueeze(2).expand(-1, -1, dynamic.shape[1], -1, -1)
    joined = torch.cat([still, dynamic.unsqueeze(1)], 1)
    return functional.conv3d(joined, tensors["hallucinator.weight"], tensors["hallucinator.bias"], padding=1)


# --- small things ----------------------------------------------------------------------------------------------------


class View:
    """Clips in memory, with what `RealClips` asks of a split."""

    identity = "parity"

    def __init__(self, pixels: np.ndarray, labels: np.ndarray) -> None:
        self.pixels, self.labels, self.video = pixels, labels, np.arange(len(labels))

    def __len__(self) -> int:
        return len(self.labels)

    def clips(self, indices: Any) -> np.ndarray:
        return self.pixels[indices]

    def frames_at(self, indices: Any, numbers: Any) -> np.ndarray:
        return self.pixels[indices, numbers]


def random_clips(frames: int, size: int) -> RealClips:
    """REAL random clips of each class."""
    shape = (CLASSES * REAL, frames, size, size, 3)
    spec = ClipSpec(tuple("abc"), frames, size, size, (0.45, 0.5, 0.4), (0.25, 0.2, 0.3))
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return RealClips(cast(Any, View(pixels, np.repeat(np.arange(CLASSES), REAL))), spec, CPU)


def pixels(real: RealClips) -> Pixels:
    """One random clip a class."""
    spec, rng = real.spec, torch.Generator().manual_seed(4)
    return Pixels(spec, torch.randn(CLASSES, 1, spec.frames, 3, spec.height, spec.width, generator=rng))


def static_dynamic(real: RealClips) -> StaticDynamic:
    """One random still and one random dynamic memory a class, and a random hallucinator."""
    spec, rng = real.spec, torch.Generator().manual_seed(1)
    static = torch.randn(CLASSES, 1, 3, spec.height, spec.width, generator=rng)
    dynamic = torch.randn(CLASSES, 1, spec.frames, 1, spec.height, spec.width, generator=rng)
    torch.manual_seed(2)
    return StaticDynamic(spec, 1, static, dynamic, Hallucinator())


def without_dropout(network: Network) -> Network:
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


def in_float64(named: nn.Module | Weights) -> Weights:
    tensors = named.state_dict() if isinstance(named, nn.Module) else named
    return {name: tensor.detach().double().clone() for name, tensor in tensors.items()}


def backward(part: torch.Tensor) -> float:
    part.backward()
    return part.item()


def flat(tensors: Any) -> torch.Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


# --- what the embeddings see -----------------------------------------------------------------------------------------


@torch.no_grad()
def seen(data: Path, number: int, networks: int) -> None:
    """How far a clip's embedding is from that of the clip reversed or mirrored, relative to that of another clip."""
    with ClipStore.open(data) as store:
        spec = ClipSpec(store.classes, store.frames, store.height, store.width, store.mean, store.std)
        real = RealClips(store.split("train"), spec, CPU)
        clips = real.clips(torch.randperm(len(real), generator=torch.Generator().manual_seed(0))[:number])
    print("| embedding | values | reversed | mirrored |\n|---|---|---|---|")  # noqa: T201
    whitening = Whitening.of([clips.transpose(1, 2)], (-4, -2, -1))
    made = [video_model("convnet3d", 2, spec.frames, spec.height, k, CPU) for k in range(networks)]
    for name, embed in (("map", ConvNet3D.embed), ("pooled", ConvNet3D.pooled)):
        found = []
        for network in made:
            own, back, mirror = (
                torch.cat([embed(cast(ConvNet3D, network), part) for part in shown.split(8)])
                for shown in (clips, clips.flip(2), clips.flip(-1))
            )
            between = (own - own.roll(1, 0)).norm(dim=1).mean()
            found.append([((other - own).norm(dim=1).mean() / between).item() for other in (back, mirror)])
        back_mean, mirror_mean = np.mean(found, axis=0)
        print(f"| {name} | {own.shape[1]} | {back_mean:.2f} | {mirror_mean:.2f} |")  # noqa: T201
    print(f"\nlargest amplitude of whitened pixels (white noise: 1): {whitening.amplitude.max():.0f}")  # noqa: T201


if __name__ == "__main__":
    main()
