"""Short runs and a digest of all that they computed: equal before and after a change that is to change nothing.

    python docs/experiments/same_bytes.py [NAME ...] > after.txt; diff before.txt after.txt

Each run is made in this process from the demo's data, three steps of each stage and one network per row, with one
thread. The digest covers the tensors of the set that it ends with, of its last checkpoint before the table, the loss
of every step and the accuracy of every network but those on compressed clips, which earlier versions did not train.
Numbers differ between machines and versions of PyTorch; they are compared on one machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

import torch
from safetensors import safe_open

from engine import load_preset, run_distillation

SHORT = (
    *("static.steps=3", "static.batch_real=4", "static.checkpoint_every=2", "dynamic.steps=3", "dynamic.batch_real=4"),
    *("dynamic.eval_every=2", "dynamic.checkpoint_every=2", "evaluation.epochs=2", "evaluation.repeats=1"),
    *("evaluation.selection_repeats=1", "dynamic.dm.bank=2", "dynamic.dm.bank_clips=4", "experts.number=2"),
    *("experts.epochs=3", "dynamic.mtt.max_start_epoch=2", "dynamic.mtt.syn_steps=2", "dynamic.frepo.pool=2"),
    *("dynamic.frepo.batch_real=16", "selection.epochs=1", "dynamic.lr_dynamic=0.05", "run.precision=float32"),
)
RUNS = {
    "static-dynamic, dm": [],
    "static-dynamic, dm, published optimiser": [
        *("dynamic.optimiser=sgd", "dynamic.init=noise", "dynamic.dm.target=batch", "dynamic.schedule=constant")
    ],
    "static-dynamic, dm, stills learned, pooled": ["dynamic.train_static=true", "dynamic.embedding=pooled"],
    "static-dynamic, mtt": ["dynamic.objective=mtt"],
    "static-dynamic, frepo, labels learned": [
        *("dynamic.objective=frepo", "synthetic.labels=learned", "evaluation.labels=own")
    ],
    "static-dynamic, several hallucinators, small": [
        *("synthetic.hallucinators=2", "synthetic.n_syn=2", "synthetic.dynamic_size=32", "dynamic.init=noise")
    ],
    "static-dynamic, dc, per class": ["static.objective=dc", "synthetic.hallucinator=per-class", "synthetic.ipc=2"],
    "static-dynamic without stills": ["synthetic.statics_per_instance=0"],
    "pixels, dm": ["synthetic.kind=pixels"],
    "pixels, dm, few frames from noise": ["synthetic.kind=pixels", "dynamic.init=noise", "synthetic.n_syn=2"],
    "pixels, mtt": ["synthetic.kind=pixels", "dynamic.objective=mtt"],
    "static-only": ["synthetic.kind=static-only", "static.objective=dm"],
    "coreset, herding": ["synthetic.kind=coreset", "selection.method=herding"],
    "full": ["synthetic.kind=full"],
    "static-dynamic, vdsd": ["evaluation.protocol=vdsd"],
    "static-dynamic, teacher": ["evaluation.protocol=strict-teacher", "evaluation.teacher_epochs=1"],
}


def main() -> None:
    """Print one line for each run, or for those that are named."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name in sys.argv[1:] or RUNS:
            print(f"{digest(RUNS[name])}  {name}", flush=True)  # noqa: T201


def digest(changes: list[str]) -> str:
    """SHA-256, shortened, of what a run with ``changes`` computed."""
    losses: list[object] = []
    found = hashlib.sha256()

    def hear(event: object) -> None:
        named = type(event).__name__
        if named == "Step":
            losses.append(event.loss)  # type: ignore[attr-defined]
        elif named == "NetworkTrained" and not event.what.startswith("compressed-"):  # type: ignore[attr-defined]
            losses.append(event.accuracy)  # type: ignore[attr-defined]
        elif named == "CheckpointSaved" and event.stage in ("static", "dynamic"):  # type: ignore[attr-defined]
            newest = max(Path("runs").glob("*/checkpoints/*.safetensors"), key=lambda path: path.stat().st_mtime_ns)
            found.update(tensors(newest))

    run = run_distillation(load_preset("demo", [*SHORT, *changes]), on_event=hear)
    found.update(json.dumps(losses).encode())
    for path in sorted((run.path / "synthetic").glob("*.safetensors")):
        found.update(tensors(path))
    return found.hexdigest()[:20]


def tensors(path: Path) -> bytes:
    """The names, shapes and values of what ``path`` holds."""
    with safe_open(path, "np") as file:
        return b"".join(
            f"{name} {array.dtype} {array.shape}\n".encode() + array.tobytes()
            for name, array in sorted((name, file.get_tensor(name)) for name in file.keys())  # noqa: SIM118
        )


if __name__ == "__main__":
    main()
