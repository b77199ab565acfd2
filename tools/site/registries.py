"""The reference of everything that has a name in texts: solvers, transforms, constraints,
operators, grids, guidance and metrics, each with a table of its options and its docstring."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from diffdescent.core.constraints import CONSTRAINTS
from diffdescent.core.grid import GRIDS
from diffdescent.core.operators import OPERATORS
from diffdescent.core.options import domain, keywords_of, limited, options_of
from diffdescent.core.solvers import SOLVERS
from diffdescent.core.transforms import TRANSFORMS
from diffdescent.evaluate import METRICS
from diffdescent.guidance.elements import ACTIONS, SOURCES


def solvers() -> str:
    return _classes(SOLVERS)


def transforms() -> str:
    return _classes(TRANSFORMS)


def constraints() -> str:
    return _classes(CONSTRAINTS)


def operators() -> str:
    return _classes(OPERATORS)


def guidance() -> str:
    return _classes({**SOURCES, **{n: c for n, c in ACTIONS.items() if n not in TRANSFORMS}})


def grids() -> str:
    def defaults(builder: Callable[..., Any]) -> dict[str, Any]:
        return {n: p.default for n, p in inspect.signature(builder).parameters.items()}

    return "\n".join(
        _entry(name, builder, _table(defaults(builder), keywords_of(builder)))
        for name, builder in sorted(GRIDS.items())
    )


def metrics() -> str:
    rows = (
        f"| `{m.name}` | {m.title} | {'higher' if m.higher else 'lower'} | {m.needs} |"
        f" {m.against or '–'} | {_bounds(m.bounds)} | {m.least} |"
        for m in METRICS.values()
    )
    head = "| name | title | better | looks at | of the reference | bounds | least images |"
    return "\n".join([head, "|---|---|---|---|---|---|---|", *rows])


def _classes(named: Mapping[str, type[Any]]) -> str:
    return "\n".join(
        _entry(name, cls, _table({f.name: f.default for f in dataclasses.fields(cls)}, options))
        for name, cls in sorted(named.items())
        for options in [options_of(cls)]
    )


def _entry(name: str, thing: Any, table: str) -> str:
    shared = [_directive(base, heading=False) for base in _bases_with_options(thing)]
    return "\n".join([f"## `{name}`", "", table, "", _directive(thing), *shared])


def _directive(thing: Any, heading: bool = True) -> str:
    lines = [f"::: {thing.__module__}.{thing.__qualname__}", "    options:", "      members: []"]
    if not heading:
        lines += [
            f"      show_{what}: false" for what in ("root_heading", "root_toc_entry", "source")
        ]
    return "\n".join([*lines, ""])


def _bases_with_options(thing: Any) -> list[type[Any]]:
    """The base classes that it shares options with, whose docstrings describe them."""
    if not (inspect.isclass(thing) and dataclasses.is_dataclass(thing)):
        return []
    options = {field.name for field in dataclasses.fields(thing)}
    return [base for base in thing.__mro__[1:] if options & set(inspect.get_annotations(base))]


def _table(defaults: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Every option with its default, and what it may be."""
    if not options:
        return "No options."
    rows = (
        f"| `{name}` | `{_shown(defaults[name])}` | {_allowed(hint)} |"
        for name, hint in options.items()
    )
    return "\n".join(["| option | default | may be |", "|---|---|---|", *rows])


def _allowed(hint: Any) -> str:
    if limited(hint):
        return _escaped(domain(hint))
    text = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
    return f"`{_escaped(text)}`"


def _escaped(text: str) -> str:
    return text.replace("|", r"\|")


def _shown(value: Any) -> str:
    if value is dataclasses.MISSING or value is inspect.Parameter.empty:
        return "required"
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _bounds(bounds: tuple[float, float]) -> str:
    low, high = bounds
    return f"{low:g} to {'∞' if math.isinf(high) else f'{high:g}'}"
