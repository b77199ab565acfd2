"""The reference of the command line, read off the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from diffdescent.apps.cli.commands import Commands
from diffdescent.apps.cli.lazy import LazyGroup, load


def reference() -> str:
    """Every command with its arguments and options."""
    return "\n".join(
        line
        for name, entry in Commands.table.items()
        for line in _command(f"diffdescent {name}", load(name, entry))
    )


def _command(path: str, command: Any) -> Iterator[str]:
    yield f"\n{'##' if path.count(' ') == 1 else '###'} `{path}`\n"
    yield f"{' '.join((command.help or '').split(chr(12))[0].split())}\n"
    if isinstance(command, LazyGroup):
        for name, entry in command.table.items():
            yield from _command(f"{path} {name}", load(name, entry))
        return
    yield from _parameters(command)


def _parameters(command: Any) -> Iterator[str]:
    yield "| argument or option | default | meaning |"
    yield "|---|---|---|"
    for parameter in command.params:
        if "--help" in parameter.opts:
            continue
        names = ", ".join(f"`{o}`" for o in (*parameter.opts, *parameter.secondary_opts))
        if parameter.param_type_name == "argument":
            names = f"`{parameter.metavar or parameter.name.upper()}`"
        default = "" if parameter.default in (None, (), []) else f"`{_text(parameter.default)}`"
        default = "required" if parameter.required else default
        help_text = getattr(parameter, "help", None) or ""
        yield f"| {names} | {default} | {_text(help_text)} |"


def _text(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", r"\|").replace("<", "&lt;")
