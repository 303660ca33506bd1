"""`--launcher` and its options, and a command line that is put together again for a job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer.testing import CliRunner

from vdtui.cli.launching import HERE, Place, launching, words_again


def test_the_words_of_a_command_are_those_that_were_given() -> None:
    """A job that judged by other settings than the user's would give a number for another table."""
    app = typer.Typer()
    said: list[tuple[tuple[str, ...], Place]] = []

    @app.command()
    def other() -> None: ...

    @app.command()
    @launching
    def judge(
        context: typer.Context,
        sources: list[str],
        set_: Annotated[list[str] | None, typer.Option("--set")] = None,
        data: Path | None = None,
        repeats: int = 3,
        strict: Annotated[bool, typer.Option("--strict")] = False,
        json: Annotated[bool, typer.Option("--json")] = False,
        place: Place = HERE,
    ) -> None:
        said.append((words_again(context, {"sources": ["-b"], "json": ["--json"]}), place))

    words = ["judge", "a", "b", "--set", "x.y=1", "--set", "x.z=2", "--data", "my clips.h5", "--strict"]
    jobs = ["--launcher", "slurm", "--partition", "gpu", "--time", "90", "--sbatch", "account=a"]
    assert CliRunner().invoke(app, [*words, *jobs]).exit_code == 0
    (found, place) = said[0]
    assert found == (
        *("judge", "--set", "x.y=1", "--set", "x.z=2", "--data", "my clips.h5", "--strict", "--json"),
        *("--", "-b"),
    )
    assert place.resources is not None and (place.resources.partition, place.resources.minutes) == ("gpu", 90)
    assert place.resources.lines == ("account=a",)
    assert CliRunner().invoke(app, ["judge", "a"]).exit_code == 0 and said[1][1] == HERE
