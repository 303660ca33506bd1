"""The card of an export: all that somebody must know who has the files and nothing else.

It stands in a folder as README.md, beside a file as NAME.md, and inside of `.pt` and HDF5 files as text. What is not
known is said to be unknown: a card that leaves out in which precision an accuracy was measured claims too much.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.export import snippets, wording
from engine.export.names import shown
from engine.export.output import write_file
from engine.runs import RunDirectory
from engine.runs.results import measures, results_of
from engine.synthetic import LoadedSet, Provenance, load_set
from engine.text import counted, one_line
from engine.version import VERSION

SUFFIX = ".md"
"""The end of a card's name, behind that of the file that it stands beside."""
TERMS = {
    "hmdb51": "HMDB51's clips come from films and web videos (Kuehne et al. 2011)",
    "ucf101": "UCF101's clips come from web videos (Soomro et al. 2012)",
    "miniucf101": "MiniUCF's clips are those of 50 classes of UCF101, from web videos (Soomro et al. 2012)",
    "kinetics400": "Kinetics' clips are web videos that belong to those who uploaded them (Kay et al. 2017)",
    "ssv2": "Something-Something V2 is handed out under a licence of its own (Goyal et al. 2017)",
    "demo": "The demo's videos are drawn by this program, so nobody has rights in them",
}
_ASK = "The terms of the source data hold for what is made of them: read those of its publisher before you share this."

Planned = Callable[[float | None], Mapping[str, Any]]
"""Makes the network and recipe of a set whose learned step size is given, as results have them."""


@dataclasses.dataclass(frozen=True)
class About:
    """A set with all that is known of where it comes from."""

    loaded: LoadedSet
    source: Path
    """Its file."""
    planned: Mapping[str, Any]
    """The network and recipe by which it is going to be evaluated, as results have them: ``model`` and ``recipe``."""
    assumed: bool = False
    """True if nothing says how it is going to be evaluated, so that ``planned`` is a guess."""
    name: str = ""
    """The run's name; "" of a file without its run."""
    meta: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """The run's meta.json."""
    layout: str = ""
    """The layout that the source of the clips had, as their file says; "" if it is unknown."""
    result: Mapping[str, Any] | None = None
    """The result of the set itself, as the run measured it."""

    @classmethod
    def of_file(cls, path: Path, planned: Planned) -> About:
        """Return what the file of a set says. Raises DataError."""
        loaded = load_set(path)
        return cls(loaded, path, planned(loaded.provenance.step_size), assumed=True)

    @classmethod
    def of_run(cls, run: RunDirectory, path: Path, planned: Planned, assumed: bool = False) -> About:
        """Return what ``run`` says of its set ``path``. Raises DataError, and RunError if the run is damaged."""
        loaded, meta = load_set(path), run.meta()
        result = wording.main_result(results_of(run)) if path == run.best else None
        recipe, layout = planned(loaded.provenance.step_size), str(meta.get("layout") or "")
        return cls(loaded, path, recipe, assumed, run.name, meta, layout, result)

    @property
    def recipe(self) -> snippets.Training:
        """The training that its accuracy was measured with, or is going to be."""
        return snippets.Training.of_results(self.planned, self.result)


def _made(origin: Provenance) -> str:
    if origin.step == 0 and origin.objective is None:
        return "made of training clips without learning"
    return f"learned by {origin.objective or 'an objective that is not noted'}"


def text(about: About, kind: str, how: str, name: str, notes: tuple[str, ...] = ()) -> str:
    """Return the card, in Markdown, of the export ``name`` of ``kind``, whose values are stored as ``how``.

    ``notes`` are what the export has lost or changed.
    """
    loaded, synthetic = about.loaded, about.loaded.synthetic
    spec, origin = synthetic.spec, loaded.provenance
    number = len(spec.classes) * synthetic.clips_per_class
    real = not synthetic.description.learned
    made = "real clips, chosen" if real else _made(origin)
    shape = f"{spec.frames} frames of {spec.height} x {spec.width} pixels"
    lines = [
        f"# {_plain(about.name or origin.preset or name)}",
        "",
        f"A small training set for video classification, {made}: {len(spec.classes)} classes,"
        f" {counted(synthetic.clips_per_class, 'clip')} of each ({number} in all), {shape}.",
        f"Networks that are trained on it from scratch are tested on real videos. Kind: {synthetic.kind},"
        f" {counted(synthetic.ipc, 'instance')} per class.",
        "",
        "## What it was made by",
        "",
        *_origin(about),
        "",
        "## What is in it",
        "",
        f"- Format: {_FORMATS[kind]}",
        f"- Values: {_values(kind, how)}",
        f"- Normalisation: value = (pixel / 255 - mean) / std, mean {_numbers(spec.mean)}, std {_numbers(spec.std)}"
        " (red, green, blue). Normalise the real clips that you test on in the same way.",
        f"- Labels: {_labels(about, kind)}",
        f"- Size of the set: {_size(about)}",
        *(f"- Note: {_plain(note)}" for note in notes),
        "",
        "## Accuracy",
        "",
        *_accuracy(about, kind, how, name),
        "",
        *_use(about, kind, how, name),
        "## Classes",
        "",
        "A label is the index of a class in this order, for every loader:",
        "",
        *(f"{label}. {_plain(one_line(each))}" for label, each in enumerate(spec.classes)),
        "",
        "## Terms",
        "",
        _terms(about),
    ]
    return shown("\n".join(lines).rstrip() + "\n")


_FORMATS = {
    "set": "the file of the set, whose length is its size; `docs/formats.md` of vdtui describes it",
    "safetensors": "the tensors of the set; `docs/formats.md` of vdtui describes them",
    "pt": "a dictionary of tensors, numbers and text, for `torch.load(..., weights_only=True)`",
    "h5": "HDF5: datasets `clips` and `labels`, everything else as attributes",
    "folders": "one lossless video (H.264 RGB, crf 0, in mp4) per clip, in a folder per class; `list.txt` has a path"
    " and a class in each row, as mmaction2 and PyTorchVideo read it, `classes.txt` the names",
    "frames": "the frames of each clip as png, in a folder per clip, in a folder per class; `list.txt` has folder,"
    " number of frames and class in each row, as mmaction2's RawframeDataset reads it, `classes.txt` the names",
    "webdataset": "tar shards for WebDataset: of each clip `KEY.npy`, (3, T, H, W), and `KEY.cls`, its class",
    "mp4": "videos for looking at: they are compressed",
    "gif": "animations for looking at: they have 256 colours",
    "png": "pictures for looking at",
}


def _values(kind: str, how: str) -> str:
    if kind in snippets.LOOKED_AT or kind in ("folders", "frames"):
        return "pixels from 0 to 255, (T, H, W, 3); what was beyond black or white is cut off"
    if kind in ("set", "safetensors"):
        return f"stored as {how}"
    if how == "uint8":
        return "pixels from 0 to 255 as uint8, (N, 3, T, H, W); what was beyond black or white is cut off"
    return f"{how}, normalised, (N, 3, T, H, W); they may be beyond black and white"


def _origin(about: About) -> list[str]:
    origin, meta = about.loaded.provenance, about.meta
    command = meta.get("command")
    versions = meta.get("versions")
    said = command if isinstance(command, list) and command else None
    lines = [
        "- Command: unknown" if said is None else f"- Command: {_code(shlex.join(['vdtui', *map(str, said[1:])]))}",
        f"- Preset: {_plain(origin.preset) or 'unknown'}; seed {origin.seed}; step {origin.step}",
    ]
    used = [f"{name} {value}" for name, value in versions.items()] if isinstance(versions, Mapping) else []
    tool = str(meta.get("tool") or "vdtui, version unknown")
    lines += [f"- Versions: {_plain(', '.join([tool, *used]))}; exported by vdtui {VERSION}"]
    if meta.get("dataset"):
        fingerprint = meta.get("data_fingerprint")
        lines += [f"- Data: {_plain(str(meta['dataset']))}, fingerprint {_plain(str(fingerprint))}"]
    return lines


def _labels(about: About, kind: str) -> str:
    synthetic = about.loaded.synthetic
    if synthetic.soft_labels is None:
        return "hard, the index of the class"
    meaning = (
        "soft: a value for each class, learned with the clips, that networks fit by squared error; not probabilities"
    )
    where = {
        "pt": "`labels` (N, C); `hard_labels` are the classes",
        "h5": "`labels` (N, C); `hard_labels` are the classes",
        "folders": "`soft_labels.csv`; `list.txt` has the classes",
        "frames": "`soft_labels.csv`; `list.txt` has the classes",
        "webdataset": "`KEY.labels.npy` (C); `KEY.cls` has the class",
        "set": "in the file",
        "safetensors": "`labels` (C, instances, C)",
    }.get(kind, "not in this export, which is for looking at")
    return f"{meaning}; {where}"


def _size(about: About) -> str:
    loaded = about.loaded
    length = about.source.stat().st_size if about.source.is_file() else None
    stored = loaded.synthetic.nbytes(loaded.precision) if loaded.storage is None else loaded.nbytes
    file = f"; its file has {length:,}" if length else ""
    return f"{stored:,} bytes as {loaded.how}{file}. Composed clips take more than what they are made of"


def _accuracy(about: About, kind: str, how: str, name: str) -> list[str]:
    """Return what was measured, how, on which split, and in which precision."""
    loaded, origin = about.loaded, about.loaded.provenance
    lines = []
    if about.result is not None:
        result = about.result
        measured = str(result.get("storage") or result.get("precision"))
        recipe = result.get("recipe")
        known = recipe.items() if isinstance(recipe, Mapping) else ()
        said = "; ".join(f"{key} {value}" for key, value in known if value is not None) or "unknown"
        networks = len(wording.values_of(result))
        top5 = f", top-5 {wording.accuracy(result, 'top5')}" if "top5" in measures(dict(result)) else ""
        spread = "standard deviation over networks" if networks > 1 else "without a spread"
        lines += [
            f"- Top-1 on the test split: {wording.accuracy(result)} ({counted(networks, 'network')}, {spread}){top5}",
            f"- Protocol {result.get('protocol')}, version {result.get('protocol_version')}, network"
            f" {result.get('model')}; the step was chosen on: {result.get('selected_on')}",
            f"- Training: {_plain(said)}",
            f"- Measured of the set as {_plain(measured)}{_not_this(about, kind, how, measured)}",
        ]
    elif origin.accuracy is not None:
        measured = origin.accuracy_as or loaded.how
        lines += [
            f"- Top-1 on the split {_plain(origin.selected_on)}, by which step {origin.step} was chosen:"
            f" {wording.percent(origin.accuracy)}; not a test accuracy",
            f"- Protocol {_plain(origin.protocol)}; measured of the set as {_plain(measured)}"
            f"{_not_this(about, kind, how, measured)}",
        ]
    else:
        lines += ["- Nothing is known: it was exported without its run, and its file has no accuracy."]
    if kind not in snippets.LOOKED_AT:
        lines += [f"- To measure these files: {_code(f'vdtui evaluate {shlex.quote(name)} --data FILE.h5')}"]
    return lines


def _not_this(about: About, kind: str, how: str, measured: str) -> str:
    """Return the words for an accuracy of something else than these files hold; "" if it is of them."""
    stored = "pixels of 8 bits" if kind in (*snippets.LOOKED_AT, "folders", "frames") else how
    if stored == measured:
        return ""
    if stored == "float32" and measured == about.loaded.how:
        return "; these files hold what came out of it, as float32"
    return f", not of these files, which hold {stored}"


def _use(about: About, kind: str, how: str, name: str) -> list[str]:
    if kind in snippets.LOOKED_AT:
        return []
    synthetic, recipe = about.loaded.synthetic, about.recipe
    lines = ["## How to train on it", "", _recipe_words(about), ""]
    code = snippets.loading(synthetic, kind, how, name, recipe)
    if not code:
        written = _code(f"vdtui export {shlex.quote(name)} --format pt --output clips.pt")
        reader = f"clips, targets = load_synthetic({str(name)!r}).expand()  # (N, 3, T, H, W), normalised"
        lines += [
            f"{written} writes its clips for code of any"
            " kind; docs/formats.md of vdtui has code that reads the file without vdtui. With it:",
            "",
        ]
        code = f"from engine import load_synthetic\n\n{reader}\n"
    return [*lines, *_fenced(f"{code}\n{snippets.training(synthetic, recipe)}"), ""]


def _recipe_words(about: About) -> str:
    """Return where the recipe of the code is from, and what of it the code leaves out."""
    recipe = about.recipe
    used = snippets.network_name(about.loaded.synthetic.spec, recipe.model)
    if about.result is not None:
        words = "The code follows the recipe of the accuracy above"
    elif about.assumed:
        words = "Nothing says how networks are to be trained. Assumed is what `vdtui evaluate` does by default"
    else:
        words = "The run has not tested this set. The code follows the recipe of its preset"
    words += f": {recipe.words}."
    if recipe.left_out:
        words += f" It leaves out {' and '.join(recipe.left_out)}."
    if used != recipe.model:
        words += f" The network is {used} in place of {_plain(recipe.model)}."
    return words


def _fenced(code: str) -> list[str]:
    return ["```python", *code.rstrip().splitlines(), "```"]


def _terms(about: About) -> str:
    known = TERMS.get(about.layout)
    if about.layout == "demo":
        return f"{known}."
    if not known:
        return f"The source of the clips is not known here. {_ASK}"
    return f"{known}. {_ASK}"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def _plain(text: str) -> str:
    """Return text of a data set or a preset for Markdown: on one line, without what Markdown or HTML would obey."""
    return "".join(f"\\{character}" if character in "\\`*_<>[]#|" else character for character in one_line(text))


def _code(text: str) -> str:
    """Return a command as code of Markdown, also where it has backticks."""
    line = one_line(text)
    return f"`` {line} ``" if "`" in line else f"`{line}`"


def write_beside(output: Path, card: str, overwrite: bool) -> Path:
    """Write ``card`` beside the file ``output`` and return its path. Raises UsageError and StorageError."""
    path = output.with_name(output.name + SUFFIX)
    write_file(path, card.encode("utf-8"), overwrite)
    return path
