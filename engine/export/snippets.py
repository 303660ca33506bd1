"""The code on a card: how an export is loaded and trained on by plain PyTorch, without this package.

It is made for the very files that it stands beside, so that it runs as it stands in their folder; a test runs every
one. Loading ends with ``clips`` (N, 3, T, H, W), normalised, and ``targets``; training follows the recipe by which the
set was evaluated, or is going to be.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from engine.runs.results import length_in_words
from engine.synthetic import ClipSpec, Pixels, StaticDynamic, SyntheticSet
from engine.synthetic.formation import Formation

LOOKED_AT = ("mp4", "gif", "png")
"""Formats that are for eyes: they have lost something that training needs."""


WIDTHS = {"convnet3d": (64, 128, 128), "convnet3d_small": (16, 32, 32), "convnet3d_collapsed": (64, 128, 128)}
"""Channels behind each block, of the networks that cards have code for."""


@dataclasses.dataclass(frozen=True)
class Training:
    """The values of the recipe by which a card trains."""

    model: str
    batch: int
    lr: float
    optimiser: str
    momentum: float | None
    """The momentum of SGD; None for AdamW."""
    weight_decay: float
    labels: str
    """``hard``, ``own`` if networks are trained on learned labels by squared error, or those of a teacher."""
    augment: str
    epochs: int | None = None
    steps: int = 0
    """Training steps of networks that count these, in place of epochs; else 0."""

    @classmethod
    def of_results(cls, planned: Mapping[str, Any], measured: Mapping[str, Any] | None) -> Training:
        """Return the recipe of ``measured``, a result object; values that it lacks, or all without one, are planned.

        ``planned`` has ``model`` and ``recipe``, complete, as results have them.
        """
        result = measured or {}
        recipe: dict[str, Any] = dict(planned["recipe"])
        known = result.get("recipe")
        if isinstance(known, Mapping):
            if known.get("epochs") or known.get("steps"):
                recipe |= {"epochs": None, "steps": 0}
            recipe |= {name: value for name, value in known.items() if value is not None}
        values = {field.name: recipe[field.name] for field in dataclasses.fields(cls) if field.name in recipe}
        return cls(**values | {"model": str(result.get("model") or planned["model"])})

    @property
    def own_labels(self) -> bool:
        """True if networks are trained on learned labels, by squared error."""
        return self.labels == "own"

    @property
    def words(self) -> str:
        """The recipe in words."""
        decay = f"weight decay {self.weight_decay:g}"
        momentum = "" if self.momentum is None else f"momentum {self.momentum:g}, "
        optimiser = {"sgd": "SGD", "adamw": "AdamW"}[self.optimiser]
        length = length_in_words(dataclasses.asdict(self))
        return f"{length} in batches of {self.batch}, {optimiser} at {self.lr:g}, {momentum}{decay}"

    def passes(self, clips: int, variants: int) -> int:
        """Return the passes over all ``clips`` that have as many steps as its own; an instance has so many variants."""
        if self.steps:
            return max(1, round(self.steps / -(-clips // self.batch)))
        return max(1, round((self.epochs or 0) / variants))

    @property
    def left_out(self) -> list[str]:
        """The parts of the recipe that the code does without."""
        found = [] if self.labels in ("hard", "own") else ["the teacher's labels"]
        return [*found, *([] if self.augment == "none" else [f"augmentation ({self.augment})"])]


def loading(synthetic: SyntheticSet, kind: str, precision: str, name: str, recipe: Training) -> str:
    """Return the lines that load the export ``name`` of ``kind``; "" where a few lines of PyTorch cannot.

    ``precision`` is that of its values. Targets are soft labels where the recipe fits these, else classes.
    """
    spec, learned = synthetic.spec, synthetic.soft_labels is not None
    soft = learned and recipe.own_labels
    lines = {
        "pt": lambda: _pt(json.dumps(name), "hard_labels" if learned and not soft else "labels"),
        "h5": lambda: _h5(json.dumps(name), "hard_labels" if learned and not soft else "labels"),
        "folders": lambda: _videos(soft),
        "frames": lambda: _frames(soft),
        "webdataset": lambda: _webdataset(soft),
    }
    if kind in lines:
        body = lines[kind]()
        if kind in ("folders", "frames") or precision == "uint8":
            rounded = ([round(value, 8) for value in values] for values in (spec.mean, spec.std))
            mean, std = (f"torch.tensor({values}).view(3, 1, 1, 1)" for values in rounded)
            body += [f"clips = (clips.float() / 255 - {mean}) / {std}"]
        elif precision == "float16":
            body += ["clips = clips.float()"]
        return "\n".join(body) + "\n"
    if kind == "safetensors":
        return _safetensors(synthetic, precision, json.dumps(name), soft)
    return ""


def _pt(name: str, labels: str) -> list[str]:
    return [
        "import torch",
        "",
        f"export = torch.load({name}, weights_only=True)",
        f'clips, targets = export["clips"], export["{labels}"]',
    ]


def _h5(name: str, labels: str) -> list[str]:
    return [
        "import h5py",
        "import torch",
        "",
        f"with h5py.File({name}) as file:",
        f'    clips, targets = (torch.from_numpy(file[part][:]) for part in ("clips", "{labels}"))',
    ]


def _videos(soft: bool) -> list[str]:
    return [
        "import av",
        "import torch",
        "",
        'rows = [line.split() for line in open("list.txt", encoding="utf-8")]  # path, class',
        'videos = [[f.to_ndarray(format="rgb24") for f in av.open(path).decode(video=0)] for path, *_ in rows]',
        "clips = torch.stack([torch.stack([*map(torch.from_numpy, frames)]) for frames in videos]).movedim(-1, 1)",
        _listed(soft),
    ]


def _frames(soft: bool) -> list[str]:
    return [
        "from pathlib import Path",
        "import numpy as np",
        "import torch",
        "from PIL import Image",
        "",
        'rows = [line.split() for line in open("list.txt", encoding="utf-8")]  # folder, frames, class',
        'clips = [[np.array(Image.open(f)) for f in sorted(Path(folder).glob("*.png"))] for folder, *_ in rows]',
        "clips = torch.from_numpy(np.array(clips)).movedim(-1, 1)",
        _listed(soft),
    ]


def _listed(soft: bool) -> str:
    if soft:
        rows = 'open("soft_labels.csv", encoding="utf-8").read().splitlines()[1:]'
        return f'targets = torch.tensor([[float(v) for v in row.split(",")[1:]] for row in {rows}])'
    return "targets = torch.tensor([int(row[-1]) for row in rows])"


def _webdataset(soft: bool) -> list[str]:
    label = '".labels.npy"' if soft else '".cls"'
    value = "torch.from_numpy(np.load(io.BytesIO(files[key + {}])))" if soft else "torch.tensor(int(files[key + {}]))"
    return [
        "import glob, io, tarfile",
        "import numpy as np",
        "import torch",
        "",
        'archives = [tarfile.open(shard) for shard in sorted(glob.glob("*.tar"))]',
        "files = {member.name: archive.extractfile(member).read() for archive in archives for member in archive}",
        'keys = sorted(name.split(".")[0] for name in files if name.endswith(".cls"))',
        'clips = torch.stack([torch.from_numpy(np.load(io.BytesIO(files[key + ".npy"]))) for key in keys])',
        f"targets = torch.stack([{value.format(label)} for key in keys])",
    ]


def _safetensors(synthetic: SyntheticSet, precision: str, name: str, soft: bool) -> str:
    """Return the lines for the tensors of a set, for kinds whose clips take a few lines."""
    spec, time = synthetic.spec, synthetic.temporal
    plain = time is None or (time.segments == 1 and time.interpolation == "linear")
    simple = synthetic.kind in ("pixels", "static-only", "static-dynamic") and plain
    if synthetic.kind == "coreset" or not simple or getattr(synthetic, "per_class", False):
        return ""
    lines = ["import torch"]
    formation = synthetic.formation if isinstance(synthetic, Pixels) else None
    if synthetic.kind == "static-dynamic":
        lines += ["from torch.nn.functional import conv3d, interpolate"]
    elif time is not None or formation is not None:
        lines += ["from torch.nn.functional import interpolate"]
    lines += ["from safetensors.torch import load_file", "", f"stored = load_file({name})"]
    if precision == "uint8":
        lines += [
            "def memory(name):  # each memory has a range of its own",
            "    levels = stored[name].float()",
            "    ends = levels.shape[:2] + (1,) * (levels.dim() - 2)",
            '    return stored[name + ".offset"].view(ends) + stored[name + ".scale"].view(ends) * levels',
        ]
    else:
        lines += ["def memory(name):", "    return stored[name].float()"]
    shape = f"({spec.frames}, {spec.height}, {spec.width})"
    if synthetic.kind == "pixels":
        lines += (
            _cut(formation) if formation is not None else ['clips = memory("pixels").flatten(0, 1).transpose(1, 2)']
        )
        resized = time is not None or formation is not None
        lines += [f'clips = interpolate(clips, {shape}, mode="trilinear")'] if resized else []
    elif synthetic.kind == "static-only":
        lines += [f'clips = memory("static").flatten(0, 1).unsqueeze(2).repeat(1, 1, {spec.frames}, 1, 1)']
    else:
        lines += _hallucinated(synthetic, shape)
    if soft or synthetic.soft_labels is None:
        lines += [f'targets = stored["labels"].repeat_interleave({synthetic.variants}, 1).flatten(0, 1)']
    else:
        lines += [f"targets = torch.arange({len(spec.classes)}).repeat_interleave({synthetic.clips_per_class})"]
    return "\n".join(lines) + "\n"


def _cut(formation: Formation) -> list[str]:
    parts = f"unflatten(-1, ({formation.side}, -1)).unflatten(-3, ({formation.side}, -1))"
    return [
        f'parts = memory("pixels").{parts}  # clips that share a picture, row by row',
        "clips = parts.permute(0, 1, 4, 6, 2, 3, 5, 7).flatten(0, 3).transpose(1, 2)",
    ]


def _hallucinated(synthetic: SyntheticSet, shape: str) -> list[str]:
    assert isinstance(synthetic, StaticDynamic)
    s, d, number = synthetic.statics_per_instance, synthetic.dynamics_per_instance, synthetic.hallucinator.number
    over = f"for c in range({len(synthetic.spec.classes)}) for j in range({synthetic.ipc})"
    pairs = f"[(c, j * {s} + s, j * {d} + d) {over} for s in range({max(s, 1)}) for d in range({d})]"
    frames, height, width = synthetic.spec.frames, synthetic.spec.height, synthetic.spec.width
    still = (
        f'torch.stack([memory("static")[c, s] for c, s, _ in pairs]).unsqueeze(2).repeat(1, 1, {frames}, 1, 1)'
        if s
        else f"torch.zeros(len(pairs), 3, {frames}, {height}, {width})"
    )
    lines = [
        f"pairs = {pairs}",
        f"still = {still}",
        'moving = torch.stack([memory("dynamic")[c, d] for c, _, d in pairs]).transpose(1, 2)',
        f'joined = torch.cat([still, interpolate(moving, {shape}, mode="trilinear")], 1)',
    ]
    weight, bias = 'stored["hallucinator.weight"]', 'stored["hallucinator.bias"]'
    if number == 1:
        return [*lines, f"clips = conv3d(joined, {weight}, {bias}, padding=1)"]
    made = f"[conv3d(joined, w, b, padding=1) for w, b in zip({weight}, {bias})]"
    return [*lines, f"clips = torch.stack({made}, 1).flatten(0, 1)"]


def training(synthetic: SyntheticSet, recipe: Training) -> str:
    """Return the lines that train a network on ``clips`` and ``targets``, with the recipe's number of steps.

    An epoch here sees every clip, one of the run's draws a clip of each instance.
    """
    spec = synthetic.spec
    epochs = recipe.passes(len(spec.classes) * synthetic.clips_per_class, synthetic.variants)
    network, needed = _network(spec, recipe.model)
    soft = recipe.own_labels and synthetic.soft_labels is not None
    loss = "(network(batch) - target).square().sum(1).mean()" if soft else "cross_entropy(network(batch), target)"
    if recipe.optimiser == "adamw":
        optimiser = f"torch.optim.AdamW(network.parameters(), {recipe.lr:g}, weight_decay={recipe.weight_decay:g})"
        schedule = f"torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, {epochs})"
    else:
        momenta = f"momentum={recipe.momentum:g}, weight_decay={recipe.weight_decay:g}"
        optimiser = f"torch.optim.SGD(network.parameters(), {recipe.lr:g}, {momenta})"
        schedule = f"torch.optim.lr_scheduler.MultiStepLR(optimiser, [{(epochs + 1) // 2}])"
    lines = [
        "from torch import nn",
        *(["from torch.nn.functional import cross_entropy"] if not soft else []),
        "from torch.utils.data import DataLoader, TensorDataset",
        *needed,
        "",
        *network,
        f"loader = DataLoader(TensorDataset(clips, targets), batch_size={recipe.batch}, shuffle=True)",
        f"optimiser = {optimiser}",
        f"schedule = {schedule}",
        f"for epoch in range({epochs}):",
        "    for batch, target in loader:",
        "        optimiser.zero_grad()",
        f"        {loss}.backward()",
        "        optimiser.step()",
        "    schedule.step()",
    ]
    return "\n".join(lines) + "\n"


def network_name(spec: ClipSpec, model: str) -> str:
    """Return the network that the code trains: ``model`` where it has code for it, else ConvNet3D or an R3D-18."""
    if not (spec.frames >= 8 and spec.height == spec.width and 64 <= spec.height <= 128):
        return "r3d_18"
    return model if model in WIDTHS else "convnet3d"


def _network(spec: ClipSpec, model: str) -> tuple[list[str], list[str]]:
    """Return lines that make ``network``, and what they import."""
    name, classes = network_name(spec, model), len(spec.classes)
    if name not in WIDTHS:
        return [f"network = {name}(num_classes={classes})"], [f"from torchvision.models.video import {name}"]
    first, second, third = WIDTHS[name]
    side = spec.height
    for _ in range(3):
        side = ((side - 1) // 2 + 1) // 2
    pool = "(2, 2, 2)" if side > 1 else "(2, 1, 1)"
    title = "ConvNet3D, the network of the paper" + ("" if name == "convnet3d" else ", with a quarter of the channels")
    return [
        f"def block(inner, outer, time):  # {title}",
        "    convolution = nn.Conv3d(inner, outer, (3, 7, 7), (1, 2, 2), (1, 3, 3))",
        "    return convolution, nn.ReLU(), nn.MaxPool3d((time, 2, 2))",
        "",
        f"head = nn.AvgPool3d({pool}, 1), nn.Dropout(0.5), nn.Conv3d({third}, {classes}, 1)",
        f"blocks = *block(3, {first}, 1), *block({first}, {second}, 2), *block({second}, {third}, 2)",
        "network = nn.Sequential(*blocks, *head, nn.Flatten(2), nn.AdaptiveMaxPool1d(1), nn.Flatten())",
    ], []
