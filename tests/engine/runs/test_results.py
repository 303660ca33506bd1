"""If these fail, a table lacks results, shows one twice, or puts into one column what was measured differently."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from engine.errors import DataError
from engine.files import write_json
from engine.runs import RunDirectory, RunState
from engine.runs.results import conditions, is_result, key_of, measures, results_in, results_of, trained_on

RECIPE = {"epochs": 500, "lr": 0.01, "labels": "hard"}


def made(what: str = "static-dynamic", mean: float = 0.5, **changes: Any) -> dict[str, Any]:
    """A result with two networks around ``mean``."""
    top1 = {"mean": mean, "std": 0.1, "values": [mean - 0.05, mean + 0.05], "seeds": [1, 2]}
    return {
        "what": what, "ipc": 1, "protocol": "strict", "protocol_version": 1, "model": "convnet3d",
        "data_fingerprint": "abc", "recipe": RECIPE, "top1": top1, "bytes": 10, "precision": "float32", "step": 4,
    } | changes  # fmt: skip


def with_files(folder: Path, own: list[dict[str, Any]], *later: Any) -> tuple[RunDirectory, RunState]:
    """A run whose log has ``own`` results, and in whose folder ``later`` ones lie."""
    run = RunDirectory(folder / "run")
    for number, document in enumerate(later):
        write_json(run.evaluations / f"evaluated-{number}.json", document)
    return run, RunState(results=own)


def test_results_measured_later_stand_after_the_runs_own(tmp_path: Path) -> None:
    """What `vdtui evaluate` took hours to measure would be seen nowhere."""
    other = made(model="r3d_18", evaluated=True)
    run, folded = with_files(tmp_path, [made(), made("random")], other)
    assert results_of(run, folded) == [made(), made("random"), other]


def test_the_same_measurement_counts_once_and_the_later_one(tmp_path: Path) -> None:
    """A row that stands twice looks like a confirmation."""
    again = made(mean=0.6, evaluated=True)
    run, folded = with_files(tmp_path, [made(), made("random")], again)
    assert results_of(run, folded) == [again, made("random")]


@pytest.mark.parametrize(
    ("objective", "said"), [("dm", "static-dynamic, dm"), (None, "static-dynamic"), (3, "static-dynamic")]
)
def test_what_networks_were_trained_on_names_the_objective(objective: Any, said: str) -> None:
    """Older results have none, and a damaged one may have anything."""
    assert trained_on(made(objective=objective)) == said and trained_on({"what": "random"}) == "random"


def test_a_file_of_an_older_version_has_no_spread_of_one_network(tmp_path: Path) -> None:
    """Its 0.0 would stand in a table beside the spreads of others, as that of the most certain set of all."""
    one = {"mean": 0.5, "std": 0.0, "values": [0.5], "seeds": [1]}
    two = {"mean": 1.0, "std": 0.0, "values": [1.0, 1.0], "seeds": [1, 2]}
    run, folded = with_files(tmp_path, [], made(top1=one, top5=two))
    (read,) = results_of(run, folded)
    assert read["top1"] == one | {"std": None} and read["top5"] == two  # two networks may agree
    assert results_in(run.evaluations / "evaluated-0.json") == [read]
    assert read["recipe"] == RECIPE and set(read) == set(made(top5=two))


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": RECIPE | {"epochs": 50}},
        {"protocol": "vdsd"},
        {"protocol_version": 2},
        {"model": "r3d_18"},
        {"data_fingerprint": "def"},
        {"step": 8},
        {"storage": "h264-23"},
        {"ipc": 5},
        {"top1": {"mean": 0.5, "std": 0.1, "values": [0.4, 0.6], "seeds": [3, 4]}},
    ],
)
def test_another_measurement_replaces_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    """A look at another recipe would wipe out the number that was published."""
    run, folded = with_files(tmp_path, [made()], made(**change))
    assert len(results_of(run, folded)) == 2


def test_damaged_files_are_left_out_and_named(tmp_path: Path) -> None:
    """One torn file must not hide all other results, nor go unnoticed."""
    run, folded = with_files(tmp_path, [made()], {"what": "random"}, {"top1": {}}, made("herding"))
    (run.evaluations / "evaluated-torn.json").write_text('{"what": "rand', encoding="utf-8")
    (run.evaluations / "static-dynamic-test-000004-1.json").write_text("{}", encoding="utf-8")  # a single network
    notes: list[str] = []
    assert [result["what"] for result in results_of(run, folded, notes.append)] == ["static-dynamic", "herding"]
    assert len(notes) == 3 and all("damaged" in note for note in notes) and "torn" in notes[2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("protocol", "vdsd"),
        ("protocol_version", 2),
        ("model", "r3d_18"),
        ("data_fingerprint", "def"),
        ("recipe", {**RECIPE, "lr": 0.02}),
        ("recipe", None),
        ("std_kind", "population"),
        ("top5", {"mean": 0.9, "std": 0.1, "values": [0.9, 0.9]}),
    ],
)
def test_each_condition_separates(name: str, value: object) -> None:
    """An accuracy of one protocol, recipe or data set would stand over one of another as if it were better."""
    assert key_of(made()) != key_of(made(**{name: value}))


def test_what_is_not_a_condition_does_not_separate() -> None:
    """Every run would have a table of its own, and nothing be compared."""
    other = made("herding", mean=0.1, ipc=5, bytes=3, step=None, seconds=9.0, deviations=["x"], std_kind="sample")
    other["recipe"] = dict(reversed(list(copy.deepcopy(RECIPE).items())))
    assert key_of(made()) == key_of(other)


def test_top5_counts_with_more_than_five_classes_only() -> None:
    """Top-5 of five classes is always 100 %: a column that says nothing, and looks splendid."""
    top5 = {"mean": 1.0, "std": 0.0, "values": [1.0, 1.0]}
    assert measures(made(top5=top5, per_class=[0.5] * 5)) == ["top1"]
    assert measures(made(top5=top5, per_class=[0.5] * 6)) == ["top1", "top5"]


def test_results_of_vdsd_have_a_population_deviation_even_if_they_do_not_say_so() -> None:
    """Over three networks the two kinds differ by a fifth."""
    assert conditions(made(protocol="vdsd"))["std_kind"] == "population" and conditions(made())["std_kind"] == "sample"


@pytest.mark.parametrize(
    "odd",
    [None, [], {}, {"what": "a"}, {"what": 1, "top1": made()["top1"]}, made(top1=[]), made(top1={"mean": float("nan")}),
     made(top1={"mean": 0.5, "values": []}), made(top1={"mean": True, "values": [0.5]}),
     made(top1={"mean": 0.5, "values": ["0.5"]})],
)  # fmt: skip
def test_what_is_no_result_is_recognised(odd: object) -> None:
    """A file by chance of the right name would end in a traceback."""
    assert not is_result(odd) and is_result(made())


def test_files_of_results(tmp_path: Path) -> None:
    """What `evaluate --output` wrote can be compared on another machine."""
    write_json(tmp_path / "many.json", {"results": [made(), made("random"), {"what": "odd"}]})
    write_json(tmp_path / "one.json", made())
    write_json(tmp_path / "none.json", {"results": []})
    assert [one["what"] for one in results_in(tmp_path / "many.json")] == ["static-dynamic", "random"]
    assert results_in(tmp_path / "one.json") == [made()]
    for name, said in (("none.json", "no results"), ("absent.json", "no file")):
        with pytest.raises(DataError) as refusal:
            results_in(tmp_path / name)
        assert said in refusal.value.problem
