"""``diffdescent list``: every name that the text grammar and MODEL understand, with what it is."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from diffdescent.base.errors import UserError, unknown

from .options import Json
from .terminal import console as plain_console

if typing.TYPE_CHECKING:
    from diffdescent.core.spectrum.fitted import FittedSolver

PARTS = (
    "samplers", "calibrated", "transforms", "constraints", "operators", "methods", "grids",
    "guidance", "models", "aliases",
)  # fmt: skip
COLUMNS = {
    "models": ("what it is", "shape", "size", "card"),
    "calibrated": ("fitted for", "evaluations"),
}
"""Of a part whose names have no options."""


def list_names(
    part: Annotated[
        str | None, typer.Argument(help=f"One of {', '.join(PARTS)}; default: all.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List samplers, transforms, constraints, operators, restoration methods, grids, guidance and
    bundled models.

    Each has a line that says what it is; of one part (`list samplers`) also the options with their
    defaults and ranges. `aliases` are the names of other libraries.
    """
    if part is not None and part not in PARTS:
        raise _not_a_part(part)
    wanted = PARTS if part is None else (part,)
    if as_json:
        typer.echo(json.dumps({name: _found(name) for name in wanted}, indent=2))
        return
    console = plain_console()
    for name in wanted:
        found = _found(name)
        if part is None:
            _print_lines(console, name, found)
        elif name == "aliases":
            _print_aliases(console, found)
        else:
            console.print(_table(name, found), "")
    if part is None:
        typer.echo("diffdescent list PART, such as samplers, has all names with their options.")


def _not_a_part(name: str) -> UserError:
    """The error for a PART that does not exist; a listed name is pointed to its part."""
    for part in PARTS:
        found = _found(part)
        listed = {**found["samplers"], **found["grids"]} if part == "aliases" else found
        if name in listed:
            return UserError(f"{name!r} is one of the {part}; see it in diffdescent list {part}.")
    return unknown("part of the list", name, PARTS)


def _print_lines(console: Any, part: str, found: Mapping[str, Mapping[str, Any]]) -> None:
    """A line of each name; of calibrated samplers a line for all their numbers of evaluations N, of
    the names of other libraries how many there are."""
    if part == "aliases":
        said = {kind: f"{len(names)} names of other libraries" for kind, names in found.items()}
    elif part == "calibrated":
        said = _by_case(found)
    else:
        said = {name: str(next(iter(row.values()))) for name, row in found.items()}
    width = max(map(len, said)) + 2
    console.print(part.capitalize(), style="italic")
    for name, text in said.items():
        line = textwrap.shorten(text, max(20, console.width - width - 1), placeholder=" …")
        console.print(Text.assemble(" ", (name.ljust(width), "bold"), line))
    console.print()


def _by_case(found: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    counts: dict[tuple[str, str], list[str]] = {}
    for name, row in found.items():
        case = name.replace(f"-{row['evaluations']}'", "-N'")
        counts.setdefault((case, row["fitted for"]), []).append(row["evaluations"])
    return {case: f"{known}; N = {', '.join(some)}" for (case, known), some in counts.items()}


def _table(part: str, found: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(title=part.capitalize(), show_edge=False, show_lines=True)
    table.add_column("name", style="bold")
    for column in COLUMNS.get(part, ("what it is", "options (with their defaults)")):
        table.add_column(column)
    for name, row in found.items():
        table.add_row(name, *map(str, row.values()))
    return table


def _print_aliases(console: Any, found: Mapping[str, Mapping[str, str]]) -> None:
    for kind, names in found.items():
        table = Table(title=f"Names from elsewhere: {kind}", show_edge=False)
        table.add_column("name", style="bold")
        table.add_column("means")
        for name, text in names.items():
            table.add_row(name, text)
        console.print(table, "")


def _found(part: str) -> dict[str, Any]:
    """The names of a part of the list, each with what the table has of it."""
    from diffdescent.core.constraints import CONSTRAINTS
    from diffdescent.core.grid import GRIDS
    from diffdescent.core.operators import OPERATORS
    from diffdescent.core.recipe import ALIASES, GRID_ALIASES, SCHEDULERS, TRANSFORMS
    from diffdescent.core.solvers import SOLVERS
    from diffdescent.core.solvers.calibrated import Calibrated
    from diffdescent.core.spectrum.bundled import bundled_sampler, bundled_samplers
    from diffdescent.guidance.elements import ACTIONS, SOURCES
    from diffdescent.guidance.restoration import METHODS
    from diffdescent.models import MODELS
    from diffdescent.models.described import bundled_models

    if part == "models":
        empty = dict.fromkeys(("shape", "size", "card"), "")
        own = {name: {"description": description(make), **empty} for name, make in MODELS.items()}
        return {**{name: vars(model) for name, model in bundled_models().items()}, **own}
    if part == "calibrated":
        solvers = {name: bundled_sampler(path) for name, path in bundled_samplers().items()}
        by_count = sorted(solvers, key=lambda name: (name.rpartition("-")[0], solvers[name].nfe))
        return {f"calibrated('{name}')": _fitted(solvers[name]) for name in by_count}
    if part == "aliases":
        classes = {name: f"{text} @ {grid}" for name, (text, grid) in SCHEDULERS.items()}
        return {"samplers": {**ALIASES, **classes}, "grids": dict(GRID_ALIASES)}
    if part == "grids":
        return {
            name: _entry(builder, _function_options(builder))
            for name, builder in sorted(GRIDS.items())
        }
    kinds: dict[str, Mapping[str, type[Any]]] = {
        "samplers": dict(sorted({**SOLVERS, "calibrated": Calibrated}.items())),
        "transforms": dict(sorted(TRANSFORMS.items())),
        "constraints": dict(sorted(CONSTRAINTS.items())),
        "operators": dict(sorted(OPERATORS.items())),
        "methods": dict(sorted(METHODS.items())),
        "guidance": {**SOURCES, **ACTIONS},
    }
    return {name: _entry(kind, _class_options(kind)) for name, kind in kinds[part].items()}


def _fitted(solver: FittedSolver) -> dict[str, str]:
    known = solver.fitted_for
    guidance = f" under {known['guidance']}" if known.get("guidance") else ""
    labels = "without labels" if known.get("labels") == "none" else "with labels"
    return {
        "fitted for": f"{known.get('model')}{guidance}, {labels}",
        "evaluations": str(solver.nfe),
    }


def _entry(thing: Any, options: str) -> dict[str, str]:
    return {"description": description(thing), "options": options}


def description(thing: Any) -> str:
    """The first sentence of a docstring, without its markup."""
    text = " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())
    text = re.sub(r":\w+:`[~.]?([^`]*)`", r"\1", text).replace("`", "")
    text = re.sub(r"^\w+: (?=[A-Z])", "", text)
    sentences = re.split(r"(?<=[^.]\.) (?=[A-Z])", text)
    return sentences[0].rstrip(".:,")


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
        default, hint = defaults[name], options[name]
        text = name if default is MISSING else f"{name}={_show(default)}"
        if not limited(hint):
            return text
        within = domain(hint)
        if within[0] not in "[(":
            return f"{text} ({within})"
        return f"{text} in {within.replace(', ', ',')}"  # without a space no line ends within it

    return ", ".join(map(described, options))


def _show(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)
