"""A group of commands, each imported when it is called and not before."""

from __future__ import annotations

import importlib
import inspect
from typing import Any, ClassVar, Literal, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from diffdescent.base.errors import unknown

from .checked import checked

MARKUP: Literal["rich"] = "rich"
"""How docstrings are read for ``--help``."""


class Entry(NamedTuple):
    """One command: where it lives, and the line that stands for it in the group's help."""

    target: str
    """A module of this package and its function or Typer app, as ``weights:weights``."""
    help: str


class LazyGroup(TyperGroup):
    """A group that knows its commands from a table.

    Help and completion need the table alone; a command's module is imported when it is called.
    """

    table: ClassVar[dict[str, Entry]] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in with the command's name and line, for help; None for an unknown name."""
        entry = self.table.get(cmd_name)
        return entry and TyperCommand(name=cmd_name, help=entry.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command itself. Raises :class:`UserError` with the nearest name for an unknown
        one."""
        name = args[0]
        if name in self.table:
            return name, load(name, self.table[name]), args[1:]
        if ctx.resilient_parsing:  # the shell asks for completions of what is not finished
            return None, None, args[1:]
        raise unknown("command", name, self.table)


def load(name: str, entry: Entry) -> Any:
    """Import a command, or a group of them, and make it ready to run."""
    module, _, attribute = entry.target.partition(":")
    found = getattr(importlib.import_module(f"{__package__}.{module}"), attribute)
    if isinstance(found, typer.Typer):
        return get_group(found)
    app = typer.Typer(add_completion=False, rich_markup_mode=MARKUP)
    app.command(name, help=_paragraphs(found.__doc__))(checked(name, found))
    return get_command(app)


def _paragraphs(doc: str | None) -> str:
    """A docstring whose paragraphs are one line each, which the terminal breaks where it ends.

    Typer does so with the first paragraph alone. Indented paragraphs keep their lines.
    """
    parts = inspect.cleandoc(doc or "").split("\n\n")
    return "\n\n".join(p if "\n " in f"\n{p}" else p.replace("\n", " ") for p in parts)
