"""The command line: registers the commands, and turns errors into two plain lines and an exit code.

Commands import what they need when they run, so that `vdtui --help` starts at once.
"""

from __future__ import annotations

import inspect
import os
import sys
from typing import Annotated, NoReturn

import typer

from engine.errors import VdtuiError
from engine.machine.environment import WORKER_ENVIRONMENT
from engine.machine.out_of_memory import memory_errors
from engine.version import VERSION
from vdtui.cli.bench import bench
from vdtui.cli.compare import compare
from vdtui.cli.control import pause, remove, resume, stop
from vdtui.cli.data import data
from vdtui.cli.distill import distill
from vdtui.cli.doctor import doctor
from vdtui.cli.evaluate import evaluate
from vdtui.cli.experts import experts
from vdtui.cli.export import export
from vdtui.cli.help import PlainCommand, PlainGroup
from vdtui.cli.import_ import import_
from vdtui.cli.monitor import monitor, open_dashboard
from vdtui.cli.options import note, printable
from vdtui.cli.outputs import finish_outputs, open_outputs
from vdtui.cli.plan import plan
from vdtui.cli.prepare import prepare
from vdtui.cli.presets import presets
from vdtui.cli.report import report
from vdtui.cli.runs import runs
from vdtui.cli.select import select
from vdtui.cli.show import show
from vdtui.cli.study import app as study

app = typer.Typer(
    name="vdtui",
    help="Distil video datasets: prepare, distil, watch, export, report. Without a command: the dashboard.",
    epilog="Begin with: vdtui distill --preset demo",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    cls=PlainGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    distill,
    prepare,
    data,
    presets,
    plan,
    experts,
    select,
    evaluate,
    runs,
    show,
    compare,
    monitor,
    pause,
    resume,
    stop,
    remove,
    export,
    import_,
    report,
    bench,
    doctor,
):
    app.command(command.__name__.rstrip("_"))(command)
app.add_typer(study, name="study")


def _flowing(text: str) -> str:
    """``text`` with a line for each paragraph, which is broken where the terminal ends; typer would keep our breaks."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n"))


for registered in (*app.registered_commands, *study.registered_commands):
    assert registered.callback is not None
    registered.help = _flowing(registered.callback.__doc__ or "")
    registered.cls = PlainCommand


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vdtui {VERSION}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Open the dashboard if no command is given."""
    if context.invoked_subcommand is None:
        open_dashboard(None, None)


def main() -> None:
    """The console script's entry point."""
    if sys.platform == "win32":
        _refuse(
            "vdtui does not run on Windows itself.", "Install and run it in WSL 2, which is a Linux: wsl --install", 2
        )
    # Before torch is loaded, so that a plan, or an evaluation, has the threads of a run, and takes no core from it.
    os.environ.setdefault("OMP_WAIT_POLICY", WORKER_ENVIRONMENT["OMP_WAIT_POLICY"])
    open_outputs()
    try:
        with memory_errors():
            code = app(standalone_mode=False)
        finish_outputs()
        sys.exit(code if isinstance(code, int) else 0)
    except VdtuiError as error:
        _refuse(error.problem, error.hint, error.exit_code, error.details)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        _refuse(str(error), "Check the path, its permissions and the disk.", 1)
    except Exception as error:
        if not hasattr(error, "format_message"):  # what the command line's own mistakes have, whoever parses it
            raise
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "vdtui"
        _refuse(error.format_message(), f"See: {command} --help", 2)


def _refuse(problem: str, hint: str, code: int, details: str = "") -> NoReturn:
    note(f"error: {_line(problem)}\nhint: {_line(hint)}")
    if details:
        note(details)
    sys.exit(code)


def _line(text: str) -> str:
    """``text`` as one line."""
    return printable(" ".join(text.split()))


if __name__ == "__main__":
    main()
