"""docs/formats.md against the engine: whoever writes a reader by that page must be able to rely on every line of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_origin, get_type_hints

import h5py
import numpy as np
import pytest
import torch
from safetensors import safe_open

from engine import load_preset, load_synthetic, run_distillation
from engine.config.kinds import KINDS
from engine.config.load import keys
from engine.config.plugins import NETWORKS, OBJECTIVES
from engine.data import prepare
from engine.data.spec import ClipSpec
from engine.data.store import ClipStore
from engine.data.verify import verify
from engine.errors import StopRequested
from engine.evaluation.evaluate import Questions, evaluate, find_source
from engine.events import SCHEMA, SCHEMA_VERSION, STAGES, Event
from engine.export.clips import export_h5, export_pt
from engine.export.folders import export_folders
from engine.export.report import report_data
from engine.export.tables import as_document
from engine.matching import experts
from engine.runs import RunDirectory
from engine.runs.checkpoints import checkpoint_files
from engine.runs.comparison import compare, read_sources
from engine.runs.results import conditions
from engine.runs.status import ONCE, STATES, WANTS, Control, Status
from engine.runs.study import Cell, Study
from engine.synthetic import (
    Coreset,
    Pixels,
    Provenance,
    StaticImages,
    StillVideo,
    SyntheticSet,
    Temporal,
    load_set,
    save_synthetic,
    to_bytes,
)
from engine.synthetic.container import unpack
from engine.synthetic.formation import Formation
from engine.synthetic.low_rank import LowRank
from engine.timings import Measurement, Timings
from tests.engine.matching.test_experts import make as make_expert
from tests.tiny import ROOT, make_pixels, make_spec, make_static_dynamic
from tests.tiny_run import QUICK, make_clips

PAGE = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
TYPES = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "boolean",
    float | None: "number or null",
    tuple[str, ...]: "texts",
    tuple[float, ...]: "numbers",
    dict[str, float]: "numbers by name",
    dict[str, Any]: "object",
}
MTT = (
    "static.steps=1",
    "dynamic.steps=1",
    "dynamic.objective=mtt",
    "dynamic.optimiser=adam",
    "dynamic.lr_dynamic=0.01",
    "dynamic.mtt.syn_steps=1",
    "dynamic.mtt.max_start_epoch=1",
    "experts.number=1",
    "evaluation.epochs=1",
    "evaluation.repeats=1",
)
WORDS = {
    "NUMBER": r"\d{8}",
    "STAGE": "(?:static|dynamic|evaluate)",
    "STEP": r"\d{1,6}",
    "WHAT": r"[a-z-]+(?:-h264-28-\d+)?",
    "MODEL": "convnet3d_small",
    "SPLIT": "(?:val|test)",
    "SEED": r"\d+",
    "DIGEST": "[0-9a-f]{16}",
    "NAME": "[^/]+",
}
"""What stands for the words in capitals in names of a run's files."""


def type_name(hint: Any) -> str:
    return "text" if get_origin(hint) is Literal else TYPES[hint]


# --- the page --------------------------------------------------------------------------------------------------------


def section(title: str) -> str:
    """What stands under a heading, without the deeper headings below it."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def table(title: str, number: int = 0) -> list[list[str]]:
    """The rows of the ``number``-th table of a section, cell by cell, without its head."""
    text = re.sub(r"^```.*?^```", "", section(title), flags=re.MULTILINE | re.DOTALL)
    tables = [found.splitlines()[2:] for found in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in tables[number]]


def names(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def column(title: str, number: int = 0) -> list[str]:
    """The names in the first column of a table."""
    return [name for row in table(title, number) for name in names(row[0])]


def function(name: str) -> Callable[..., Any]:
    """A function of the page's code, defined by the page alone."""
    (code,) = (block for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) if name in block)
    scope: dict[str, Any] = {}
    exec(compile(code, "docs/formats.md", "exec"), scope)
    found: Callable[..., Any] = scope[name]
    return found


def test_every_format_is_on_the_page() -> None:
    """A file that the page does not name is one that nobody outside can read."""
    found = re.compile(r'"(vdtui\.[a-z]+)"')
    sources = [path for path in (ROOT / "engine").rglob("*.py") if path.name != "plugins.py"]  # has no formats
    used = {name for path in sources for name in found.findall(path.read_text("utf-8"))}
    listed = [names(row[0])[0] for row in table("Formats")]
    used -= {NETWORKS, OBJECTIVES}  # groups of entry points
    assert set(listed) == used and len(listed) == len(used)
    assert {row[1] for row in table("Formats")} == {"1"} and SCHEMA_VERSION == 1
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)", PAGE, re.M)}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors


# --- clips files -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("data"))


def kind_of(dataset: h5py.Dataset) -> str:
    if dataset.dtype.names:
        assert all(h5py.check_string_dtype(dataset.dtype[name]) for name in dataset.dtype.names)
        return ", ".join(f"`{name}`" for name in dataset.dtype.names) + ": text"
    return "text" if h5py.check_string_dtype(dataset.dtype) else str(dataset.dtype)


def test_a_clips_file_has_what_the_page_says(clips: Path) -> None:
    """Attributes and datasets, their types and shapes: other tools read these files with h5py alone."""
    kinds = {str: "text", np.int64: "integer", np.ndarray: "3 numbers"}
    with h5py.File(clips) as file:
        said = {names(row[0])[0]: row[1] for row in table("Clips file")}
        assert {name: kinds[type(value)] for name, value in file.attrs.items()} == said
        lengths = {"T": 8, "H": 64, "W": 64, "3": 3, "V": 10, "S": 0}
        for row in table("Clips file", 1):
            name, dtype, shape = names(row[0])[0], row[1], row[2].strip("()").split(", ")
            for split, number in (("train", 6), ("test", 4)):
                if name == "missing":
                    assert name not in file  # only where there are some
                    continue
                dataset = file[name.replace("SPLIT", split)]
                assert kind_of(dataset) == dtype, name
                assert dataset.shape == tuple((lengths | {"N": number})[length] for length in shape), name
        found: list[str] = []
        file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        assert {re.sub("^(train|test)/", "SPLIT/", name) for name in found} | {"missing"} == {*column("Clips file", 1)}
        clip = file["train/clips"][0]
        assert file["train/crc32"][0] == zlib.crc32(clip.tobytes()) and file["train/clips"].chunks == (1, *clip.shape)


def test_the_fingerprint_is_computed_as_the_page_says(clips: Path) -> None:
    """By it a result is known to be of these clips."""
    with h5py.File(clips) as file:
        shape = [int(file.attrs[name]) for name in ("frames", "height", "width")]
        head = [file.attrs["source_fingerprint"], json.loads(file.attrs["classes"]), [*shape, 3]]
        sha = hashlib.sha256(json.dumps(head).encode())
        for split in ("train", "test"):
            labels = file[f"{split}/labels"][:]
            sha.update(f"{split} {len(labels)}".encode() + labels.astype("<i8").tobytes())
    with ClipStore.open(clips) as store:
        assert store.fingerprint == sha.hexdigest()[:16]


def test_a_clips_file_by_the_page_s_code_is_taken(tmp_path: Path) -> None:
    """Whoever has clips already can use them without `prepare`."""
    spec = make_spec(("a", "b"), frames=8, height=64)
    splits = {"train": (make_pixels(4, spec), [0, 1, 1, 0]), "test": (make_pixels(2, spec, 1), [1, 0])}
    function("write_clips")(tmp_path / "own.h5", ["a", "b"], splits)
    with ClipStore.open(tmp_path / "own.h5") as store:
        assert store.classes == ("a", "b") and store.clip_shape == (8, 64, 64, 3) and store.skipped == ()
        for split, (pixels, labels) in splits.items():
            view = store.split(split)
            assert np.array_equal(view.clips(range(len(view))), pixels) and view.labels.tolist() == labels
        assert np.allclose(store.mean, splits["train"][0].mean((0, 1, 2, 3)) / 255)
        kept, held = store.split("train").holdout(0.3, 0)
        assert len(kept) == len(held) == 2
    assert verify(tmp_path / "own.h5") is None


def test_the_folder_of_an_unfinished_prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there of hours of decoding, and what may be removed to begin anew."""

    def die(*_: object) -> None:
        raise RuntimeError("pulled the plug")

    monkeypatch.setattr(prepare, "_publish", die)
    with pytest.raises(RuntimeError):
        make_clips(tmp_path)
    folder = tmp_path / "clips.h5.partial"
    assert sorted(path.name for path in folder.iterdir()) == sorted(column("Clips file", 2))
    (said,) = (names(row[1]) for row in table("Clips file", 2) if row[0] == "`videos.jsonl`")
    records = [json.loads(line) for line in (folder / "videos.jsonl").read_text().splitlines()]
    assert len(records) == 10 and all([*record, "remarks", "skipped"] == said for record in records)
    assert (folder / "clips.raw").stat().st_size == 10 * 8 * 64 * 64 * 3


# --- runs ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A finished run by trajectory matching, which keeps the most, and a result of `vdtui evaluate` on it."""
    folder = tmp_path_factory.mktemp("runs")
    made = run_distillation(load_preset("default", [*QUICK, *MTT]), clips, runs_dir=folder, name="done")
    source = find_source("done", folder, None, [])
    assert list(evaluate(source, folder, Questions(storage=("h264-28",))))
    return made


def test_a_run_has_the_files_of_the_page_and_no_others(run: RunDirectory) -> None:
    """A file that is renamed is gone for every script that reads it."""
    forms = {name: name.replace(".", r"\.") for name in column("Run directory") if name == "lock" or "." in name}
    for word, form in WORDS.items():
        forms = {name: re.sub(rf"\b{word}\b", lambda _, form=form: form, text) for name, text in forms.items()}
    files = [path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file()]
    unknown = [file for file in files if not any(re.fullmatch(form, file) for form in forms.values())]
    assert unknown == []
    absent = {name for name, form in forms.items() if not any(re.fullmatch(form, file) for file in files)}
    # There where a worker was started detached or as a job, where sets are coded, where they have a budget
    # (test_budget), or where compressed clips stand beside them (test_baselines).
    budget = {"budget.json", "rungs/RUNG-DIGEST.vds"}
    baselines = {"baselines/WHAT-DIGEST-STORAGE-DRAW-MOST.vds", "baselines/all-clips.json"}
    baselines |= {"evaluations/WHAT-STORAGE-val-SEED.json"}
    baselines |= {"metrics.prom", "trackers.json"}  # of trackers (test_tracking)
    sets = {"synthetic/best.vds", "synthetic/last.vds"}
    assert absent == {"engine.log", "job.json", "plan.json", *sets, *budget, *baselines}


def test_meta_status_and_control_have_the_keys_of_the_page(run: RunDirectory) -> None:
    """What schedulers and scripts look at to see how a run is."""
    assert [*run.meta()] == column("Run directory", 1)
    status = json.loads(run.status_file.read_text())
    assert [*status] == column("Run directory", 2) == [field.name for field in dataclasses.fields(Status)]
    kinds = {"text": str, "integer": int, "number": (int, float)}
    for name, kind in ((names(row[0])[0], row[1]) for row in table("Run directory", 2)):
        if kind in kinds:
            assert isinstance(status[name], kinds[kind]), name
    assert tuple(column("Run directory", 3)) == STATES
    said = names(section("Run directory").partition("`control.json` is ")[2])
    assert {*WANTS, *ONCE, *(field.name for field in dataclasses.fields(Control))} <= {*said}


def test_the_table_of_events_is_that_of_the_engine() -> None:
    """Every event and field with its type, none too many, and the log's first line."""
    listed = [(names(row[0])[0], *names(row[1]), row[2]) for row in table("Events")]
    wanted: list[tuple[str, ...]] = []
    for cls in Event.__subclasses__():
        hints, fields = get_type_hints(cls), dataclasses.fields(cls)
        wanted += [(cls.kind, field.name, type_name(hints[field.name])) for field in fields] or [(cls.kind, "")]
    assert listed == wanted
    (first,) = (text for text in names(section("Events")) if "schema" in text)
    assert json.loads(first) == {"schema": SCHEMA, "version": SCHEMA_VERSION}
    order = section("Events").partition("Stages are, in this order: ")[2]
    assert tuple(names(order)[: len(STAGES)]) == STAGES


def test_the_log_of_a_run_is_as_the_page_says(run: RunDirectory) -> None:
    """A reader of JSON lines by the page alone finds what it names."""
    lines = [json.loads(line) for line in run.events_file.read_text().splitlines()]
    assert lines[0] == {"schema": "vdtui.events", "version": 1}
    fields: dict[str, set[str]] = {}
    for row in table("Events"):
        fields.setdefault(names(row[0])[0], set()).update(names(row[1]))
    for record in lines[1:]:
        assert set(record) == fields[record["event"]] | {"event", "time"}
    figures = {name for record in lines[1:] if record["event"] == "step" for name in record["figures"]}
    told = names(section("Events").partition("`figures` has")[2])
    assert {name for name in figures if not name.startswith(("grad_", "min_", "max_"))} <= {*told}


def test_checkpoints_hold_what_the_page_says(run: RunDirectory) -> None:
    """What is needed to go on from one, or to take a set out of it."""
    files = checkpoint_files(run.checkpoints)
    assert len(files) == 2
    for path in files:
        number, stage, step = path.stem.split("-")
        with safe_open(path, "numpy") as file:
            said, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        assert set(said) == {"stage", "step", "document", "check"} and (said["stage"], said["step"]) == (stage, step)
        check = hashlib.sha256(json.dumps(sorted([key, said[key]] for key in said if key != "check")).encode())
        for name in sorted(arrays):
            check.update(f"{name} {arrays[name].dtype} {[*arrays[name].shape]}".encode() + arrays[name].tobytes())
        assert said["check"] == check.hexdigest()
        assert len(number) == 8 and set(json.loads(said["document"])) == set(column("Checkpoints"))
        own = {name for name in arrays if not name.startswith(("optimiser.", "objective."))}
        assert own == {names(row[1])[0] for row in table("Set file") if row[0] == "`static-dynamic`"}
        told = names(section("Checkpoints").partition("Arrays:")[2])
        kept = {name.partition(".")[2] for name in arrays if name.startswith("objective.")}
        assert kept == {"step_size", "unroll"} <= {*told} and arrays["objective.step_size"].shape == ()
        assert {name.rpartition("/")[2] for name in arrays if name.startswith("optimiser.")} <= {*told}


def test_previews_hold_what_the_page_says(run: RunDirectory) -> None:
    """Small pictures that anybody can look at with NumPy."""
    shapes = {"classes": (2,), "clips": (2, 2, 8, 64, 64, 3), "static": (2, 2, 64, 64, 3), "dynamic": (2, 2, 8, 64, 64)}
    with np.load(run.previews / "dynamic-000000.npz") as preview:
        assert {name: preview[name].shape for name in preview} == shapes
        assert {str(preview[name].dtype) for name in preview if name != "classes"} == {"uint8"}
    assert set(shapes) <= set(names(section("Previews")))


def test_results_have_the_keys_of_the_page(run: RunDirectory) -> None:
    """Tables of other tools are made of these."""
    own = [json.loads(path.read_text()) for path in sorted(run.evaluations.glob("result-*.json"))]
    (judged,) = (json.loads(path.read_text()) for path in run.evaluations.glob("evaluated-*.json"))
    added = {names(row[0])[0] for row in table("A result", 1) if row[1] == "`evaluate`"} | {"storage"}
    assert len(own) == 3 and set(judged) == {*column("A result"), *added}
    for result in own:
        assert [*result] == column("A result")
        assert set(result["top1"]) == {"mean", "std", "values", "seeds"} and result["top1"]["std"] is None
        assert result["what"] in names(table("A result")[0][2])
        told = names(section("A result").partition("`recipe` has ")[2].partition(".\n")[0])
        assert [*result["recipe"]] == told
        equal = names(section("A result").partition("only if these are equal: ")[2].partition(", and which")[0])
        assert {*conditions(result)} - {"measures"} == {*equal}


OPTIONAL = {"temporal", "hallucinator", "formation", "distinct"}


# --- sets ------------------------------------------------------------------------------------------------------------


def sets() -> dict[str, SyntheticSet]:
    """One of each kind, and with what else can be stored."""
    spec = make_spec(("a", "b", "c"), frames=6, height=8, width=10)
    rng = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(3, *shape, generator=rng)

    def repeated(clips: torch.Tensor) -> torch.Tensor:
        return clips[torch.tensor([[0, 0, 0], [1, 2, 1], [3, 4, 5]])]

    real = torch.from_numpy(make_pixels(6, spec))
    return {
        "static-dynamic": make_static_dynamic(spec, 2, 2, 2),
        "less": make_static_dynamic(
            spec, 2, 1, 2, temporal=Temporal(6, 2, 2, "linear"), side=5, hallucinators=2, soft=True
        ),
        "per-class": make_static_dynamic(spec, 1, 2, 1, temporal=Temporal(6, 4), per_class=True),
        "dynamic-only": make_static_dynamic(spec, 2, 0, 2),
        "low-rank": make_low_rank(spec, Temporal(6, 2, 2, "linear")),
        "pixels": Pixels(spec, noise(2, 6, 3, 8, 10), soft_labels=noise(2, 3)),
        "pixels-formation": Pixels(spec, noise(2, 6, 3, 8, 10), formation=Formation(spec, 2)),
        "pixels-less": Pixels(spec, noise(2, 4, 3, 8, 10), temporal=Temporal(6, 2, 2)),
        "coreset": Coreset(spec, spec.normalise(real).movedim(1, 2).unflatten(0, (3, 2)).contiguous()),
        "coreset-again": Coreset(spec, repeated(spec.normalise(real)).movedim(2, 3).contiguous()),
        "static-only": StillVideo(spec, 2, noise(4, 3, 8, 10)),
        "static-images": StaticImages(spec, noise(2, 3, 8, 10)),
    }


def make_low_rank(spec: ClipSpec, temporal: Temporal) -> LowRank:
    whole, rng = make_static_dynamic(spec, 2, 1, 2, per_class=True), torch.Generator().manual_seed(1)
    coefficients, maps = (torch.randn(3, 4, 2, *shape, generator=rng) for shape in ((4,), (1, 5, 5)))
    return LowRank(spec, 2, whole.static, coefficients, maps, whole.hallucinator, temporal=temporal, per_class=True)


@pytest.mark.parametrize("precision", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("name", sets())
def test_a_set_file_has_what_the_page_says_and_its_code_reads_it(name: str, precision: str, tmp_path: Path) -> None:
    """A stranger with NumPy gets the very clips that networks here are trained on."""
    path, synthetic = tmp_path / "set.safetensors", sets()[name]
    save_synthetic(path, synthetic, Provenance("p", 1, 2, "strict", "val", 0.5, 0.02, "dm", "float32"), precision)
    with safe_open(path, "numpy") as file:
        assert ("distinct" in file.metadata()) == (name == "coreset-again")
        said, stored = set(file.metadata()), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    assert {*column("Set file", 1)} - OPTIONAL <= said <= {*column("Set file", 1)}
    own = {names(row[1])[0] for row in table("Set file") if row[0] == f"`{synthetic.kind}`"}
    pictures = [part.name for part in synthetic.description.parts if part.channels and not part.exact]
    ranged = pictures if precision == "uint8" else []
    assert set(stored) == own | {"labels"} | {f"{key}.{part}" for key in ranged for part in ("offset", "scale")}
    clips, labels = function("load_clips")(path)
    expected, targets = load_synthetic(path).expand()
    assert clips.shape == tuple(expected.shape) and np.abs(clips - expected.numpy()).max() < 1e-4
    assert labels.dtype == targets.numpy().dtype and np.array_equal(labels, targets.numpy())


def test_a_set_by_the_page_s_code_is_taken(tmp_path: Path) -> None:
    """A set that was made elsewhere can be judged here."""
    synthetic = sets()["pixels"]
    spec, pixels = synthetic.spec, synthetic.tensors()["pixels"]
    function("write_pixels")(tmp_path / "own.safetensors", pixels.numpy(), [*spec.classes], spec.mean, spec.std)
    loaded = load_synthetic(tmp_path / "own.safetensors")
    assert loaded.spec == spec and torch.equal(loaded.expand()[0], synthetic.expand()[0])


def coded_sets() -> dict[str, SyntheticSet]:
    """Sets of whole frames: in the range of pixels and beyond it, and with clips that are shown again."""
    spec, rng = make_spec(("red", "green", "Bär"), 5, 14, 22), torch.Generator().manual_seed(1)
    waves = torch.linspace(0, 4, 22).sin() + torch.linspace(0, 3, 14).cos().unsqueeze(1)
    pixels = 0.8 * waves + 0.2 * torch.randn(3, 2, 5, 3, 1, 1, generator=rng)
    real = spec.normalise(torch.from_numpy(make_pixels(6, spec))).unflatten(0, (3, 2))
    again = torch.stack(
        [own[torch.tensor(places)] for own, places in zip(real, ([0, 1, 0], [0, 0, 0], [1, 0, 1]), strict=True)]
    )
    return {
        "pixels": Pixels(spec, pixels),
        "beyond": Pixels(spec, 3 * pixels),
        "coreset": Coreset(spec, real.movedim(2, 3).contiguous()),
        "again": Coreset(spec, again.movedim(2, 3).contiguous()),
    }


@pytest.mark.parametrize("how", ["h264-20", "h264-35"])
@pytest.mark.parametrize("name", coded_sets())
def test_a_coded_set_is_read_by_the_page_s_code(name: str, how: str, tmp_path: Path) -> None:
    """A stranger with NumPy and PyAV gets the very clips that networks here are trained on."""
    synthetic, path = coded_sets()[name], tmp_path / "set.vds"
    save_synthetic(path, synthetic, Provenance("p", 1, 2, "strict", "val", 0.5, 0.02, "dm", "float32"), how)
    expected = load_synthetic(path).expand()[0]
    clips = function("load_coded")(path)
    assert clips.shape[:2] == (3, synthetic.ipc)
    off = np.abs(clips.reshape(expected.shape) - expected.numpy())
    scale = (synthetic.tensors()["pixels"].max() - synthetic.tensors()["pixels"].min()).item() / 255
    # A chroma that lies halfway between two levels may be rounded the other way.
    assert off.max() <= 1.05 * max(scale, 1 / 255 / 0.2) and off.mean() < 0.01 * max(scale, 1 / 255)


@pytest.mark.parametrize("how", ["h264-28", "jpeg-80+h264-28@8"])
def test_coded_sets_have_what_the_page_says(how: str) -> None:
    """Whoever writes a reader knows all keys and parts."""
    origin, keys_of = (
        Provenance("p", 1, 2, "strict", "val", 0.5, 0.02, "dm", "float32"),
        set(column("Coded set file", 1)),
    )
    seen: set[str] = set()
    for synthetic in (*sets().values(), coded_sets()["again"]):
        if "+" in how and "static-dynamic" not in synthetic.kind:
            continue
        head, parts = unpack(to_bytes(synthetic, origin, how))
        seen |= {*head, "parts"}
        pictures = {part.name for part in KINDS[synthetic.kind].parts if part.channels}
        wanted = {name for name, tensor in synthetic.tensors().items() if tensor.numel()}
        assert {name for name in parts if not name.endswith(".range")} == wanted
        assert {name.removesuffix(".range") for name in parts if name.endswith(".range")} <= pictures
        if synthetic.soft_labels is not None:
            assert parts["soft_labels"] == synthetic.soft_labels.numpy().astype("<f4").tobytes()
    assert seen == keys_of if "+" not in how else seen <= keys_of


# --- experts and presets ---------------------------------------------------------------------------------------------


def failing(after: int) -> Callable[[], None]:
    """Stops an expert's training at a later check."""
    calls = iter(range(after))

    def check() -> None:
        if next(calls, None) is None:
            raise StopRequested("enough")

    return check


def test_experts_are_as_the_page_says(run: RunDirectory, tmp_path: Path) -> None:
    """Weights that took hours to train can be used by other code."""
    (folder,) = (run.path.parent / ".data" / "experts").iterdir()
    index = json.loads((folder / "index.json").read_text())
    assert {*index} == {"format", "version", "made_from", "parameters"}
    told = names(section("Experts").partition("`made_from` has ")[2].partition(";")[0])
    assert [*index["made_from"]] == told
    digest = hashlib.sha256(json.dumps(index["made_from"], sort_keys=True).encode()).hexdigest()[:16]
    assert folder.name == f"convnet3d_small-{digest}"
    about = json.loads((folder / "000.json").read_text())
    said = {names(row[0])[0]: names(row[1]) for row in table("Experts")}
    assert [*about] == [name for name in said["NNN.json"] if name in about] and about["finite"]
    files = {path.name for path in folder.iterdir()}
    unfinished = make_expert(tmp_path / "begun", check=failing(after=8))
    with pytest.raises(StopRequested):
        unfinished.run()
    files |= {path.name for path in unfinished.folder.iterdir()}
    assert {name.replace("000", "NNN") for name in files} == {*said}
    with np.load(unfinished.folder / "000.training.npz") as state:
        assert [*state] == [name for name in said["NNN.training.npz"] if name in state]
    size = sum(int(np.prod(shape)) for _, shape in index["parameters"])
    network = experts.video_model("convnet3d_small", 2, 8, 64, 0, torch.device("cpu"))
    known = experts.Trajectories.open(folder, index["made_from"], network, 1, torch.device("cpu"))
    for epoch in (0, 1):
        weights = function("expert_weights")(folder / "000.npy", epoch)
        assert weights.shape == (size,) and np.array_equal(weights, known.weights(0, epoch).numpy())


def test_the_tables_of_presets_are_those_of_the_schema() -> None:
    """A key that the page has and the engine has not is an error to whoever writes it."""
    top = ["title", "description", "published"]
    listed = [f"{names(row[0])[0]}.{key}" for row in table("Presets") for key in names(row[1])]
    assert sorted(top + listed) == sorted(keys())
    assert {*top, "extends"} <= {*names(section("Presets"))}


# --- other documents -------------------------------------------------------------------------------------------------


def test_other_documents_have_the_keys_of_the_page(run: RunDirectory, tmp_path: Path) -> None:
    """What scripts take out of tables, studies and exports."""
    said = {name: names(row[1]) for row in table("Other documents") for name in names(row[0])}
    elsewhere = {names(row[0])[0] for row in table("Formats") if "#other-documents" not in row[3]}
    assert {*said} == {*column("Formats")} - elsewhere
    head = ["format", "version"]

    cells = (Cell((("run.seed", 0),)),)
    Study(tmp_path, "grid", "demo", (), cells).save()
    study = json.loads((tmp_path / "study.json").read_text())
    assert [*study, *study["cells"][0]] == head + said["vdtui.study"]

    timings = Timings("cpu", 2, "2.11", (Measurement("part", "floor", 2.0, 1.0, 2.0, (2.0,)),)).document()
    assert {*timings, *timings["parts"][0]} == {*head, *said["vdtui.bench"]}

    document = as_document(compare(read_sources(run.path.parent, [run.name], print)))
    added = {names(row[0])[0] for row in table("A result", 1) if row[1] == "`compare`"}
    assert {*document["results"][0]} - {*column("A result")} == added
    assert {*document, *document["groups"][0], *added} == {*head, *said["vdtui.comparison"]}

    loaded = load_set(run.best)
    export_pt(loaded, tmp_path / "set.pt")
    export_h5(loaded, tmp_path / "set.h5")
    assert {*torch.load(tmp_path / "set.pt", weights_only=True)} == {*head, *said["vdtui.composed"]}
    with h5py.File(tmp_path / "set.h5") as file:
        assert {*file.attrs, *file} == {*head, *said["vdtui.composed"]}

    export_folders(loaded, tmp_path / "folder")
    assert {*json.loads((tmp_path / "folder" / "index.json").read_text())} == {*head, *said["vdtui.export"]}
    assert report_data(run)["format"] in said
