"""If these fail, a researcher shows a report that is wrong, unsafe, incomplete, or that phones somewhere."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from engine.errors import RunError, UsageError
from engine.events import Note, ResultReady, RunStopped
from engine.export import gallery as gallery_module
from engine.export import wording
from engine.export.gallery import gallery
from engine.export.plots import accuracy_plot, confusion_plot, decimated, loss_plot
from engine.export.report import html, report_data, write_html, write_json
from tests.engine.export.made_up import FAILED, SCRIPT, MadeUpRuns, begun, make_set, result


class Page(HTMLParser):
    """What a browser would make of a page: tags with attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self._inside: list[str] = []
        self.feed(text)
        self.close()
        self.text = " ".join(" ".join(self.pieces).replace("\u00a0", " ").split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self._inside.append("/" + tag)

    def handle_data(self, data: str) -> None:
        if not self._inside or self._inside[-1] != "style":
            self.pieces.append(data)


@pytest.fixture
def runs(tmp_path: Path) -> MadeUpRuns:
    """Makes run directories under ``tmp_path / "runs"``."""
    return MadeUpRuns(tmp_path / "runs")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, str]:
    """The page of a completed run, and its text; made once."""
    folder = tmp_path_factory.mktemp("done")
    write_html(MadeUpRuns(folder / "runs").completed(), folder / "report.html")
    text = (folder / "report.html").read_text(encoding="utf-8")
    return Page(text), text


def test_the_headline_says_the_result_and_how_it_came_about(done: tuple[Page, str]) -> None:
    assert (
        "3 classes, IPC 1: a ConvNet3D trained on the synthetic set reaches 52.0 ± 2.0 % top-1 on test (3 networks); "
        "as many random real clips 41.0 ± 1.0 %; the still video 15.0 ± 0.0 %; "
        "chosen on the validation split at step 20."
    ) in done[0].text
    assert "That is +11.0 [8.5, 13.5] points over the best baseline: random real clips (1 per class, " in done[0].text
    assert "Protocol strict, version 1: the iteration was chosen on the validation split" in done[0].text


def test_fewer_random_clips_are_not_called_as_many() -> None:
    """A rival of seven clips at IPC 20 would seem to have sixty."""
    main = result("pixels", [0.5, 0.6], 3, ipc=20)
    for changes, said in (({}, "as many random real clips"), ({"distinct_clips": 7}, "random real clips (7 different")):
        assert said in wording.headline([main, result("random", [0.4, 0.4], 3, ipc=20, **changes)], 3)


@pytest.mark.parametrize(
    ("epochs", "batch", "ipc", "said"),
    [
        (60, 4, 2, "made 120 steps, those of the baseline 60; with evaluation.steps=120 all make as many"),
        (60, 4, 40, "made 1\u202f800 steps, those of the baseline 60; with evaluation.steps=1800 all make as many"),
        (60, 3, 1, ""),  # as many
        (60, 256, 40, ""),  # all in one batch
        (None, 4, 40, ""),
        ("60", 4, 40, ""),
        (60, 0, 40, ""),
    ],
)
def test_a_lead_that_may_be_training_is_told(epochs: object, batch: object, ipc: int, said: str) -> None:
    """In equal epochs many clips have many steps: a set of few kilobytes would seem to win by what is in it."""
    recipe = {"recipe": {"epochs": epochs, "batch": batch}}
    main = result("pixels", [0.5, 0.51, 0.52], 3, ipc=ipc, **recipe)
    equal = {"recipe": {"epochs": None, "steps": 60, "batch": batch}}
    alike = [result("pixels", [0.5, 0.51, 0.52], 3, ipc=ipc, **equal)]
    alike.append(result("compressed-random", [0.1, 0.11, 0.12], 3, ipc=1, bytes=3000, **equal))
    assert "may be training" not in wording.verdict(alike)
    few = result("compressed-random", [0.1, 0.11, 0.12], 3, ipc=1, bytes=3000, **recipe)
    found = wording.verdict([main, few])
    assert found.startswith("That is +40.0") and ("Part of that may be training" in found) == bool(said)
    assert said in found


def test_a_page_holds_all_that_was_promised(done: tuple[Page, str]) -> None:
    page, _ = done
    for wanted in ("50.0 · 52.0 · 54.0", "1\u202f000", "float32", "Loss, static stage", "Loss, dynamic stage",
                   "Accuracy over bytes", "Accuracy during the run", "chosen: step 20, 50.0 %",
                   "Top-1 of each class", "Resolved preset",
                   "lr_dynamic = 0.0001", "vdtui distill --preset preset.toml", "versions: torch"):  # fmt: skip
        assert wanted in re.sub(r"[ \n]+", " ", " ".join(page.pieces)), wanted
    assert sum(tag == "svg" for tag, _ in page.tags) == 5  # bytes, two losses, accuracy, confusion


def test_a_page_loads_nothing_and_runs_nothing(done: tuple[Page, str]) -> None:
    page, text = done
    assert "http://" not in text and "https://" not in text
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base"), tag
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href"):
                assert (value or "").startswith(("data:image/", "#")), value
    assert not re.search(r"@import|url\((?!#)", text)
    assert any("default-src 'none'" in (attributes.get("content") or "") for _, attributes in page.tags)


def test_hostile_names_show_literally(done: tuple[Page, str]) -> None:
    page, text = done
    assert SCRIPT not in text
    shown = [piece for piece in page.pieces if SCRIPT in piece]
    assert len(shown) >= 6  # title, gallery, bars, two axes of the matrix, versions, preset


@pytest.mark.parametrize(
    "name", ["-->", "--!><b>", "]]>", "$x^2$ $\\frac", "</svg>", '" onload="x', "{{ 7*7 }}", "\0\x1b[2J", "射箭"]
)
def test_no_name_breaks_a_plot_out_of_its_picture(name: str) -> None:
    import numpy as np

    page = Page(f"<p>{confusion_plot(np.eye(2), [name, 'other'])}</p>")
    assert [tag for tag, _ in page.tags].count("svg") == 1 and page.tags[0][0] == "p"
    assert not {"b", "script"} & {tag for tag, _ in page.tags}
    assert not any(attribute.startswith("on") for _, attributes in page.tags for attribute in attributes)
    visible = "".join(character if character.isprintable() else "\ufffd" for character in name)
    assert visible in page.text


def test_pictures_move_and_are_limited(done: tuple[Page, str], monkeypatch: pytest.MonkeyPatch) -> None:
    page, text = done
    pictures = [str(attributes["src"]) for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 3 * (4 + 2 + 2)
    kinds = {Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).n_frames for uri in pictures}
    assert kinds == {1, 4} and len(text) < 1e7
    many = make_set([f"class {n}" for n in range(30)], size=8, frames=2)
    assert len(gallery(many)) == gallery_module.MOST_CLASSES
    tight = gallery(many, budget=sum(p.characters for p in gallery(many)) // 10)
    assert 1 <= len(tight) < 24 and len(tight[0].clips) == 1


def test_a_large_set_says_how_much_of_it_is_shown(runs: MadeUpRuns) -> None:
    run = runs.make("many", "completed", begun(), make_set([f"class {n}" for n in range(101)], size=8, frames=2))
    assert "The first 24 of 101 classes" in Page(html(run)).text


def test_the_json_report_has_every_number(runs: MadeUpRuns, tmp_path: Path) -> None:
    write_json(runs.completed(), tmp_path / "report.json")
    document = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert document["name"] == "done" and document["state"] == "completed" and document["seed"] == 7
    assert (
        document["results"][0]["top1"]["values"] == [0.5, 0.52, 0.54]
        and document["results"][0]["stored_values"] == 1000
    )
    assert document["losses"]["static"]["values"][3] == 2.5 and len(document["losses"]["dynamic"]["steps"]) == 20
    assert document["accuracy"][1] == {
        "what": "synthetic", "split": "val", "step": 20, "mean": 0.5, "std": 0.05, "values": [0.45, 0.55],
    }  # fmt: skip
    assert document["best"] == {"step": 20, "accuracy": 0.5}
    assert document["preset"]["synthetic"]["ipc"] == 1 and document["meta"]["versions"]["torch"] == SCRIPT
    synthetic = make_set(("a", "b", "c"))
    assert document["set"]["bytes"] == {
        precision: synthetic.nbytes(precision) for precision in ("float32", "float16", "uint8")
    }


def test_the_same_run_gives_the_same_page(runs: MadeUpRuns) -> None:
    run = runs.completed()
    assert html(run) == html(run)


def test_failed_stopped_and_unfinished_runs_say_so(runs: MadeUpRuns) -> None:
    failed = Page(html(runs.make("failed", "failed", [*begun(), FAILED], make_set(("a", "b")))))
    assert f"The loss of {SCRIPT} is not finite. Use a smaller dynamic.lr_dynamic." in failed.text
    assert "There is no final result yet." in failed.text and "50.0 %" in failed.text
    stopped = runs.make("stopped", "stopped", [*begun(), RunStopped("asked"), Note("warning", SCRIPT)], None)
    page = Page(html(stopped))
    assert "stopped, in stage dynamic at step 20 of 40" in page.text and "vdtui resume stopped" in page.text
    assert "There is no synthetic set to show." in page.text and SCRIPT in page.text
    queued = Page(html(runs.make("new", "paused", [], None)))
    assert "crashed" in queued.text or "paused" in queued.text
    assert report_data(stopped)["results"] == [] and report_data(stopped)["set"] is None


def test_a_damaged_set_costs_its_pictures_only(runs: MadeUpRuns) -> None:
    run = runs.completed()
    run.best.write_bytes(run.best.read_bytes()[:1000])
    page = Page(html(run))
    assert "52.0 ± 2.0 %" in page.text and "There is no synthetic set to show." in page.text
    assert any("best.safetensors" in line for line in report_data(run)["warnings"])


def test_a_damaged_run_is_an_error_in_words(runs: MadeUpRuns) -> None:
    run = runs.completed()
    run.status_file.write_text("{")
    with pytest.raises(RunError):
        html(run)


@pytest.mark.parametrize(
    "odd",
    [
        {"what": "static-dynamic"},
        {"what": SCRIPT, "top1": {"mean": SCRIPT, "std": None, "values": SCRIPT}},
        {"what": "random", "top1": {"mean": math.nan, "std": math.nan, "values": [math.nan], "seeds": [1]}},
        result(
            "static-dynamic", (0.5,), 3, per_class=[None, SCRIPT, 0.5], confusion=[[1, 2], [3]], bytes="many", step=None
        ),
        result("pixels", (0.5, 0.6), 3, confusion=[[0] * 3] * 3, per_class=7, ipc=SCRIPT, top1=[], seconds=None),
    ],
)
def test_results_of_another_version_do_not_break_the_page(runs: MadeUpRuns, odd: dict[str, object]) -> None:
    text = html(runs.make("odd", "completed", [*begun(), ResultReady(odd)], make_set(("a", "b", "c"))))
    assert SCRIPT not in text and "script" not in {tag for tag, _ in Page(text).tags}


def test_the_wording_is_honest() -> None:
    ours = result("static-dynamic", (0.50, 0.54), 8, step=None, selected_on="test")
    theirs = result("random", (0.49, 0.53), 8)
    assert "chosen on the test split itself, which flatters the number" in wording.headline([ours, theirs], 8)
    theirs["top1"]["values"] = [0.46, 0.56]  # pairs 0.04 and -0.02: 1 point, and 12.7 times their error of 3
    assert "did not help here" in wording.verdict([ours, theirs]) and "within noise" in wording.verdict([ours, theirs])
    worse = result("random", (0.70, 0.74), 8)
    chosen = wording.verdict([{**ours, "what": "herding"}, worse])
    assert "This choice of clips did not help" in chosen and "objective" not in chosen and "steps" not in chosen
    assert "did not help here" in wording.verdict([ours, worse]) and "noise" not in wording.verdict([ours, worse])
    single = result("static-dynamic", (0.5,), 8)
    assert "50.0 % top-1 on test (1 network)" in wording.headline([single], None)
    assert "a single network has no spread" in wording.verdict([single, theirs])
    assert "random real clips at IPC 4" in wording.headline([ours, theirs | {"ipc": 4}], 8)
    assert wording.headline([], 8) == "" and wording.verdict([ours]) == ""


def test_curves_keep_their_peaks_and_their_gaps() -> None:
    import numpy as np

    y = np.zeros(100_000)
    y[4321] = 9.0
    x, thin = decimated(np.arange(100_000.0), y)
    assert len(x) <= 3000 and thin.max() == 9.0 and (np.diff(x) > 0).all()
    assert loss_plot("static", [1, 2, 3], [None, math.nan, None]) == "" and loss_plot("static", [], []) == ""
    assert "<svg" in loss_plot("static", [1, 2, 3], [1.0, None, -2.0]) and "<svg" in loss_plot("static", [1], [1.0])
    point = {"step": 0, "mean": 0.5, "std": None}
    assert "<svg" in accuracy_plot([point], "val", None, None)


def test_logarithmic_axes_have_plain_numbers() -> None:
    text = loss_plot("static", list(range(1, 50)), [1000.0 / step for step in range(1, 50)])
    ticks = re.findall(r">([\d.e+-]+)</text>", text)
    assert "100" in ticks and "mathdefault" not in text


def test_refusals_are_the_callers(runs: MadeUpRuns, tmp_path: Path) -> None:
    """The worker replaces its own report; only the command asks before it replaces somebody's file."""
    from engine.export.output import refuse_existing

    run = runs.make("twice", "completed", [], None)
    write_html(run, run.report)
    write_html(run, run.report)
    with pytest.raises(UsageError) as refusal:
        refuse_existing(run.report, overwrite=False)
    assert "--overwrite" in refusal.value.hint


def test_accuracy_is_drawn_over_bytes_where_there_is_something_to_compare() -> None:
    """A set of a hundredth of the bytes and one of as many stand in one table; the chart shows the difference."""
    from engine.export.plots import bytes_plot

    rows = [("the set", 4e3, 0.5, 0.02), ("real <clips>", 3e6, 0.6, None)]
    svg = bytes_plot(rows, 10)
    assert svg.startswith("<svg") and "the set" in svg and "real &lt;clips&gt;" in svg
    assert "10 kB" in svg and "1 MB" in svg and "over the bytes" in svg
    assert bytes_plot(rows[:1], 10) == "" and bytes_plot([("a", 0.0, 0.5, None), *rows[:1]], None) == ""
