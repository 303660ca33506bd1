"""Options and words that several commands share, so that they read the same everywhere."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from engine.text import human_bytes as human_bytes
from vdtui.cli import completion
from vdtui.tui.words import duration

RunsDir = Annotated[
    Path | None,
    typer.Option("--runs-dir", metavar="DIR", help="Folder of all runs (default: $VDTUI_RUNS, else ./runs)."),
]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Name of a run, or path of its folder.",
        autocompletion=completion.runs,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Plain = Annotated[bool, typer.Option("--plain", help="Progress lines instead of the dashboard.")]
Detach = Annotated[bool, typer.Option("--detach", help="Return at once; the run goes on by itself.")]
Processes = Annotated[
    int, typer.Option(min=1, metavar="N", help="Processes that share the work, one per GPU; started by torchrun.")
]
Data = Annotated[Path | None, typer.Option(metavar="FILE.h5", help="Clips file made by `vdtui prepare`.")]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        help="Change one value of the preset; repeatable.",
        autocompletion=completion.keys,
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Bytes per class that the set may take (500B, 2kB); the run finds the best use."),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]


def with_run(changes: list[str] | None, seed: int | None, device: str | None, budget: str | None = None) -> list[str]:
    """The changes of `--set`, and after them what `--budget`, `--seed` and `--device` say."""
    overrides = list(changes or [])
    overrides += [f"storage.budget={json.dumps(budget)}"] if budget is not None else []
    overrides += [f"run.seed={seed}"] if seed is not None else []
    overrides += [f"run.device={device}"] if device is not None else []
    return overrides


def trained_for(epochs: int | None, steps: int | None) -> list[str]:
    """The changes that `--epochs` or `--steps` say of networks that evaluate. Raises UsageError for both."""
    from engine.errors import UsageError

    if epochs is not None and steps is not None:
        raise UsageError("--epochs and --steps both say how long networks are trained.", "Give one of them.")
    if steps is not None:
        return [f"evaluation.steps={steps}"]
    return [] if epochs is None else [f"evaluation.epochs={epochs}", "evaluation.steps=0"]


def print_json(document: Any) -> None:
    """Print ``document`` on stdout; NaN becomes null."""
    from engine.files import finite

    text = json.dumps(finite(document), ensure_ascii=False, indent=1)
    # JSON escapes the other control characters by itself; these can be in its texts only.
    typer.echo(re.sub("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", lambda m: f"\\u{ord(m[0]):04x}", text))


def note(text: str) -> None:
    """Lines on stderr: stdout is for results."""
    typer.echo(printable_lines(text), err=True)


def say(text: str) -> None:
    """Lines of a result on stdout."""
    typer.echo(printable_lines(text))


def warn(text: str) -> None:
    """A line on stderr that a user should not miss; names in it may come from data."""
    note(f"warning: {printable(text)}")


def on_a_terminal() -> bool:
    """Tell whether a terminal can show the dashboard and send it keys; a dumb one cannot be drawn on."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def can_be_asked() -> bool:
    """Tell whether somebody reads a question on stderr and can answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def asked(question: str) -> bool:
    """Ask on stderr, and return whether the answer is yes; Ctrl+D and enter alone are no."""
    typer.echo(f"{printable(question)} [y/N] ", nl=False, err=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        note("")
    return answer.strip().lower() in ("y", "yes")


def print_table(
    columns: list[str],
    rows: list[list[str]],
    title: str | None = None,
    right: tuple[int, ...] = (),
    least_needed: tuple[str, ...] = (),
) -> None:
    """A table on stdout, as wide as it needs to be when stdout is not a terminal. Its texts are literal, no markup.

    On a narrow terminal it does without the columns ``least_needed``, the first one first, until names and numbers (the
    first column and those at the ``right``) stand in one line each; a note says which are left out.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    heading = None if title is None else Text(printable_lines(title), "table.title")
    table = Table(box=box.SIMPLE_HEAD, title=heading, title_justify="left", show_header=any(columns))
    console = Console() if sys.stdout.isatty() else Console(width=160, color_system=None)
    kept = fitting_columns(columns, rows, least_needed, console.width) if sys.stdout.isatty() else range(len(columns))
    for number in kept:
        unbroken = bool(least_needed) and (number == 0 or number in right)
        justify: Literal["left", "right"] = "right" if number in right else "left"
        table.add_column(Text(printable(columns[number])), justify=justify, overflow="fold", no_wrap=unbroken)
    for row in rows:
        table.add_row(*(Text(printable_lines(row[number])) for number in kept))
    console.print(table)
    dropped = [name for number, name in enumerate(columns) if number not in kept]
    if dropped:
        note(f"Left out, for want of width: {', '.join(dropped)}.")


def fitting_columns(columns: list[str], rows: list[list[str]], least_needed: tuple[str, ...], width: int) -> list[int]:
    """Leave out ``least_needed`` columns, the first one first, until the rest fits into ``width`` characters."""
    widths = [max(map(len, column)) + 3 for column in zip(columns, *rows, strict=True)]  # with what is between them
    kept = list(range(len(columns)))
    for name in least_needed:
        if sum(widths[number] for number in kept) > width and name in columns:
            kept.remove(columns.index(name))
    return kept


def human_time(seconds: float | None) -> str:
    """``seconds`` as a person says them."""
    return "?" if seconds is None else duration(seconds)


def printable(text: str) -> str:
    """``text`` on one line, with what no terminal shows escaped as Python does: names in it may come from data.

    An escape sequence in a name could set the terminal's title or clear its screen, and half a character cannot be
    written at all.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def printable_lines(text: str) -> str:
    """``text`` with its line ends, and each line printable."""
    return "\n".join(map(printable, text.split("\n")))


def percent(value: float | None) -> str:
    """A fraction as percent."""
    return "-" if value is None else f"{100 * value:.1f} %"


def plus_minus(mean: float, std: float | None) -> str:
    """An accuracy and its standard deviation, fractions, in percent; the mean alone where there is no deviation."""
    return percent(mean) if std is None else f"{100 * mean:.1f} +- {100 * std:.1f} %"
