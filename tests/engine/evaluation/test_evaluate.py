"""Judging by itself, and coresets as runs: the numbers that people publish, end to end on real little videos."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine import files
from engine.api import run_distillation
from engine.config import load_preset
from engine.data.store import ClipStore
from engine.distilling.opening import scarce_clips
from engine.errors import DataError, PresetError, UsageError
from engine.evaluation import trials
from engine.evaluation.evaluate import Questions, evaluate, find_source
from engine.evaluation.judge import Judge
from engine.files import read_json
from engine.models import video_model
from engine.runs import RunDirectory
from engine.runs.results import results_of
from engine.seeds import derive
from engine.synthetic import Coreset, Provenance, load_set, load_synthetic, save_synthetic, to_bytes
from engine.synthetic.compressed import encode_set
from tests.tiny import make_real, make_spec
from tests.tiny_run import QUICK, make_clips

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("clips"))


def run_of(clips: Path, folder: Path, name: str, **changes: Any) -> RunDirectory:
    texts = [*QUICK, *(f"{key.replace('__', '.')}={value}" for key, value in changes.items())]
    return run_distillation(load_preset("default", texts), clips, runs_dir=folder, name=name)


@pytest.fixture(scope="module")
def runs(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with a coreset by herding (seeded features), all of the data, and one distilled as published."""
    folder = tmp_path_factory.mktemp("runs")
    herding = {"synthetic__kind": "coreset", "selection__method": "herding", "selection__features": "seeded"}
    run_of(clips, folder, "herding", **herding, synthetic__ipc=2)
    run_of(clips, folder, "full", synthetic__kind="full", evaluation__repeats=1)
    run_of(clips, folder, "published", evaluation__protocol="vdsd", synthetic__kind="pixels")
    return folder


def test_a_coreset_is_what_its_method_chooses(runs: Path, clips: Path) -> None:
    """The clips of the file against a choice that is made here, from features of the same seeded network."""
    run = RunDirectory(runs / "herding")
    chosen = load_synthetic(run.best)
    assert isinstance(chosen, Coreset) and chosen.ipc == 2
    with ClipStore.open(clips) as store:
        train, _ = store.split("train").holdout(0.3, derive(0, "holdout"))
        network = video_model("convnet3d_small", 2, 8, 64, derive(0, "features"), CPU).eval()
        for label in range(2):
            own = train.by_class(label)
            shown = chosen.spec.normalise(torch.from_numpy(train.clips(own)))
            with torch.no_grad():
                features = network.embed(shown).double().numpy()
            first = int(((features - features.mean(0)) ** 2).sum(1).argmin())
            rest = [k for k in range(len(own)) if k != first]
            distance = [np.linalg.norm((features[first] + features[k]) / 2 - features.mean(0)) for k in rest]
            expected = [first, rest[int(np.argmin(distance))]]
            found = chosen.pixels[label].transpose(1, 2)
            assert torch.allclose(found, shown[torch.tensor(expected)], atol=1e-5), label
    own_row, random_row = run.folded().results
    assert (own_row["what"], random_row["what"]) == ("herding", "random")
    assert own_row["bytes"] == random_row["bytes"] == 2 * 2 * 8 * 64 * 64 * 3
    assert own_row["selected_on"] == "none" and run.state() == "completed"


def test_all_of_the_data_is_a_row_too(runs: Path) -> None:
    """The number that every table is compared with."""
    run = RunDirectory(runs / "full")
    (row,) = run.folded().results
    assert row["what"] == "full" and row["ipc"] is None and not run.best.exists()
    assert row["bytes"] == run.meta()["data_clips"]["train"] * 8 * 64 * 64 * 3


def test_the_published_protocol_chooses_on_test_and_reports_what_it_chose_by(runs: Path) -> None:
    """In every quirk: no clip is held out, the best of all iterations on test is the number, and it says so."""
    run = RunDirectory(runs / "published")
    folded = run.folded()
    curve = folded.accuracy_curve()
    assert {point.split for point in curve} == {"test"} and len(curve) == 3
    best = max(curve, key=lambda point: point.mean)
    own = folded.results[0]
    assert own["selected_on"] == "test" and own["protocol"] == "vdsd" and own["std_kind"] == "population"
    assert own["step"] == best.step and own["top1"]["values"][:1] == list(best.values)
    assert own["deviations"][0] == "epochs 1, published 500"
    assert run.meta()["data_clips"]["val"] == 0
    assert any("flatters" in line.text for line in folded.log if line.level == "warning")


def test_evaluate_repeats_the_run_s_own_numbers(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same set, same recipe, same seeds: the very same accuracies; and again without training anything."""
    source = find_source("herding", runs, None, [])
    own, random = evaluate(source, runs, Questions(("random",)))
    table = RunDirectory(runs / "herding").folded().results
    assert [own["top1"], random["top1"]] == [row["top1"] for row in table]
    assert own["confusion"] == table[0]["confusion"] and own["recipe"] == table[0]["recipe"]
    monkeypatch.setattr(trials, "fitting", lambda *_: pytest.fail("trained again"))
    (again,) = evaluate(source, runs)
    assert again["top1"] == own["top1"]
    monkeypatch.undo()
    (frozen,) = evaluate(source, runs, Questions(frames="frozen"))
    assert frozen["recipe"]["frames"] == "frozen"
    later = results_of(RunDirectory(runs / "herding"))
    assert [row["what"] for row in later] == ["herding", "random", "herding"]
    assert later[2]["recipe"]["frames"] == "frozen"


def test_a_set_from_a_file_and_several_networks(runs: Path, clips: Path, tmp_path: Path) -> None:
    """What a colleague sends, under networks of our choice."""
    changes = [*QUICK, "evaluation.repeats=1", "evaluation.epochs=1", 'evaluation.models=["convnet_mean", "convnet3d"]']
    source = find_source(str(runs / "herding/synthetic/best.safetensors"), tmp_path, clips, changes)
    rows = list(evaluate(source, tmp_path))
    assert [(row["model"], row["what"], row["ipc"]) for row in rows] == [
        ("convnet_mean", "coreset", 2),
        ("convnet3d", "coreset", 2),
    ]
    assert (tmp_path / ".data/evaluations").is_dir()
    stored = read_json(next((tmp_path / ".data/evaluations").iterdir()))
    assert stored is not None and stored["outcome"]


def test_what_does_not_fit_is_refused_before_anything_is_trained(runs: Path, clips: Path, tmp_path: Path) -> None:
    """Hours later would be too late; and a number of other classes would look like one."""
    path = runs / "herding/synthetic/best.safetensors"
    with pytest.raises(UsageError, match="no file of them"):
        find_source(str(path), tmp_path, None, [])
    with pytest.raises(UsageError, match="no run 'nothing'"):
        find_source("nothing", runs, None, [])
    with pytest.raises(PresetError, match="unknown key"):
        find_source("herding", runs, None, ["evaluation.epoch=3"])
    loaded = load_set(path)
    spec = loaded.synthetic.spec
    assert isinstance(loaded.synthetic, Coreset)
    others = {
        "classes": type(spec)(("x", "y"), spec.frames, spec.height, spec.width, spec.mean, spec.std),
        "normalisation": type(spec)(spec.classes, spec.frames, spec.height, spec.width, (0.5,) * 3, (0.5,) * 3),
    }
    for what, other in others.items():
        strange = tmp_path / f"{what}.safetensors"
        save_synthetic(strange, Coreset(other, loaded.synthetic.pixels), Provenance(), "uint8")
        with pytest.raises(DataError, match=what):
            next(evaluate(find_source(str(strange), tmp_path, clips, QUICK), tmp_path))
    with pytest.raises(UsageError, match="no static memory"):
        next(evaluate(find_source("herding", runs, None, []), runs, Questions(("static-only",))))
    with pytest.raises(UsageError, match="no baseline random"):
        next(evaluate(find_source("full", runs, None, []), runs, Questions(("random",))))


def test_equal_bytes_is_counted_in_files(runs: Path, clips: Path) -> None:
    """The honest baseline: what is trained on was decoded from a file that is no larger than the set."""
    changes = ["evaluation.repeats=1", "evaluation.epochs=1"]
    source = find_source("published", runs, None, changes)
    asked = Questions(
        ("compressed-random", "compressed-herding"), storage=("uint8", "h264-28"), baseline_storage="h264-35"
    )
    told: list[str] = []
    stored, coded, random, herded = evaluate(source, runs, asked, lambda done, total, what, part: told.append(what))
    assert any("features" in what for what in told), "minutes of training would pass in silence"
    whole = load_synthetic(RunDirectory(runs / "published").best)
    assert stored["storage"] == "uint8" and stored["bytes"] == len(to_bytes(whole, Provenance(), "uint8"))
    assert coded["storage"] == "h264-28" and coded["bytes"] == len(encode_set(whole, "h264-28").blob) < stored["bytes"]
    assert (random["what"], herded["what"]) == ("compressed-random", "compressed-herding")
    assert random["bytes"] <= whole.nbytes("float32") and random["storage"] == "h264-35"
    assert random["ipc"] == herded["ipc"] == RunDirectory(runs / "published").meta()["data_clips"]["train"] // 2


def test_bytes_that_hold_no_clip_are_refused_before_a_network_is_trained(
    runs: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Herding trained a network on all of the data for an hour, and then it was said that nothing fits."""
    small = tmp_path / "small.vds"
    save_synthetic(small, load_synthetic(RunDirectory(runs / "herding").best), Provenance(), "h264-51@16")
    monkeypatch.setattr(Judge, "feature_network", lambda *_: pytest.fail("a network is trained"))
    asked = Questions(("compressed-herding",), baseline_storage="h264-1")
    with pytest.raises(DataError, match="cannot hold one real clip of each class as h264-1: the smallest") as refusal:
        next(evaluate(find_source(str(small), runs, clips, QUICK), runs, asked))
    assert "--baseline-storage" in refusal.value.hint
    monkeypatch.undo()
    coarser = Questions(("compressed-random",))  # h264-28 holds none in so few bytes
    _, random = evaluate(find_source(str(small), runs, clips, [*QUICK, "evaluation.repeats=1"]), tmp_path, coarser)
    assert random["what"] == "compressed-random" and random["bytes"] <= small.stat().st_size


# --- more clips than a class has -------------------------------------------------------------------------------------


def test_more_clips_than_there_are(clips: Path, tmp_path: Path) -> None:
    """A set that weighs more than all of the data, without a word: every clip is one, however often it is shown."""
    changes = {"selection__method": "herding", "selection__features": "seeded", "evaluation__epochs": 1}
    run = run_of(clips, tmp_path, "many", synthetic__kind="coreset", synthetic__ipc=5, **changes)
    train = run.meta()["data_clips"]["train"]
    every = train * 8 * 64 * 64 * 3
    own, random = run.folded().results
    for row in (own, random):
        assert (row["ipc"], row["distinct_clips"], row["bytes"], row["stored_values"]) == (5, train, every, every)
    assert run.best.stat().st_size < every + 4096
    (warned,) = [line.text for line in run.folded().log if "are wanted" in line.text]
    assert "5 real clips" in warned and "still <b> has 2" in warned and "moving has 2" in warned
    told: list[str] = []
    asked = Questions(("random", "full", "compressed-random"), storage=("uint8",))
    source = find_source("many", tmp_path, None, ["evaluation.repeats=1"])
    rows = list(evaluate(source, tmp_path, asked, warn=told.append))
    assert told == [warned]
    assert [row["what"] for row in rows] == ["herding", "random", "full", "compressed-random"]
    assert all(row["bytes"] < every + 4096 and row["stored_values"] <= every for row in rows)
    assert [row.get("distinct_clips") for row in rows] == [train, train, None, None]


def test_as_many_clips_as_there_are_is_no_warning(runs: Path) -> None:
    """A warning that always comes is read by nobody."""
    run = RunDirectory(runs / "herding")
    assert not any("are wanted" in line.text for line in run.folded().log)
    assert all("distinct_clips" not in row for row in run.folded().results)


REAL = make_real(make_spec("abcde"), (1, 2, 3, 4, 9))


@pytest.mark.parametrize(
    ("changes", "starts", "wanted"),
    [
        (["kind=full", "ipc=50"], "", ""),
        (["kind=coreset", "ipc=1"], "", ""),
        (["kind=coreset", "ipc=3"], "", "a has 1, b has 2;"),
        (["kind=coreset", "ipc=9"], "", "a has 1, b has 2, c has 3, and 1 more too few;"),
        (["kind=pixels", "ipc=2"], "a has 1;", "a has 1;"),
        (["kind=pixels", "ipc=2", "dynamic.init=noise"], "", "a has 1;"),
        (["ipc=1"], "", ""),
        (["dynamics_per_instance=2"], "a has 1;", ""),
        (["statics_per_instance=3", "dynamic.init=noise"], "a has 1, b has 2;", ""),
        (["static.init=noise", "dynamics_per_instance=3"], "a has 1, b has 2;", ""),
        (["ipc=2", "static.init=noise", "dynamic.init=noise"], "", "a has 1;"),
        (["kind=static-only", "statics_per_instance=2"], "a has 1;", ""),
    ],
    ids=str,
)
def test_warnings_name_the_classes(changes: list[str], starts: str, wanted: str) -> None:
    """Which classes are too small for what is asked for, a handful at most; and nothing where all are large enough."""
    keys = [change if "." in change.partition("=")[0] else f"synthetic.{change}" for change in changes]
    said = scarce_clips(load_preset("default", keys), REAL)
    for about, expected in (("start from", starts), ("are wanted", wanted)):
        found = [text for text in said if about in text]
        assert len(found) == bool(expected) and all(f"of training clips {expected}" in text for text in found)
    assert len(said) == bool(starts) + bool(wanted)


def test_a_result_that_cannot_be_kept_is_told(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a run on a disk that can only be read an hour's result was lost, for it could not be written."""
    place = RunDirectory(runs / "full").evaluations
    before, make = sorted(place.iterdir()), files.make_folder

    def refuse(folder: Path) -> None:
        if folder == place:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        make(folder)

    monkeypatch.setattr(files, "make_folder", refuse)
    warned: list[str] = []
    rows = list(evaluate(find_source("full", runs, None, ["evaluation.epochs=2"]), runs, warn=warned.append))
    assert [row["what"] for row in rows] == ["full"] and sorted(place.iterdir()) == before
    assert len(warned) == 1 and "cannot be written (Read-only file system)" in warned[0] and "--output" in warned[0]
