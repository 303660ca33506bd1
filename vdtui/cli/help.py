"""Help as a user reads it: an option that is on or off has no type, and a list is what its name says."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup

_LIST = re.compile(r"list\[(.*)\]")


class PlainCommand(TyperCommand):
    """A command whose help has no types of Python."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, each with a type that is plain."""
        return [_plain(parameter) for parameter in super().get_params(ctx)]


class PlainGroup(TyperGroup):
    """The same for a command that has others in it."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, each with a type that is plain."""
        return [_plain(parameter) for parameter in super().get_params(ctx)]


def _plain(parameter: Any) -> Any:
    typed = getattr(parameter, "display_type", None)  # other releases of typer show no such types
    if typed is not None and not getattr(parameter, "is_plain", False):
        named = parameter.param_type_name == "argument" and parameter.metavar is not None
        parameter.display_type = lambda ctx: "" if named else plain_type(typed(ctx))
        parameter.is_plain = True
    return parameter


def plain_type(shown: str) -> str:
    """Write typer's ``shown`` type plainly: nothing for ``<bool>``, ``<str>`` for ``<list[str]>``, no ranges."""
    return "" if shown == "<bool>" else _LIST.sub(r"\1", shown).replace(" range", "")
