"""Text to recipe and text to grid.

::

    recipe := element ("|" element)*    # elements as in diffdescent.core.grammar

A chain that begins with a transform acts on ``ddim``: ``"ge(gamma=2) | momentum(beta=-0.3)"`` is
``"ddim | ge | momentum"``.
"""

from __future__ import annotations

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.aliases import ALIASES, GRID_ALIASES, SCHEDULERS, normal
from diffdescent.core.grammar import Reader, bind
from diffdescent.core.grid import GRIDS, Grid, make_grid
from diffdescent.core.options import keywords_of, options_of
from diffdescent.core.process import Process
from diffdescent.core.solvers import FILE_SOLVERS, SOLVERS
from diffdescent.core.transforms import TRANSFORMS, Transform

from .names import resolve_alias
from .recipe import Recipe


def parse(text: str) -> Recipe:
    """The recipe that ``text`` describes (see the module's grammar).

    Raises :class:`UserError` for wrong syntax, names (with the nearest ones), options and values.
    """
    first, *others = _split(text)
    meaning = resolve_alias(first)
    chain = [*_split(meaning.text), *others]
    solver = SOLVERS["ddim"]()
    transforms: list[Transform] = []
    for i, part in enumerate(chain):
        reader = Reader(part)
        name = reader.name()
        positional, named = reader.arguments()
        reader.skip()
        if reader.at != len(part):
            raise reader.error("'|' or the end")
        key = normal(name)
        kind = SOLVERS.get(key) or FILE_SOLVERS.get(key)
        if kind is not None and i > 0 and key not in TRANSFORMS:
            raise UserError(
                f"The solver {name!r} stands in the middle of {text!r}; a solver comes first,"
                " transforms after."
            )
        if key in ALIASES or key in SCHEDULERS:
            raise UserError(
                f"{name!r} stands for {resolve_alias(name).text!r}, first in a chain and without"
                " options; write that."
            )
        if kind is None and key not in TRANSFORMS:
            known = [*SOLVERS, *FILE_SOLVERS, *TRANSFORMS]
            raise unknown("sampler or transform", name, known, [*ALIASES, *SCHEDULERS])
        if i == 0 and kind is not None:
            values = bind("The sampler", name, options_of(kind), positional, named)
            if key in FILE_SOLVERS and "file" not in values:
                raise UserError(f'{name} reads a file; write {name}("FILE.json").')
            solver = kind(**values)
        else:
            transforms.append(
                TRANSFORMS[key](
                    **bind("The transform", name, options_of(TRANSFORMS[key]), positional, named)
                )
            )
    return Recipe(solver, tuple(transforms), meaning.grid, meaning.usual_grid)


def _split(text: str) -> list[str]:
    parts = text.split("|")
    if any(not part.strip() for part in parts):
        raise UserError(
            f"Cannot read {text!r}: a name is missing before or after '|'; write for example \"ge |"
            ' momentum(-0.3)".'
        )
    return [part.strip() for part in parts]


def sampler(text: str) -> Recipe:
    """The same as :func:`parse`, for chains in Python: ``dd.sampler("ge") | dd.momentum(-0.3)``."""
    return parse(text)


def parse_grid(text: str, process: Process, steps: int) -> Grid:
    """The grid that ``text`` describes, such as ``"loglinear(start=40)"`` or ``"karras"``.

    Raises :class:`UserError` for wrong syntax, names and options, and for too few or too many
    steps.
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
    values = bind("The grid", name, keywords_of(GRIDS[name]), positional, named)
    return make_grid(name, process, steps, **values)
