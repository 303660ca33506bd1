"""If these fail, a table in a paper is wrong, breaks its document, or runs as a formula in somebody's spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import re
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.export.tables import (
    CSV_COLUMNS,
    as_csv,
    as_document,
    as_latex,
    as_markdown,
    cells,
    columns,
    points,
    sheets,
)
from engine.runs.comparison import Group, Source, compare
from engine.runs.differences import Difference
from engine.runs.methods import Origin
from tests.engine.export.made_up import result

RECIPE = {"epochs": 500, "lr": 0.01, "weight_decay": 5e-4, "labels": "hard"}
HOSTILE = r"a_b%c&d$e#f{g}h~i^j\k|l*m`n<o>[p]!q"


def groups_of(name: str = "mine", **changes: Any) -> list[Group]:
    """Two tables: strict with three rows of two sources, vdsd with one."""
    own = result("static-dynamic", (0.50, 0.52, 0.57), 6, recipe=RECIPE, **changes)
    random = result("random", (0.40, 0.41, 0.45), 6, recipe=RECIPE, step=None, selected_on="none")
    published = result(
        "static-dynamic", (0.61,), 6, recipe={**RECIPE, "epochs": 50}, protocol="vdsd", selected_on="test",
        deviations=["epochs 50, published 500"], storage="h264-23",
    )  # fmt: skip
    return compare(
        [Source(name, (own, random, published)), Source("other", (result("full", (0.9, 0.9), 6, recipe=RECIPE),))]
    )


def markdown_rows(text: str) -> list[list[str]]:
    """Cells of all table lines, split at pipes that are not escaped."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]] for line in lines]


def test_cells_say_what_was_measured() -> None:
    """The row that goes into the paper: numbers in percent, interval in points, verdict in words."""
    group = groups_of()[0]
    row = dict(zip(columns(group), cells(group)[0], strict=True))
    assert row["run"] == "mine" and row["trained on"] == "static-dynamic, step 20" and row["IPC"] == "1"
    assert row["top-1, %"] == row["top-5, %"] == "53.0 ± 3.6"
    assert row["bytes"] == "4.0 kB" and row["stored as"] == "float32" and row["chosen on"] == "val"
    # paired differences 10, 11, 12 points: mean 11, standard error 1 / sqrt(3), t = 4.3027
    assert row["over random"] == "+11.0 [8.5, 13.5] better set" and row["to best"] == "best"
    assert cells(group)[1][-2:] == ["–", "-11.0 [-13.5, -8.5] worse set"]
    assert cells(group)[2][-2:] == ["–", "–"]  # all of the data


def test_a_row_names_the_objective_that_its_set_was_learned_by() -> None:
    """Two sets of one kind by two objectives would be one word in a table; real clips have none."""
    groups = groups_of(objective="ncfm")
    assert [row[1] for row in cells(groups[0])][:2] == ["static-dynamic, ncfm, step 20", "random"]
    records = [*csv.DictReader(io.StringIO(as_csv(groups)))]
    assert [(record["what"], record["objective"]) for record in records[:2]] == [
        ("static-dynamic", "ncfm"),
        ("random", ""),
    ]


def test_a_single_network_is_shown_without_a_spread() -> None:
    """ "61.0 ± 0.0" claims a precision that one network cannot have."""
    row = cells(groups_of()[1])[0]
    assert "61.0" in row and "h264-23" in row
    assert points(Difference(0.05)) == "+5.0, no interval" and points(None) == "–"


def seeded_groups(name: str = "mine") -> list[Group]:
    """One table of two methods, three runs each, with run means of 50, 54, 58 and of 40, 46, 49 %."""
    sources = []
    for method, means in ((name, (0.50, 0.54, 0.58)), ("other", (0.40, 0.46, 0.49))):
        for seed, mean in enumerate(means):
            own = result("static-dynamic", (mean - 0.01, mean + 0.01), 6, recipe=RECIPE)
            sources.append(Source(f"{method}-{seed}", (own,), origin=Origin(method, seed)))
    return compare(sources)


def test_methods_stand_below_their_runs_in_every_format() -> None:
    """The statement that a paper makes is that on methods; nobody would find it if one format left it out."""
    # paired differences 10, 8, 9 points: mean 9, standard error 1 / sqrt(3), t = 4.3027
    wanted = ["other-*", "static-dynamic", "1", "45.0 ± 4.6", "45.0 ± 4.6", "float32", "3", "–", "–"]
    wanted.append("-9.0 [-11.5, -6.5] worse method")
    (group,) = seeded_groups()
    runs, methods = sheets(group)
    assert len(runs.rows) == 6 and [best for best, _ in methods.rows] == [True, False]
    assert methods.rows[1][1] == wanted and methods.rows[0][1][3] == "54.0 ± 4.0" and methods.rows[0][1][-1] == "best"
    assert "run.seed" in methods.above and "over run seeds" in " ".join(methods.below)
    assert "that takes runs of several seeds" in " ".join(runs.below)
    markdown, latex = as_markdown([group]), as_latex([group])
    assert markdown_rows(markdown)[-1] == [re.sub(r"([*\[\]])", r"\\\1", cell) for cell in wanted]
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2
    assert r"45.0 $\pm$ 4.6" in latex and "$-$9.0 {[}$-$11.5, $-$6.5] worse method" in latex
    records = list(csv.DictReader(io.StringIO(as_csv([group]), newline="")))
    assert [record["of"] for record in records] == ["set"] * 6 + ["method"] * 2
    last = records[-1]
    assert (last["run"], last["runs"], last["run_seeds"]) == ("other-*", "other-0, other-1, other-2", "0 1 2")
    assert [float(value) for value in last["top1_values"].split()] == pytest.approx([0.40, 0.46, 0.49])
    assert float(last["over_best"]) == pytest.approx(-0.09) and last["over_best_verdict"] == "worse method"
    assert last["protocol"] == "strict" and json.loads(last["recipe"]) == RECIPE and last["seeds"] == ""


def test_json_has_methods_beside_what_it_had() -> None:
    """A script reads how many run seeds stand behind a number, and which results; old keys are as they were."""
    (group,) = as_document(seeded_groups())["groups"]
    first, second = group["methods"]
    assert set(group) == {"heading", "differs", "deviations", "conditions", "rows", "methods"}
    assert (second["name"], second["runs"]) == ("other-*", ["other-0", "other-1", "other-2"])
    assert (second["run_seeds"], second["results"]) == ([0, 1, 2], [3, 4, 5])
    assert second["top1"]["values"] == pytest.approx([0.40, 0.46, 0.49])
    assert second["top1"]["std"] == pytest.approx(statistics.stdev([0.40, 0.46, 0.49])) and first["best"]
    assert second["over_best"]["of"] == "method" and second["over_best"]["verdict"] == "worse"
    assert second["over_best"]["test"] == "paired" and second["over_random"] is None
    assert group["rows"][5]["over_best"]["of"] == "set" and "verdict" in group["rows"][5]["over_best"]
    assert as_document(groups_of())["groups"][0]["methods"] == []


@given(st.text(min_size=1, max_size=30))
def test_no_name_breaks_the_table_of_methods(name: str) -> None:
    """Its rows are named after runs, too."""
    group = seeded_groups(name)[:1]
    rows = markdown_rows(as_markdown(group))
    assert [len(row) for row in rows[-4:]] == [10] * 4
    records = list(csv.reader(io.StringIO(as_csv(group), newline=""), strict=True))
    assert {len(record) for record in records} == {len(CSV_COLUMNS)}
    assert not any(record[1].startswith(("=", "+", "-", "@")) for record in records)


def test_tables_are_apart_and_say_why() -> None:
    """A reader who scrolls to the second table must learn that its numbers are of another kind."""
    for text in (as_markdown(groups_of()), as_latex(groups_of())):
        first, second = text.split("protocol vdsd 1", 1)
        assert "protocol strict 1" in first and "Not comparable" not in first
        plain = second.replace("\\", "")
        assert "protocol vdsd 1, not strict 1" in plain and "epochs 50, not 500" in plain
        assert "standard deviation population, not sample" in plain and "Deviates" in plain
        assert "which flatters the number" in plain and "61.0" not in first


def test_markdown_has_as_many_cells_in_every_row() -> None:
    """One pipe in a name, and every number stands under the wrong heading."""
    rows = markdown_rows(as_markdown(groups_of(HOSTILE)[:1]))
    assert {len(row) for row in rows} == {len(columns(groups_of()[0]))} and len(rows) == 5
    assert rows[2][0] == "**" + re.sub(r"([\\`*_{}\[\]<>#|~&$!])", r"\\\1", HOSTILE.replace("|", "|")) + "**"


@given(st.text(min_size=1, max_size=30))
def test_no_name_breaks_markdown(name: str) -> None:
    """Names come from folders, and from files of others."""
    rows = markdown_rows(as_markdown(groups_of(name)[:1]))
    assert len(rows) == 5 and {len(row) for row in rows} == {len(rows[0])}


@given(st.text(min_size=1, max_size=30))
def test_no_name_breaks_csv(name: str) -> None:
    """Every reader of RFC 4180 finds the same records, whatever is in a name; no cell begins a formula."""
    text = as_csv(groups_of(name, storage=name))
    records = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert len(records) == 5 and {len(record) for record in records} == {len(CSV_COLUMNS)}
    for record in records[1:]:
        named = dict(zip(CSV_COLUMNS, record, strict=True))
        assert not named["run"].startswith(("=", "+", "-", "@")) and not named["storage"].startswith(
            ("=", "+", "-", "@")
        )


def test_csv_has_exact_numbers() -> None:
    """Rounded numbers cannot be tested again; and a plot from the file must be that of the run."""
    text = as_csv(groups_of())
    assert text.endswith("\r\n") and text.count("\r\n") == 5 and text.count("\n") == 5
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    own, random, full, published = rows
    assert [float(value) for value in own["top1_values"].split()] == [0.50, 0.52, 0.57]
    assert float(own["top1_mean"]) == result("x", (0.50, 0.52, 0.57), 6)["top1"]["mean"]
    assert own["seeds"] == "0 1 2" and own["bytes"] == "4000" and own["networks"] == "3" and own["step"] == "20"
    assert json.loads(own["recipe"]) == RECIPE and own["best"] == "true" and own["over_best"] == ""
    assert float(own["over_random"]) == pytest.approx(0.11) and own["over_random_test"] == "paired"
    assert (
        own["over_random_verdict"] == "better set"
        and own["of"] == "set"
        and float(random["over_best"]) == pytest.approx(-0.11)
    )
    assert random["over_random"] == random["step"] == "" and full["what"] == "full"
    assert published["group"] == "2" and published["std_kind"] == "population"
    assert published["over_random_verdict"] == "" and published["deviations"] == "epochs 50, published 500"


def test_formulas_are_defused_but_numbers_are_not() -> None:
    """A negative difference must stay a number; a run called =1+1 must not become 2."""
    rows = list(csv.DictReader(io.StringIO(as_csv(groups_of("=1+1")), newline="")))
    assert rows[0]["run"] == "'=1+1" and rows[1]["over_best"].startswith("-0.1")


def test_latex_shows_hostile_names_literally() -> None:
    """An ampersand in the name of a run ends the compilation of somebody's paper."""
    text = as_latex(groups_of(HOSTILE)[:1])
    shown = (
        r"a\_b\%c\&d\$e\#f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k\textbar{}l{*}m`n"
        r"\textless{}o\textgreater{}{[}p]!q"
    )
    assert text.count(shown) == 2 and rf"\textbf{{{shown}}}" in text
    lines = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {len(columns(groups_of()[0])) - 1}
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == text.count(r"\toprule") == 1
    assert r"53.0 $\pm$ 3.6" in text and "$-$11.0 {[}$-$13.5, $-$8.5] worse set" in text


@given(st.text(min_size=1, max_size=30))
def test_latex_has_no_bare_special_character(name: str) -> None:
    """All that LaTeX takes for more than a character is a command of ours."""
    text = as_latex(groups_of(name)[:1])
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    rest = re.sub(r"\\textbackslash\{\}|\\text\w+\{\}|\\textbf|\\[%&$#_{}]|\$-\$|\$\\pm\$|\{\[\}|\{\*\}", "", body)
    rest = re.sub(r" \\\\\n| & ", "", rest)
    assert not set(rest) & set("\\%$#_~^&"), rest


def test_the_json_document_is_complete() -> None:
    """A script gets every result as it was, and which rows may be compared."""
    document = as_document(groups_of())
    assert document["format"] == "vdtui.comparison" and len(document["groups"]) == 2
    assert [one["run"] for one in document["results"]] == ["mine", "mine", "other", "mine"]
    first = document["groups"][0]["rows"][0]
    assert first["over_random"]["verdict"] == "better" and first["over_best"] is None and first["best"]
    assert document["results"][first["result"]]["top1"]["values"] == [0.50, 0.52, 0.57]
    assert document["groups"][1]["conditions"]["protocol"] == "vdsd" and document["groups"][0]["differs"] == ""
