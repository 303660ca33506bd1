"""`--launcher` and what belongs to it: the options with which a command says where its work is done.

They are added to a command by ``@launching``, so that they read the same everywhere; the command itself gets a
``Place``. And a command line is put together again for a job, from what the user has given.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast, get_type_hints

import typer

from vdtui.cli.options import note, printable

if TYPE_CHECKING:
    from vdtui.launchers import Launcher
    from vdtui.launchers.slurm import Command, Resources

LAUNCHERS = ("local", "slurm")
OPTIONS: dict[str, tuple[Any, Any]] = {
    "launcher": (
        Annotated[str, typer.Option(metavar="WHERE", help="local: this machine; slurm: a job for each, by submitit.")],
        "local",
    ),
    "partition": (Annotated[str | None, typer.Option(metavar="NAME", help="Partition of SLURM.")], None),
    "time": (
        Annotated[
            str | None,
            typer.Option(metavar="TIME", help="Limit of a job: minutes, H:MM:SS, D-HH:MM:SS (default: 4:00:00)."),
        ],
        None,
    ),
    "gpus": (Annotated[int | None, typer.Option(min=0, metavar="N", help="GPUs of a job.")], None),
    "cpus": (Annotated[int | None, typer.Option(min=1, metavar="N", help="Cores of a job.")], None),
    "memory": (Annotated[str | None, typer.Option(metavar="SIZE", help="Memory of a job, such as 32G.")], None),
    "array_parallelism": (
        Annotated[int | None, typer.Option(min=1, metavar="N", help="Jobs that run at the same time (default: 64).")],
        None,
    ),
    "sbatch": (
        Annotated[
            list[str] | None,
            typer.Option(metavar="OPTION=VALUE", help="Another option of sbatch, as account=NAME; repeatable."),
        ],
        None,
    ),
}
"""The options by their parameter: type with description, and default."""


@dataclasses.dataclass(frozen=True)
class Place:
    """A place where work is done: this machine, or a cluster whose jobs have these ``resources``."""

    resources: Resources | None = None

    def launcher(self, processes: int = 1, jobs: int = 1) -> Launcher:
        """Return the launcher there. ``processes`` share a run; this machine works on ``jobs`` runs at a time."""
        if self.resources is None:
            from vdtui.launchers.local import Local

            return Local(processes, jobs)
        from vdtui.launchers.slurm import Slurm

        return Slurm(self.resources, max(processes, self.resources.gpus, 1))


HERE = Place()


def launching(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` the options of ``OPTIONS``, in place of its parameter ``place``."""
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)

    @functools.wraps(command)
    def with_place(**values: Any) -> None:
        chosen = {name: values.pop(name) for name in OPTIONS}
        command(**values, place=place_of(**chosen))

    own = [parameter.replace(annotation=hints[name]) for name, parameter in signature.parameters.items()]
    at = next(number for number, parameter in enumerate(own) if parameter.name == "place")
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    added = [inspect.Parameter(name, kind, default=value, annotation=hint) for name, (hint, value) in OPTIONS.items()]
    parameters = [*own[:at], *added, *own[at + 1 :]]
    with_place.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_place.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_place


def place_of(
    launcher: str,
    partition: str | None,
    time: str | None,
    gpus: int | None,
    cpus: int | None,
    memory: str | None,
    array_parallelism: int | None,
    sbatch: list[str] | None,
) -> Place:
    """Return the place that the options name; raises UsageError for an unknown one, and options that do not fit it."""
    from engine.errors import UsageError

    if launcher not in LAUNCHERS:
        raise UsageError(f"There is no launcher {launcher!r}.", f"Choose one of: {', '.join(LAUNCHERS)}.")
    given = {"partition": partition, "gpus": gpus, "cpus": cpus, "memory": memory, "parallelism": array_parallelism}
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if launcher == "local":
        if chosen or time is not None or sbatch:
            problem = "--partition, --time, --gpus, --cpus, --memory, --array-parallelism, --sbatch are for jobs."
            raise UsageError(problem, "Add --launcher slurm, or leave them out.")
        return HERE
    from vdtui.launchers.slurm import Resources, minutes_of

    if time is not None:
        chosen["minutes"] = minutes_of(time)
    return Place(Resources(**chosen, lines=tuple(sbatch or ())))


def words_again(context: typer.Context, replaced: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the words of the present command as given, without those of ``OPTIONS``.

    ``replaced`` has other values for some parameters by name, of a flag its words; none leave the parameter out.
    """
    options: list[str] = []
    arguments: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        value, source = context.params.get(name), context.get_parameter_source(name)
        if getattr(parameter, "is_flag", False):
            options += replaced.get(name, [parameter.opts[0]] if value else [])
            continue
        if name in replaced:
            values = list(replaced[name])
        elif name in OPTIONS or source is None or source.name != "COMMANDLINE":
            continue
        else:
            values = [str(one) for one in value] if isinstance(value, (list, tuple)) else [str(value)]
        if parameter.param_type_name == "argument":
            arguments += values
        else:
            options += [word for one in values for word in (parameter.opts[0], one)]
    path = _names(context)
    return (*path, *options, "--", *arguments) if arguments else (*path, *options)


def carry_out(place: Place, commands: Sequence[Command]) -> None:
    """Carry ``commands`` out as jobs of ``place``, and wait for them; raises RunError if one has failed."""
    from engine.errors import RunError
    from vdtui.launchers.slurm import Slurm

    assert place.resources is not None
    slurm = Slurm(place.resources)
    failed = []
    try:
        for number, (command, reason) in enumerate(slurm.carry_out(commands), 1):
            note(f"{number} of {len(commands)}: {command.label} {printable(reason) or 'done'}")
            failed += [(command, reason)] if reason else []
    except KeyboardInterrupt:
        note(slurm.interrupted())
        raise typer.Exit(130) from None
    if failed:
        command, reason = failed[0]
        problem = f"{len(failed)} of {len(commands)} jobs failed; {command.label}: {reason}."
        raise RunError(problem, f"See {command.log}; the same command submits what failed again.")


def _names(context: typer.Context) -> list[str]:
    """Return the words that name the present command below the program."""
    above = context.parent
    return [] if above is None else [*_names(cast(typer.Context, above)), context.info_name or ""]
