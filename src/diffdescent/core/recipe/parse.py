"""Text to recipe and text to grid.

::

    recipe := element ("|" element)*    # elements as in diffdescent.core.grammar

A chain that begins with a transform acts on ``ddim``: ``"ge(gamma=2) | momentum(beta=-0.3)"`` is
``"ddim | ge | momentum"``.
"""

from __future__ import annotations

import dataclasses

from diffdescent.base.errors import UserError, unknown
from diffdescent.base.words import shown
from diffdescent.core.aliases import GRID_ALIASES, normal
from diffdescent.core.calls import check_call
from diffdescent.core.grammar import Reader, bind, construct
from diffdescent.core.grid import GRIDS, Grid, make_grid
from diffdescent.core.options import keywords_of, options_of
from diffdescent.core.process import Process
from diffdescent.core.solvers import FILE_SOLVERS, SOLVERS, Solver
from diffdescent.core.transforms import Transform

from .elements import check_whole, make_transform, read_element, split_chain
from .names import resolve_alias
from .recipe import Recipe


def parse(text: str) -> Recipe:
    """The recipe that ``text`` describes (see the module's grammar).

    Args:
        text: such as ``"ge(gamma=2) | momentum(-0.3)"``, or a name from elsewhere such as
            ``"euler_a"``.

    Returns:
        The recipe; ``str`` of it is its text again, with every option that is not the default.

    Raises:
        UserError: wrong syntax, names (with the nearest ones), options and values.
    """
    first, *others = split_chain(text)
    meaning = resolve_alias(first)
    solver = SOLVERS["ddim"]()
    transforms: list[Transform] = []
    for i, part in enumerate([*split_chain(meaning.text), *others]):
        name, positional, named = read_element(part)
        key = normal(name)
        kind = SOLVERS.get(key) or FILE_SOLVERS.get(key)
        if i > 0 or kind is None:
            transforms.append(make_transform(name, positional, named, text))
            continue
        check_whole(name)
        solver = construct("The sampler", name, kind, positional, named)
    return Recipe(solver, tuple(transforms), meaning.grid, meaning.usual_grid)


def sampler(text: str, **options: object) -> Recipe:
    """The same as :func:`parse`, for chains in Python: ``dd.sampler("ge") | dd.momentum(-0.3)``.

    ``options`` are those of the chain's last element: ``dd.sampler("ddim", eta=1)``.

    Args:
        text: such as ``"ge(gamma=2) | momentum(-0.3)"``; ``diffdescent list`` prints the names.
        **options: those of the chain's last element: ``dd.sampler("ddim", eta=1)``.

    Returns:
        The recipe; ``recipe | transform`` appends to it.

    Raises:
        UserError: also for an option that it does not have.
    """
    check_call(sampler, locals())
    found = parse(text)
    if not options:
        return found
    *_, last = found.solver, *found.transforms
    name = str(last.name)
    checked = bind(f"{type(last).__name__}", name, options_of(type(last)), [], dict(options))
    changed: Solver | Transform = dataclasses.replace(last, **checked)  # type: ignore[type-var]
    if isinstance(changed, Transform):
        return dataclasses.replace(found, transforms=(*found.transforms[:-1], changed))
    return dataclasses.replace(found, solver=changed)


def grid_call(text: str) -> tuple[str, dict[str, object]]:
    """The name of the grid that ``text`` describes, and the options that it gives.

    Raises :class:`UserError` for wrong syntax, and for names and options that are not known.
    """
    text = GRID_ALIASES.get(normal(text.strip()), text)
    reader = Reader(text)
    name = normal(reader.name())
    positional, named = reader.arguments()
    reader.skip()
    if reader.at != len(text):
        raise reader.error("the end")
    if name not in GRIDS:
        raise unknown("grid", name, GRIDS, GRID_ALIASES)
    return name, bind("The grid", name, keywords_of(GRIDS[name]), positional, named)


def parse_grid(text: str, process: Process, steps: int) -> Grid:
    """The grid that ``text`` describes, such as ``"loglinear(start=40)"`` or ``"karras"``.

    Args:
        text: a grid's name with its options.
        process: which noise levels there are.
        steps: steps of the grid, at least 1.

    Returns:
        A grid of ``steps`` levels and an explicit end, in float64 on the CPU.

    Raises:
        UserError: wrong syntax, names and options, and too few or too many steps.
    """
    if not isinstance(text, str):
        raise UserError(f"A grid is named by a text, such as 'loglinear', not {shown(text)}.")
    name, values = grid_call(text)
    return make_grid(name, process, steps, **values)


def grid_named(text: str) -> str:
    """The text of the grid that ``text`` names: of a calibrated sampler, such as
    ``"calibrated('FILE')"``, the levels that it was fitted on."""
    name, opened, _ = text.strip().partition("(")
    if not (opened and normal(name) in FILE_SOLVERS):
        return text
    return parse(text).grid or text
