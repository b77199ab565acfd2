"""``diffdescent list``: every name that the text grammar and MODEL understand."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import typer
from rich.table import Table

from .options import Json
from .terminal import console as plain_console


def list_names(as_json: Json = False) -> None:
    """List samplers, transforms, grids, guidance (with their options) and bundled models."""
    from diffdescent.core.grid import GRIDS
    from diffdescent.core.recipe import ALIASES, GRID_ALIASES, SCHEDULERS, TRANSFORMS
    from diffdescent.core.solvers import SOLVERS
    from diffdescent.guidance.elements import ACTIONS, SOURCES
    from diffdescent.models import bundled

    found = {
        "samplers": {name: _class_options(cls) for name, cls in sorted(SOLVERS.items())},
        "transforms": {name: _class_options(cls) for name, cls in sorted(TRANSFORMS.items())},
        "grids": {name: _function_options(builder) for name, builder in sorted(GRIDS.items())},
        "guidance": {name: _class_options(cls) for name, cls in {**SOURCES, **ACTIONS}.items()},
        "models": dict.fromkeys(bundled(), ""),
    }
    classes = {name: f"{text} @ {grid}" for name, (text, grid) in SCHEDULERS.items()}
    foreign = {**ALIASES, **classes}
    if as_json:
        typer.echo(
            json.dumps({**found, "aliases": foreign, "grid_aliases": GRID_ALIASES}, indent=2)
        )
        return
    console = plain_console()
    for title, names in found.items():
        table = Table(title=title.capitalize(), title_justify="left", show_edge=False)
        table.add_column("name", style="bold")
        table.add_column("options (with their defaults)" if title != "models" else "")
        for name, options in names.items():
            table.add_row(name, options)
        console.print(table, "")
    for title, aliases in (
        ("Names from elsewhere", foreign),
        ("Grid names from elsewhere", GRID_ALIASES),
    ):
        table = Table(title=title, title_justify="left", show_edge=False)
        table.add_column("name", style="bold")
        table.add_column("means")
        for name, text in aliases.items():
            table.add_row(name, text)
        console.print(table, "")


def _class_options(cls: type[Any]) -> str:
    from diffdescent.core.options import options_of

    return _written({f.name: f.default for f in fields(cls)}, options_of(cls))


def _function_options(builder: typing.Callable[..., Any]) -> str:
    from diffdescent.core.options import keywords_of

    parameters = inspect.signature(builder).parameters.values()
    return _written({p.name: p.default for p in parameters}, keywords_of(builder))


def _written(defaults: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Every option with its default, and its range or choices where it has any."""
    from diffdescent.core.options import domain, limited

    def described(name: str) -> str:
        text, hint = f"{name}={_show(defaults[name])}", options[name]
        if not limited(hint):
            return text
        within = domain(hint)
        return f"{text} in {within}" if within[0] in "[(" else f"{text} ({within})"

    return ", ".join(map(described, options))


def _show(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)
