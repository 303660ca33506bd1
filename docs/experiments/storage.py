"""What a codec takes of a learned set, and what learning through it gives back: the table of storage.md.

    vdtui prepare ucf101 --source UCF10 --output ucf64.h5 --frames 8 --size 64
    python docs/experiments/storage.py --data ucf64.h5 --runs RUNS --seeds 0 1 2 --workers 2

A cell is a run of `vdtui distill --preset hmdb51-ipc1-pixels-dm` (or `ablation-one-stage`, `stills`) with 200 steps
of stage 2 on the frames and pixels of the data; nothing is held out and nothing chosen. The cell `float32` keeps its
set as tensors; the same set is then encoded in each of the ways of `--after`, decoded, and judged. A cell `through
HOW` shows the objective, in each step, what HOW makes of the set. `clips HOW N` are as many real clips per class
through that codec, drawn by the run's seed (`--select` has other choices: those of coverage, for the bytes of each,
are as many as take no more bytes than N random ones), `HOW=N/F` the same clips in pictures of F x F of them; `mean
HOW` is the mean frame of each class, a still. All are judged on the test split by `--repeats` networks of the same
seeds, so that everything of one seed is paired. A finished cell is a line of RUNS/storage.jsonl, and is not run again.
With `--training-steps` every network is trained for as many steps, whatever the number of clips in its set.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from cells import Record, answered, spread, to_the_table
from objectives import free, judged

from engine import load_preset
from engine.config import Preset
from engine.config.load import override
from engine.data.batches import RealClips
from engine.data.spec import ClipSpec
from engine.data.store import ClipStore
from engine.evaluation.judge import Judge
from engine.files import write_bytes
from engine.runs.new import new_run
from engine.seeds import generator
from engine.selection import select_coreset
from engine.synthetic import Pixels, Provenance, Start, Storage, Temporal, load_set, to_bytes
from engine.synthetic.compressed import clip_bytes, compressed_clips
from engine.synthetic.formation import Formation
from engine.synthetic.pixels import pictures_of
from engine.synthetic.still import StillVideo
from engine.synthetic.streams import Coding

KINDS = {"pixels": "hmdb51-ipc1-pixels-dm", "static-dynamic": "ablation-one-stage", "stills": "stills"}
TWO_PAIRS = ("synthetic.statics_per_instance=2", "synthetic.dynamics_per_instance=2")
"""Of static-dynamic memories, as `default` had them in one stage when these tables were made."""
UNBOUNDED = 1 << 62
SELECTING = ("selection.epochs=10",)
"""The training of the network that chooses clips: half of what `vdtui select` does, since easy ones want it short."""


def main() -> None:
    """Run the cells that are not there yet, and print the table."""
    options = arguments()
    judge = Judged(options.protocol, options.model, options.training_steps)
    asked: list[tuple[Record, tuple[Any, ...]]] = []
    for seed, kind in itertools.product(options.seeds, options.kinds):
        for how in (*(["float32"] if options.after or not options.skip_float32 else []), *options.through):
            changes = [] if how == "float32" else [f"storage.how={how}", "storage.learn_through=true", *options.set]
            preset = preset_of(options, kind, seed, changes)
            key = {"data": options.data.name, "kind": kind, "cell": how, "seed": seed, "changes": changes} | judge.key()
            name = f"{kind}-{how}-{seed}".replace(":", "_").replace("@", "_")
            if options.ipc > 1:
                key["ipc"], name = options.ipc, f"{options.ipc}-{name}"
            after = options.after if how == "float32" else []
            own = not (options.skip_float32 and after)
            asked.append((key, (preset, options.data, options.runs, name, judge, after, own)))
    for seed, text, method in itertools.product(options.seeds, options.clips, options.select):
        how, _, numbers = text.partition("=")
        number, _, side = numbers.partition("/")
        changes = [] if method == "random" else [f"selection.method={method}", *SELECTING]
        preset = preset_of(options, "pixels", seed, changes)
        key = {"data": options.data.name, "kind": "clips", "cell": text, "seed": seed, "changes": changes} | judge.key()
        real = Real(int(number), int(side or 1), method)
        asked.append((key, (preset, options.data, options.runs, how, judge, real)))
    for seed, how in itertools.product(options.seeds, options.means):
        preset = preset_of(options, "stills", seed, [])
        key = {"data": options.data.name, "kind": "mean", "cell": how, "seed": seed, "changes": []} | judge.key()
        asked.append((key, (preset, options.data, options.runs, how, judge, Real(0))))
    options.runs.mkdir(parents=True, exist_ok=True)
    records = answered(asked, measure, options.runs / "storage.jsonl", options.workers)
    table(by_form(records))


def arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="clips file of `vdtui prepare`")
    parser.add_argument("--runs", type=Path, default=Path("runs-storage"), help="folder of the runs and of the cells")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--ipc", type=int, default=1, help="learned clips per class")
    parser.add_argument("--skip-float32", action="store_true", help="judge the forms of --after alone, if any")
    parser.add_argument("--after", nargs="*", default=["h264-28", "h264-35"], help="encoded when learned")
    parser.add_argument("--through", nargs="*", default=["h264-35"], help="learned through")
    parser.add_argument("--clips", nargs="*", default=[], metavar="HOW=N[/F]", help="random real clips, N per class")
    parser.add_argument("--select", nargs="+", default=["random"], help="how these are chosen: methods of `select`")
    parser.add_argument("--means", nargs="*", default=[], metavar="HOW", help="the mean frame of each class")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the cells `through`")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=60, help="epochs of a network that evaluates a set")
    parser.add_argument("--batch", type=int, default=4, help="clips in its training step")
    parser.add_argument("--repeats", type=int, default=3, help="networks that evaluate a set")
    parser.add_argument("--protocol", default="strict")
    parser.add_argument("--model", default="convnet3d", help="the network that judges sets")
    parser.add_argument("--training-steps", type=int, default=0, help="of every network, in place of --epochs")
    parser.add_argument("--workers", type=int, default=1, help="cells at once, in a process each")
    return parser.parse_args()


@dataclasses.dataclass(frozen=True)
class Judged:
    """How sets are judged: the protocol, the network, and its training steps (0: the preset's epochs)."""

    protocol: str
    model: str
    steps: int

    def key(self) -> Record:
        """What tells it from the judge that cells without these keys had."""
        usual = Judged("strict", "convnet3d", 0)
        values, theirs = dataclasses.asdict(self), dataclasses.asdict(usual)
        return {name: value for name, value in values.items() if value != theirs[name]}

    def of(self, preset: Preset, instances: int) -> Preset:
        """`preset` with this judge for a set of so many instances."""
        changes: dict[str, Any] = {"evaluation.protocol": self.protocol, "evaluation.models": [self.model]}
        if self.steps:
            batches = -(-instances // preset.evaluation.batch)
            changes["evaluation.epochs"] = max(1, round(self.steps / batches))
        return override(preset, changes, "storage.py")


@dataclasses.dataclass(frozen=True)
class Real:
    """Real clips: so many of each class, ``side`` x ``side`` of them in a picture; of none the mean frame."""

    number: int
    side: int = 1
    method: str = "random"
    """How they are chosen."""


def preset_of(options: argparse.Namespace, kind: str, seed: int, changes: list[str]) -> Preset:
    """The preset of a cell."""
    overrides = [
        "dataset.frames=8",
        "dataset.size=64",
        "dataset.val_fraction=0",
        f"synthetic.ipc={options.ipc}",
        f"dynamic.steps={options.steps}",
        "dynamic.checkpoint_every=100000",
        f"evaluation.epochs={options.epochs}",
        f"evaluation.batch={options.batch}",
        f"evaluation.repeats={options.repeats}",
        "storage.how=float32",
        *(TWO_PAIRS if kind == "static-dynamic" else ()),
        *changes,
        f"run.seed={seed}",
    ]
    return load_preset(KINDS[kind], overrides)


def measure(
    preset: Preset, data: Path, runs: Path, name: str, judge: Judged, after: list[str] | Real, own: bool = True
) -> Record:
    """One cell: bytes and top-1 of each form of its set, the one it is kept in if ``own``, and stage 2's seconds."""
    if isinstance(after, Real) and not after.number:
        return {"forms": {name: mean_frames(preset, data, runs, name, judge)}}
    if isinstance(after, Real):
        title = f"{after.number} as {name}" + (f" in {after.side} x {after.side}" if after.side > 1 else "")
        return {"forms": {title: clips(preset, data, runs, name, judge, after)}}
    began = time.monotonic()
    run = new_run(preset, data, runs, free(runs, name), "cell", sys.argv)
    to_the_table(run)
    forms = {preset.storage.how: form(run.last, preset, data, runs, judge)} if own else {}
    learned = load_set(run.last)
    for how in after:
        file = run.path / f"{how.replace(':', '_')}.vds"
        write_bytes(file, to_bytes(learned.synthetic, learned.provenance, Storage.parse(how)))
        forms[how] = form(file, preset, data, runs, judge)
    found = run.folded()
    stage = preset.stages[-2]  # the last in which something is learned
    return {
        "forms": forms,
        "seconds": found.stages[stage].seconds,
        "all_seconds": round(time.monotonic() - began, 1),
        "loss": [found.losses[stage].values[k] for k in (0, -1)],
    }


def clips(preset: Preset, data: Path, runs: Path, how: str, judge: Judged, real: Real) -> Record:
    """What real clips reach through the codec ``how``."""
    with ClipStore.open(data) as store:
        spec = ClipSpec(store.classes, store.frames, store.height, store.width, store.mean, store.std)
        train = RealClips(store.split("train"), spec, torch.device("cpu"))
        order = chosen(preset, train, how, judge, real, runs)
        if real.side == 1:
            most = as_many_bytes(preset, train, how, real) if real.method == "coverage" else UNBOUNDED
            content = compressed_clips(train, most, order, how).stored.blob
        else:
            content = in_formation(train, order, Coding.parse(how), Formation(spec, real.side))
    shared = "" if real.side == 1 else f"-{real.side}"
    method = "" if real.method == "random" else f"{real.method}-"
    file = runs / f"clips-{method}{how.replace(':', '_')}-{real.number}{shared}-{preset.run.seed}.vds"
    write_bytes(file, content)
    return form(file, preset, data, runs, judge)


def chosen(preset: Preset, train: RealClips, how: str, judge: Judged, real: Real, runs: Path) -> list[torch.Tensor]:
    """The clips of each class, drawn by the run's seed, or chosen by a network; by coverage all, in order."""
    if real.method == "random":
        return drawn(preset, train, real)
    network = Judge.of(judge.of(preset, 1), train, torch.float32, runs).feature_network(preset.selection)
    if real.method != "coverage":
        return list(select_coreset(train, real.method, real.number, preset.run.seed, network))
    most = max(train.available(label) for label in range(len(train.spec.classes)))
    return list(select_coreset(train, "coverage", most, preset.run.seed, network, costs=clip_bytes(train, how)))


def drawn(preset: Preset, train: RealClips, real: Real) -> list[torch.Tensor]:
    """The clips of each class, drawn by the run's seed."""
    labels = range(len(train.spec.classes))
    return [train.pick(label, real.number, generator(preset.run.seed, "storage", label)) for label in labels]


def as_many_bytes(preset: Preset, train: RealClips, how: str, real: Real) -> int:
    """The bytes of as many random clips, by the run's seed."""
    return compressed_clips(train, UNBOUNDED, drawn(preset, train, real), how).nbytes


def in_formation(train: RealClips, order: list[torch.Tensor], how: Coding, formation: Formation) -> bytes:
    """The file of the clips ``order`` of each class, in pictures of ``formation``, stored as ``how``.

    Frames that ``how`` leaves out are not kept in the set either.
    """
    temporal = None if how.stored is None else Temporal(train.spec.frames, how.stored, 1, how.interpolation)
    pictures = torch.stack([pictures_of(train.clips(own), temporal, formation) for own in order])
    learned = Pixels(train.spec, pictures, temporal=temporal, formation=formation)
    return to_bytes(learned, Provenance(), str(dataclasses.replace(how, stored=None)))


def mean_frames(preset: Preset, data: Path, runs: Path, how: str, judge: Judged) -> Record:
    """What the mean over all frames of all training clips of each class reaches, a still each; it draws nothing."""
    with ClipStore.open(data) as store:
        spec = ClipSpec(store.classes, store.frames, store.height, store.width, store.mean, store.std)
        train = RealClips(store.split("train"), spec, torch.device("cpu"))
        still = StillVideo(spec, 1, Start(preset, train).mean_frames().unsqueeze(1))
    file = runs / f"mean-{how.replace(':', '_')}.vds"
    write_bytes(file, to_bytes(still, Provenance(), Storage.parse(how)))
    return form(file, preset, data, runs, judge)


def form(file: Path, preset: Preset, data: Path, runs: Path, judge: Judged) -> Record:
    """Bytes and top-1 of the set in ``file``, and the training loss of each network."""
    synthetic = load_set(file).synthetic
    found = judged(file, judge.of(preset, synthetic.ipc * len(synthetic.spec.classes)), data, runs)
    return {
        "bytes": file.stat().st_size,
        "ipc": synthetic.ipc,
        "top1": found["top1"]["values"],
        "train_loss": found["train_loss"],
    }


# --- the table -------------------------------------------------------------------------------------------------------

Forms = dict[tuple[str, str], dict[int, Record]]


def by_form(records: list[Record]) -> Forms:
    """The forms of sets by kind and title, each by seed; where networks had various numbers of steps, titles say it."""
    forms: Forms = {}
    several = len({one["key"].get("steps") for one in records}) > 1
    for one in records:
        key = one["key"]
        learned_through = key["kind"] not in ("clips", "mean") and key["cell"] != "float32"
        for how, found in one["forms"].items():
            title = f"through {how}" if learned_through else how
            if method := next((each for each in key["changes"] if each.startswith("selection.method=")), None):
                title += ", " + method.partition("=")[2]
            if "ipc" in key:
                title = f"{key['ipc']} as {title}"
            if several and "steps" in key:
                title += f", {key['steps']:,} steps"
            kind = "formation" if "/" in key["cell"] else key["kind"]
            forms.setdefault((kind, title), {})[key["seed"]] = found
    return forms


def means(found: dict[int, Record]) -> dict[int, float]:
    """The mean top-1 of each seed's networks, in per cent."""
    return {seed: 100 * statistics.fmean(one["top1"]) for seed, one in sorted(found.items())}


def table(forms: Forms) -> None:
    """Print a row for each form; differences are paired with float32 of the same kind and seed."""
    columns = ("kind", "stored", "bytes", "top-1 of each seed", "mean", "less float32, paired")
    print("| " + " | ".join(columns) + " |\n|" + len(columns) * "---|")  # noqa: T201
    for (kind, title), by_seed in forms.items():
        own, whole = means(by_seed), means(forms.get((kind, "float32"), {}))
        less = "" if title == "float32" else spread([own[seed] - whole[seed] for seed in own if seed in whole], "+")
        size = statistics.fmean(found["bytes"] for found in by_seed.values())
        shown = ", ".join(f"{mean:.1f}" for mean in own.values())
        print(f"| {kind} | {title} | {size:,.0f} | {shown} % | {spread(list(own.values()))} % | {less} |")  # noqa: T201
    sys.stdout.flush()


if __name__ == "__main__":
    main()
