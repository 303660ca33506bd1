"""The experts of trajectory matching: networks trained on all real clips, whose weights are kept after every epoch.

They cost hours and gigabytes, so they are trained once, and all runs for which they would come out the same share them:
the folder's name has a digest of all that decides them. A student would follow experts of other data, or of another
network, without any error, and learn nothing; so the folder's index is compared with the run. Several processes may
work on one folder: each trains the next expert that no other one holds. An unfinished expert goes on from its last
epoch.

    FOLDER/NETWORK-DIGEST/
      index.json         what the experts were made from
      000.npy            the weights of expert 0: see ``Trajectory file`` below
      000.json           its seed and accuracies; written before 000.npy gets its name
      000.partial        the file while it is written; locked by the process that does
      000.training.npz   where an unfinished expert goes on: weights, momentum, epochs that are done
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import math
import os
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import torch
from torch import nn

from engine.config import Preset
from engine.config.schema import ExpertsSection
from engine.data.batches import RealClips
from engine.errors import DataError, DivergedError
from engine.files import read_json, replacing, storage_errors, sweep, try_lock, unlinked, write_json
from engine.machine.copies import to_device
from engine.models.base import Network
from engine.models.precision import autocast, seeded
from engine.models.registry import video_model
from engine.seeds import derive, generator
from engine.text import one_line

FORMAT, VERSION = "vdtui.experts", 1
WAIT_SECONDS = 0.2


def open_or_train(
    folder: Path,
    preset: Preset,
    real: RealClips,
    test: RealClips | None,
    fingerprint: str,
    precision: torch.dtype,
    progress: Callable[[int, int, str], None],
    check: Callable[[], None],
    learned: Callable[[int, int, float], None] = lambda done, total, loss: None,
) -> tuple[Trajectories, list[str]]:
    """Return the experts of ``preset``, in a folder of their own below ``folder``, and warnings for the user.

    Missing experts are trained on ``real``, and tested on ``test``. ``progress`` gets the number of epochs that are
    done, of all experts together, their total, and a line on the current work; ``learned`` gets the same two numbers
    after each epoch, and its mean loss. ``check`` is called between passes, and may raise; of several processes one may
    call it more often than another, so it must not wait for the others.

    Raises DataError for a folder of other experts or with damaged files, DivergedError if no expert stayed finite.
    """
    model, spec, seed = preset.evaluation.models[0], real.spec, derive(preset.run.seed, "experts")

    def new_network(number: int) -> Network:
        return video_model(
            model, len(spec.classes), spec.frames, spec.height, derive(seed, "init", number), real.device
        )

    made_from = _made_from(preset, real, fingerprint, precision)
    training = Training(
        folder / f"{model}-{_digest(made_from)}",
        made_from,
        new_network,
        real,
        test,
        preset.experts,
        preset.expert_snapshots,
        seed,
        precision,
        progress,
        check,
        learned=learned,
    )
    training.run()
    trajectories = Trajectories.open(training.folder, made_from, new_network(0), preset.experts.number, real.device)
    return trajectories, trajectories.warnings()


def _made_from(preset: Preset, real: RealClips, fingerprint: str, precision: torch.dtype) -> dict[str, Any]:
    """Return all that decides an expert of a given number, in types that JSON gives back unchanged."""
    section, spec = preset.experts, real.spec
    # The fingerprint is of the whole file; which of its clips are held out of training is decided by the run.
    chosen = hashlib.sha256(real.view.labels.astype("<i8").tobytes() + real.view.video.astype("<i8").tobytes())
    return {
        "data": fingerprint,
        "clips": len(real),
        "chosen": chosen.hexdigest()[:16],
        "network": preset.evaluation.models[0],
        "classes": len(spec.classes),
        "shape": [spec.frames, spec.height, spec.width],
        "mean": list(spec.mean),
        "std": list(spec.std),
        "epochs": _epochs(section, preset.expert_snapshots),
        "snapshots": preset.expert_snapshots,
        "lr": section.lr,
        "momentum": section.momentum,
        "weight_decay": section.weight_decay,
        "batch": batch_of(section, len(real)),
        "stored": section.stored,
        "precision": str(precision).removeprefix("torch."),
        "seed": preset.run.seed,
    }


def _digest(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def _epochs(section: ExpertsSection, snapshots: int) -> int:
    return snapshots - 1 if section.epochs is None else section.epochs


def batch_of(section: ExpertsSection, clips: int) -> int:
    """Return the real clips per training step of an expert, of ``clips`` in all.

    With the published 256, an epoch has 14 to 37 steps on the data sets of the paper. On some hundred clips it would
    have one or two, which teach nothing that a student could follow. So unless the preset says otherwise, an epoch has
    at most 16 steps of at least 16 clips, or more steps where these would take over 256 clips.
    """
    return section.batch or min(256, max(16, -(-clips // 16)))


# --- weights as one vector -------------------------------------------------------------------------------------------


class FlatParameters:
    """The layout of a network's parameters as one vector: one after the other in their order, each row by row."""

    def __init__(self, network: nn.Module) -> None:
        assert not list(network.buffers()), "what is not a parameter is not part of a trajectory"
        self.shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
        self._sizes = [shape.numel() for shape in self.shapes.values()]
        self.size = sum(self._sizes)

    def views(self, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the parameters by name, as views of ``flat`` (size)."""
        pieces = zip(self.shapes.items(), flat.split(self._sizes), strict=True)
        return {name: piece.view(shape) for (name, shape), piece in pieces}

    def gather(self, network: nn.Module) -> torch.Tensor:
        """Return a copy of the network's parameters, (size)."""
        return torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])

    @torch.no_grad()
    def scatter(self, flat: torch.Tensor, network: nn.Module) -> None:
        """Write ``flat`` into the network's parameters."""
        views = self.views(flat)
        for name, parameter in network.named_parameters():
            parameter.copy_(views[name])

    def document(self) -> list[list[Any]]:
        """Return names and shapes, in types that JSON gives back unchanged."""
        return [[name, list(shape)] for name, shape in self.shapes.items()]


# --- Trajectory file: one record of the first weights, and how far they have moved after every epoch -----------------


def _layout(size: int, snapshots: int, stored: str) -> np.dtype:
    """Return the type of the one record of a file.

    It holds the distance from the first weights, which is much smaller than the weights. A float16 of the weights
    themselves would be off by a good part of their way between two epochs, which is the way that a student must go.
    """
    moved = {"float16": "<f2", "float32": "<f4"}[stored]
    return np.dtype([("start", "<f4", (size,)), ("moved", moved, (snapshots - 1, size))])


def nbytes(network: nn.Module, experts: int, snapshots: int, stored: str = "float16") -> int:
    """Return the bytes on the disk of ``experts`` experts with ``snapshots`` weights each, the first ones included."""
    return experts * _layout(FlatParameters(network).size, snapshots, stored).itemsize


class Trajectories:
    """The weights of all experts of a folder, each read from the disk when it is asked for."""

    def __init__(
        self,
        folder: Path,
        files: Sequence[tuple[Path, np.ndarray]],
        records: Sequence[Record],
        device: torch.device,
    ) -> None:
        """Take the ``files`` of all experts that did not diverge; use :meth:`open`. Raises DivergedError for none."""
        self.folder = folder
        self.records = records
        self._files = files
        self._device = device
        if not files:
            raise DivergedError(
                f"All {len(records)} experts diverged: there is no trajectory to match.",
                "Train them with a lower rate: --set experts.lr=...",
            )

    @classmethod
    def open(
        cls, folder: Path, made_from: dict[str, Any], network: nn.Module, number: int, device: torch.device
    ) -> Self:
        """Return the first ``number`` experts of ``folder``; raises DataError for others, damaged or missing ones."""
        _check_index(folder, made_from, FlatParameters(network))
        layout = _layout(FlatParameters(network).size, made_from["snapshots"], made_from["stored"])
        records = [record for k in range(number) if (record := finished(folder, k)) is not None]
        if len(records) < number:
            problem = f"{one_line(folder)} has {len(records)} of {number} experts."
            raise DataError(problem, "Train the others with `vdtui experts`.")
        paths = [folder / f"{record.number:03d}.npy" for record in records if record.finite]
        return cls(folder, [(path, _mapped(path, layout)) for path in paths], records, device)

    @property
    def number(self) -> int:
        """The number of experts that are drawn: all that did not diverge."""
        return len(self._files)

    @property
    def nbytes(self) -> int:
        """The bytes of these experts on the disk."""
        return sum(path.stat().st_size for path, _ in self._files)

    @property
    def epochs(self) -> int:
        """The last epoch whose weights are stored; epoch 0 has the first weights."""
        return len(self._files[0][1]["moved"])

    def draw(self, rng: torch.Generator, starts: range, expert_epochs: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the weights of a random expert after a random epoch of ``starts``, and ``expert_epochs`` later.

        Both are flat float32 weights (P) on the device, in the order of ``FlatParameters``.
        """
        assert starts[-1] + expert_epochs <= self.epochs, "the preset says how many are kept"
        expert = int(torch.randint(self.number, (), generator=rng))
        epoch = int(torch.randint(starts.start, starts.stop, (), generator=rng))
        return self.weights(expert, epoch), self.weights(expert, epoch + expert_epochs)

    def weights(self, expert: int, epoch: int) -> torch.Tensor:
        """Return flat float32 weights (P) after ``epoch`` epochs; ``expert`` counts those that did not diverge."""
        path, file = self._files[expert]
        weights = np.array(file["start"], np.float32)
        if epoch > 0:
            weights += file["moved"][epoch - 1]
        if not np.isfinite(weights).all():
            raise _damaged(path, "weights that are not finite")
        return torch.from_numpy(weights).to(self._device)

    def warnings(self) -> list[str]:
        """Return warnings for the user: the experts that diverged, and those that have learned nothing."""
        diverged = [record.number for record in self.records if not record.finite]
        failed = [record.number for record in self.records if record.failed]
        ends = (
            (diverged, "diverged and will not be drawn; a lower experts.lr may help"),
            (
                failed,
                "did no better than chance on the very clips that they were trained on, so there is little to learn "
                "from them; a higher experts.lr or more epochs may help",
            ),
        )
        total = len(self.records)
        return [
            f"{len(numbers)} of {total} experts (numbered {', '.join(map(str, numbers))} from 0) {end}"
            for numbers, end in ends
            if numbers
        ]


@dataclass(frozen=True)
class Record:
    """The record of a finished expert. Accuracies are over clips, in [0, 1]; None if it diverged or was not tested.

    ``failed``: on its own training clips it did not beat always naming the largest class by two standard errors.
    """

    number: int
    seed: int
    finite: bool
    failed: bool
    train_accuracy: float | None
    test_accuracy: float | None


def finished(folder: Path, number: int) -> Record | None:
    """Return the record of an expert, or None while it is not finished."""
    document = read_json(folder / f"{number:03d}.json")
    try:
        record = Record(**document) if document is not None else None
    except TypeError:
        return None
    if record is None or (record.finite and not (folder / f"{number:03d}.npy").exists()):
        return None
    return record


def _mapped(path: Path, layout: np.dtype) -> np.ndarray:
    """Return the record in ``path``, mapped into memory; raises DataError if it is damaged."""
    try:
        file = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, "truncated, or something else") from error
    if not isinstance(file, np.ndarray) or file.dtype != layout or file.shape != (1,):
        raise _damaged(path, "of another shape")
    return file[0]


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"The expert {one_line(path)} is damaged ({what}).", "Delete it; it is then trained again.")


def _index(made_from: dict[str, Any], parameters: FlatParameters) -> dict[str, Any]:
    return {"format": FORMAT, "version": VERSION, "made_from": made_from, "parameters": parameters.document()}


def _check_index(folder: Path, made_from: dict[str, Any], parameters: FlatParameters) -> None:
    """Raise DataError unless the index of ``folder`` says that its experts are of ``made_from``."""
    found, hint = read_json(folder / "index.json"), "Move the folder away; the experts are then trained again."
    if found is None or found.get("format") != FORMAT:
        raise DataError(f"{one_line(folder)} is not a folder of experts.", hint)
    if found.get("version") != VERSION:
        problem = f"{one_line(folder)} has another version of the experts' format; this is version {VERSION}."
        raise DataError(problem, "Update vdtui, or move the folder away.")
    theirs = found.get("made_from")
    theirs = theirs if isinstance(theirs, dict) else {}
    other = [name for name in made_from if theirs.get(name) != made_from[name]]
    if other or found.get("parameters") != parameters.document():
        what = ", ".join(other) or "the network's parameters"
        raise DataError(f"The experts in {one_line(folder)} are others: {what} differ.", hint)


# --- training --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Training:
    """The training of the missing experts of ``folder``: SGD on the cross-entropy of ``real``, without augmentation.

    Expert k starts from ``new_network(k)``; order and dropout of each epoch come from seed, k and epoch. So an expert
    that was interrupted ends with the same bytes as one that was not (on a CPU; other devices may round differently
    from one time to the next).
    """

    folder: Path
    made_from: dict[str, Any]
    new_network: Callable[[int], Network]
    real: RealClips
    test: RealClips | None
    section: ExpertsSection
    snapshots: int
    """The number of weights that are kept: the first ones, and those after epochs 1 to ``snapshots`` - 1."""
    seed: int
    precision: torch.dtype
    progress: Callable[[int, int, str], None]
    check: Callable[[], None]
    at_once: int = 64
    """The most clips per network pass."""
    learned: Callable[[int, int, float], None] = lambda done, total, loss: None
    """Told of the epochs of all experts that are done, their total, and the mean loss of the last one."""

    @property
    def epochs(self) -> int:
        """The number of epochs that each expert is trained."""
        return _epochs(self.section, self.snapshots)

    def run(self) -> None:
        """Train the missing experts that no other process is training, then wait for those of the others."""
        missing = self._missing()
        if missing:
            self._claim_folder()
        while missing:
            held = [number for number in missing if not self._train_unless_held(number)]
            missing = self._missing()
            if missing and len(held) == len(missing):
                self._tell(f"waiting for another process that trains expert {missing[0] + 1}")
                self.check()
                time.sleep(WAIT_SECONDS)

    def _missing(self) -> list[int]:
        return [number for number in range(self.section.number) if finished(self.folder, number) is None]

    def _claim_folder(self) -> None:
        parameters = FlatParameters(self.new_network(0))
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        sweep(self.folder)
        if not (self.folder / "index.json").exists() and not any(self.folder.glob("*.npy")):
            write_json(self.folder / "index.json", _index(self.made_from, parameters))
        _check_index(self.folder, self.made_from, parameters)

    def _tell(self, what: str, here: int = 0) -> None:
        self.progress(*self._counted(here), what)

    def _counted(self, here: int) -> tuple[int, int]:
        """Return the epochs of all experts that are done, ``here`` of the present one, and their total."""
        done = self.section.number - len(self._missing())
        return done * self.epochs + here, self.section.number * self.epochs

    def _train_unless_held(self, number: int) -> bool:
        """Train the expert if it is missing; return False, with nothing done, if another process is training it."""
        path = self.folder / f"{number:03d}.partial"
        with storage_errors(path), open(path, "ab", opener=unlinked) as file:
            try:
                try_lock(file)
            except BlockingIOError:
                return False
            if finished(self.folder, number) is None:
                self._train(number, file)
            else:
                path.unlink(missing_ok=True)  # another one finished it while this one came for the lock
        return True

    def _train(self, number: int, file: IO[bytes]) -> None:
        """Train expert ``number`` from its last epoch, or from the beginning, and rename its file."""
        self.check()
        network = self.new_network(number)
        parameters = FlatParameters(network)
        optimiser = torch.optim.SGD(
            network.parameters(),
            self.section.lr,
            momentum=self.section.momentum,
            weight_decay=self.section.weight_decay,
        )
        layout = _layout(parameters.size, self.snapshots, self.section.stored)
        unfinished = _Unfinished(self.folder / f"{number:03d}.training.npz", file, layout, parameters)
        done = unfinished.resume(network, optimiser)
        for epoch in range(done, self.epochs):
            what = f"expert {number + 1} of {self.section.number}, epoch {epoch + 1} of {self.epochs}"
            self._tell(what, epoch)
            loss = self._epoch(network, optimiser, number, epoch)
            self.learned(*self._counted(epoch + 1), loss)
            if not unfinished.keep(network, optimiser, epoch + 1):
                self._finish(number, network, finite=False)
                break
        else:
            self._finish(number, network, finite=True)
        unfinished.path.unlink(missing_ok=True)

    def _epoch(self, network: Network, optimiser: torch.optim.Optimizer, number: int, epoch: int) -> float:
        """Train for an epoch and return its mean loss."""
        network.train()
        total = torch.zeros((), device=self.real.device)
        order = torch.randperm(len(self.real), generator=generator(self.seed, "order", number, epoch))
        with seeded(derive(self.seed, "dropout", number, epoch), self.real.device):
            for chosen in order.split(batch_of(self.section, len(self.real))):
                optimiser.zero_grad()
                for indices in chosen.split(self.at_once):
                    self.check()
                    logits = self._logits(network, self.real.clips(indices))
                    labels = to_device(self.real.labels[indices], logits.device)
                    loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
                    (loss / len(chosen)).backward()
                    total += loss.detach()
                optimiser.step()
        return total.item() / len(self.real)

    def _logits(self, network: Network, clips: torch.Tensor) -> torch.Tensor:
        with autocast(clips.device, self.precision):
            logits: torch.Tensor = network(clips)
        return logits.float()

    def _finish(self, number: int, network: Network, finite: bool) -> None:
        """Write the record, then rename the file: with its final name the expert is finished."""
        self._tell(f"expert {number + 1} of {self.section.number}: testing", self.epochs)
        on_train = self._accuracy(network, self.real) if finite else None
        on_test = self._accuracy(network, self.test) if finite and self.test is not None else None
        failed = on_train is not None and on_train <= chance(self.real.labels)
        record = Record(number, derive(self.seed, "init", number), finite, failed, on_train, on_test)
        write_json(self.folder / f"{number:03d}.json", dataclasses.asdict(record))
        partial = self.folder / f"{number:03d}.partial"
        if finite:
            os.replace(partial, partial.with_suffix(".npy"))
        else:
            partial.unlink()

    @torch.inference_mode()
    def _accuracy(self, network: Network, real: RealClips) -> float:
        """Return the part of the clips that is classified correctly."""
        network.eval()
        hits = 0
        for clips, indices in real.batches(self.at_once):
            self.check()
            hits += int((self._logits(network, clips).argmax(1).cpu() == real.labels[indices]).sum())
        return hits / len(real)


def chance(labels: torch.Tensor) -> float:
    """Return the accuracy of always naming the largest class of ``labels`` (N), plus two binomial standard errors."""
    share = float(torch.bincount(labels).max()) / len(labels)
    return share + 2 * math.sqrt(share * (1 - share) / len(labels))


class _Unfinished:
    """The stored part of an expert in training: its file so far, and at ``path`` the state after the last epoch.

    The state is written after the file, so the file has every epoch that the state counts.
    """

    def __init__(self, path: Path, file: IO[bytes], layout: np.dtype, parameters: FlatParameters) -> None:
        self.path = path
        self._file = file
        self._parameters = parameters
        self._moved, (self._rows, _) = layout["moved"].base, layout["moved"].shape
        self._start = np.empty(0, "<f4")
        header = io.BytesIO()
        document = {"descr": np.lib.format.dtype_to_descr(layout), "fortran_order": False, "shape": (1,)}
        np.lib.format.write_array_header_1_0(header, document)
        self._header = header.getvalue()

    def resume(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> int:
        """Restore the stored state, or begin a file; return the number of epochs that are done."""
        with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            with np.load(self.path, allow_pickle=False) as state:
                done, weights, momentum = int(state["done"]), state["weights"], state["momentum"]
            if self._cut(done) and len(weights) == self._parameters.size:
                # As the file has it: another version of torch may draw other first weights.
                self._start = np.fromfile(self._file.name, "<f4", self._parameters.size, offset=len(self._header))
                self._parameters.scatter(torch.from_numpy(weights), network)
                self._restore_momentum(momentum, network, optimiser)
                return done
        self._start = self._flat(network)
        self._file.truncate(0)
        self._file.write(self._header)
        self._file.write(self._start.tobytes())
        return 0

    def keep(self, network: nn.Module, optimiser: torch.optim.Optimizer, done: int) -> bool:
        """Store the weights after epoch ``done``; return False, with nothing stored, if they are not finite."""
        weights = self._flat(network)
        with np.errstate(over="ignore", invalid="ignore"):
            moved = (weights - self._start).astype(self._moved)
        if not np.isfinite(moved).all():
            return False
        if done <= self._rows:
            self._file.write(moved.tobytes())
        self._file.flush()
        os.fsync(self._file.fileno())
        buffers = [optimiser.state[p].get("momentum_buffer") for p in network.parameters()]
        momentum = [buffer.reshape(-1).cpu().numpy() for buffer in buffers if buffer is not None]
        with replacing(self.path) as temporary:
            np.savez(temporary, done=done, weights=weights, momentum=np.concatenate([*momentum, np.empty(0, "<f4")]))
        return True

    def _flat(self, network: nn.Module) -> np.ndarray:
        return self._parameters.gather(network).cpu().numpy().astype("<f4")

    def _cut(self, done: int) -> bool:
        """Cut the file off after epoch ``done``; return False if it is shorter than that."""
        row = self._parameters.size * self._moved.itemsize
        whole = len(self._header) + 4 * self._parameters.size + min(done, self._rows) * row
        if os.fstat(self._file.fileno()).st_size < whole:
            return False
        self._file.truncate(whole)
        return True

    def _restore_momentum(self, momentum: np.ndarray, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        if len(momentum) == 0:
            return
        views = self._parameters.views(torch.from_numpy(momentum))
        for name, parameter in network.named_parameters():
            optimiser.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(views[name])
