"""The transforms that a text names."""

from __future__ import annotations

import re

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.aliases import ALIASES, DISTILLED, SCHEDULERS, normal
from diffdescent.core.grammar import Reader, construct
from diffdescent.core.solvers import FILE_SOLVERS, SOLVERS
from diffdescent.core.transforms import TRANSFORMS, Transform

from .names import resolve_alias

_PHRASE = re.compile(r"[A-Za-z0-9_+.\-]+( [A-Za-z0-9_+.\-]+)+")
_PART = re.compile(r"(?:'[^']*'|\"[^\"]*\"|[^|])*")
"""Up to the next '|' outside quotes."""


def split_chain(text: str) -> list[str]:
    """The elements of a chain. Raises :class:`UserError` where a name is missing."""
    parts, at = list[str](), 0
    while at <= len(text):
        part = _PART.match(text, at)
        assert part is not None  # it may be empty
        parts.append(part.group())
        at = part.end() + 1
    if any(not part.strip() for part in parts):
        raise UserError(
            f"Cannot read {text!r}: a name is missing before or after '|'; write for example \"ge |"
            ' momentum(-0.3)".'
        )
    return [part.strip() for part in parts]


def read_element(text: str) -> tuple[str, list[object], dict[str, object]]:
    """One element: its name as written, and its options in order and by name."""
    reader = Reader(text)
    name = reader.name()
    positional, named = reader.arguments()
    reader.skip()
    if reader.at != len(text):
        if _PHRASE.fullmatch(text):  # a name of several words, as web interfaces have them
            raise unknown("sampler", text, [*SOLVERS, *FILE_SOLVERS], [*ALIASES, *SCHEDULERS])
        whole, _, options = text.partition("(")
        if options and normal(whole.strip()) in ALIASES:
            check_whole(whole.strip())
        raise reader.error("'|' or the end")
    return name, positional, named


def make_transform(
    name: str, positional: list[object], named: dict[str, object], text: str
) -> Transform:
    """The transform ``name`` of the chain ``text``.

    Raises :class:`UserError` for another name, among them those of solvers and of whole samplers,
    which stand first in a chain.
    """
    key = normal(name)
    if key not in TRANSFORMS and (key in SOLVERS or key in FILE_SOLVERS):
        raise UserError(
            f"The solver {name!r} stands in the middle of {text!r}; a solver comes first,"
            " transforms after."
        )
    check_whole(name)
    if key in DISTILLED:
        recipe, grid = DISTILLED[key]
        raise UserError(
            f"{name!r} is not a recipe's name; write the recipe {recipe!r} on the grid {grid!r}"
            f" (in a pipeline recipe={recipe!r}, grid={grid!r})."
        )
    if key not in TRANSFORMS:
        known = [*SOLVERS, *FILE_SOLVERS, *TRANSFORMS]
        raise unknown("sampler or transform", name, known, [*ALIASES, *SCHEDULERS])
    kind = TRANSFORMS[key]
    return construct("The transform", name, kind, positional, named)


def check_whole(name: str) -> None:
    """Raise :class:`UserError` for another library's name of a whole sampler."""
    if normal(name) in ALIASES or normal(name) in SCHEDULERS:
        raise UserError(
            f"{name!r} stands for {resolve_alias(name).text!r}, first in a chain and without"
            " options; write that."
        )


def transforms_of(text: str) -> tuple[Transform, ...]:
    """The transforms of ``text``, such as ``"ge | momentum(-0.3)"``, to append to a chain.

    Raises :class:`UserError` for wrong syntax and for anything else than transforms.
    """
    return tuple(make_transform(*read_element(part), text) for part in split_chain(text))
