"""How time, memory and disk grow: with classes, clips, IPC, frames, size and devices.

    OMP_NUM_THREADS=1 python docs/experiments/growth.py measured
    python docs/experiments/growth.py counted --rate 1e14

`measured` makes clips up, and takes the time of the parts at a small size and with each axis doubled, in turn; a cell
is the median ratio of the doubled to the small one. Seconds are of the processor, so other work on the machine counts
for little. `counted` has no run behind it: passes as `vdtui plan` counts them, times the arithmetic of ConvNet3D, at a
rate that is assumed. It needs no data.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from engine import load_preset
from engine.config.size import stored_values
from engine.data.batches import RealClips
from engine.data.spec import ClipSpec
from engine.distilling.fitting import Kept, counted, measure_kept
from engine.distilling.reckoning import Sizes, Unit, Units, reckon
from engine.evaluation import Recipe
from engine.evaluation.training import evaluate_network, fit
from engine.matching import Setting
from engine.matching.bank import Schedule, TargetBank
from engine.matching.distribution import DistributionMatching
from engine.models import video_model
from engine.models.convnet3d import forward_flops
from engine.synthetic import Pixels

MODEL = "convnet3d_small"


@dataclasses.dataclass(frozen=True)
class Shape:
    """The size of a problem; ``clips`` of each class."""

    classes: int = 4
    clips: int = 8
    ipc: int = 1
    frames: int = 8
    size: int = 64


class MadeUp:
    """A split of random clips in memory."""

    identity = "growth"

    def __init__(self, shape: Shape) -> None:
        size = (shape.classes * shape.clips, shape.frames, shape.size, shape.size, 3)
        self._clips = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
        self.labels = np.repeat(np.arange(shape.classes), shape.clips)
        self.video = np.arange(len(self.labels))

    def __len__(self) -> int:
        return len(self.labels)

    def clips(self, indices: np.ndarray) -> np.ndarray:
        """The pixels of some clips, uint8 (n, T, H, W, 3)."""
        return self._clips[indices]


def parts(shape: Shape) -> dict[str, Callable[[], Any]]:
    """What is timed at ``shape``."""
    device = torch.device("cpu")
    names = tuple(map(str, range(shape.classes)))
    spec = ClipSpec(names, shape.frames, shape.size, shape.size, (0.5,) * 3, (0.25,) * 3)
    real = RealClips(MadeUp(shape), spec, device)  # type: ignore[arg-type]
    values = torch.randn(shape.classes, shape.ipc, shape.frames, 3, shape.size, shape.size).requires_grad_()
    learned = Pixels(spec, values)

    def network(step: int) -> Any:
        return video_model(MODEL, shape.classes, shape.frames, shape.size, step, device)

    setting = Setting(real, network, 0, torch.float32)

    def step(bank: TargetBank | None) -> Callable[[], None]:
        matching, numbers = DistributionMatching(setting, shape.clips, bank=bank), itertools.count()

        def run() -> None:
            for part in matching.losses(learned, next(numbers)):
                part.backward()

        return run

    recipe = Recipe(MODEL, 1, 0.01, 0.9, 5e-4, 256, torch.float32)
    tested = network(0).eval()
    banked = step(TargetBank(setting, Schedule(0, 1, 0)))
    banked()
    return {
        "DM step, batch": step(None),
        "DM step, bank": banked,
        "epoch of an evaluation": lambda: fit(learned, recipe, 0),
        "test": lambda: evaluate_network(tested, real, torch.float32),
    }


def measured(repeats: int) -> None:
    """Print the ratios of each part, a column for each axis that is doubled."""
    small = Shape()
    axes = {axis.name: dataclasses.replace(small, **{axis.name: 2 * getattr(small, axis.name)}) for axis in AXES}
    own, others = parts(small), {name: parts(shape) for name, shape in axes.items()}
    print("| cost | " + " | ".join(f"{name} x 2" for name in axes) + " |")  # noqa: T201
    print("|" + (1 + len(axes)) * "---|")  # noqa: T201
    for title, base in own.items():
        ratios: dict[str, list[float]] = {name: [] for name in axes}
        for number in range(1 + repeats):
            for name in axes:
                ratio = 1 / seconds(base) * seconds(others[name][title])
                ratios[name] += [ratio] if number else []
        cells = [f"{statistics.median(ratios[name]):.2f}" for name in axes]
        print(f"| {title} (time) | " + " | ".join(cells) + " |", flush=True)  # noqa: T201
    kept, stored = {}, {}
    preset = load_preset("default", {"evaluation.models": [MODEL], "synthetic.kind": "pixels", "run.device": "cpu"})
    for name, shape in {"small": small, **axes}.items():
        changed = preset.model_copy(update={"synthetic": preset.synthetic.model_copy(update={"ipc": shape.ipc})})
        clip = measure_kept(changed, sizes_of(shape)).clips[MODEL]
        kept[name] = shape.classes * shape.ipc * clip
        stored[name] = stored_values(changed.synthetic, shape.classes, shape.frames, shape.size)
    for title, found in (("kept for the set's gradient (memory)", kept), ("set (values)", stored)):
        print(f"| {title} | " + " | ".join(f"{found[name] / found['small']:.2f}" for name in axes) + " |")  # noqa: T201


AXES = dataclasses.fields(Shape)


def sizes_of(shape: Shape) -> Sizes:
    """``shape`` as a plan counts with it."""
    clips = shape.classes * shape.clips
    return Sizes(shape.classes, shape.frames, shape.size, clips, 0, clips, shape.clips)


def seconds(call: Callable[[], Any]) -> float:
    """The processor's seconds of ``call``."""
    began = time.process_time()
    call()
    return time.process_time() - began


KINETICS = Sizes(classes=400, frames=16, side=112, train=240_000, val=20_000, test=20_000, largest=1000)


def counted_table(rate: float) -> None:
    """Print what Kinetics-400 takes at ``rate`` floating-point operations a second, on one device and on eight."""
    forward = forward_flops(KINETICS.frames, KINETICS.side, KINETICS.classes) / rate
    units = Units({"convnet3d": Unit(forward, 3 * forward, 6 * forward)}, Unit(0.0, 0.0, 0.0))
    clip = KINETICS.frames * KINETICS.side**2 * 3
    print(f"Clips file: {KINETICS.train * clip / 1e9:,.0f} GB of training clips.")  # noqa: T201
    columns = ("method", "IPC", "steps, h: 1 device", "8", "bank or experts, h: 1 device", "8")
    columns = (*columns, "choosing, h", "final table, h", "set in float32", "memory")
    print("| " + " | ".join(columns) + " |\n|" + len(columns) * "---|")  # noqa: T201
    for name, ipc in itertools.product(("kinetics400-ipc1-dm", "kinetics400-ipc1-mtt"), (1, 10, 50)):
        changes = {"synthetic.ipc": ipc, "evaluation.baselines": ["random"], "run.device": "cpu"}
        preset = load_preset(name, changes)
        found = reckon(preset, KINETICS, units) or []
        hours = dict.fromkeys(("steps", "before", "choosing", "table"), 0.0)
        for part in found:
            judged = {"networks to choose the step": "choosing", "networks for the final table": "table"}
            place = judged.get(part.what, "steps" if part.what == "steps" else "before")
            hours[place] += part.seconds / 3600
        values = stored_values(preset.synthetic, KINETICS.classes, KINETICS.frames, KINETICS.side)
        need = counted(preset, KINETICS, Kept({"convnet3d": KEPT}, {"convnet3d": WEIGHTS}, cores=1))
        method = preset.dynamic.objective
        divided = hours["steps"] / (8 if method == "dm" else 1)  # of MTT experts_per_step are, which is 1
        cells = [method, ipc, hours["steps"], divided, hours["before"], hours["before"] / 8]
        cells += [hours["choosing"], hours["table"], f"{4 * values / 1e9:.2f} GB", f"{need.memory / 1e9:.0f} GB"]
        print("| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells) + " |")  # noqa: T201


KEPT, WEIGHTS = 35_230_656, 3_692_816
"""Bytes that a clip of 16 x 112 x 112 keeps in ConvNet3D for its gradient in float32, and weights (`measure_kept`)."""


def main() -> None:
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["measured", "counted"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rate", type=float, default=1e14, help="floating-point operations a second that are assumed")
    options = parser.parse_args()
    if options.table == "measured":
        torch.set_num_threads(1)
        measured(options.repeats)
    else:
        counted_table(options.rate)


if __name__ == "__main__":
    main()
