"""A recipe or a guidance as parts whose options are changed one by one: what its controls do to its
text."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.grammar import print_call, print_element
from diffdescent.core.grid import GRIDS
from diffdescent.core.options import keywords_of
from diffdescent.core.recipe import parse
from diffdescent.core.solvers import SOLVERS
from diffdescent.core.transforms import TRANSFORMS
from diffdescent.guidance import parse_guidance

Parts = tuple[Any, ...]
"""Frozen dataclasses of options, in the order of the text."""


def recipe_parts(text: str) -> Parts:
    """The solver and the transforms of a recipe. Raises :class:`UserError` for a wrong text."""
    recipe = parse(text)
    return recipe.solver, *recipe.transforms


def guidance_parts(text: str) -> Parts:
    """The elements of a guidance. Raises :class:`UserError` for a wrong text."""
    return parse_guidance(text).elements


def text_of(parts: Parts) -> str:
    """The text of a chain, defaults left out."""
    return " | ".join(map(print_element, parts))


def with_option(parts: Parts, index: int, option: str, value: object) -> Parts:
    """The chain with one option of one part changed. Raises :class:`UserError` for a value that its
    annotation does not allow."""
    changed = replace(parts[index], **{option: value})
    return *parts[:index], changed, *parts[index + 1 :]


def with_solver(parts: Parts, name: str) -> Parts:
    """The chain on another solver with its default options."""
    if name not in SOLVERS:
        raise unknown("sampler", name, SOLVERS)
    return SOLVERS[name](), *parts[1:]


def with_transforms(parts: Parts, names: Sequence[str]) -> Parts:
    """The chain with these transforms: those that are there as they are, new ones with their
    default options."""
    there = {part.name: part for part in parts[1:]}
    return parts[0], *(there[n] if n in there else TRANSFORMS[n]() for n in names)


def strength(text: str, transform: str) -> float:
    """The one number that says how strongly a transform acts (momentum's β, the γ of gradient
    estimation), its neutral value where the chain has no such transform."""
    option, neutral = _neutral(transform)
    for part in recipe_parts(text):
        if isinstance(part, TRANSFORMS[transform]):
            value: Any = getattr(part, option)
            return float(value[0] if isinstance(value, tuple) else value)
    return neutral


def with_strength(text: str, transform: str, value: float) -> str:
    """The recipe with this strength of a transform, which is left out where the value is
    neutral."""
    option, neutral = _neutral(transform)
    parts, kind = recipe_parts(text), TRANSFORMS[transform]
    for i, part in enumerate(parts):
        if isinstance(part, kind):
            if value == neutral:
                return text_of((*parts[:i], *parts[i + 1 :]))
            return text_of(with_option(parts, i, option, value))
    if value == neutral:
        return text_of(parts)
    new: Any = kind(**{option: value})
    # What corrects the estimate stands before what acts on the step.
    at = 1 if transform == "ge" else len(parts)
    return text_of((*parts[:at], new, *parts[at:]))


def _neutral(transform: str) -> tuple[str, float]:
    [(option, value)] = (TRANSFORMS[transform].neutral or {}).items()
    return option, float(value)


def grid_text(name: str, values: Mapping[str, object]) -> str:
    """The text of a grid, defaults left out."""
    defaults = grid_defaults(name)
    return print_call(name, {k: v for k, v in values.items() if v != defaults[k]})


def grid_defaults(name: str) -> dict[str, object]:
    """The options of a grid with their defaults."""
    parameters = inspect.signature(GRIDS[name]).parameters
    return {option: parameters[option].default for option in keywords_of(GRIDS[name])}


def problem(attempt: Callable[[], object]) -> str | None:
    """The sentence with which bad input is refused, None where it is not."""
    try:
        attempt()
    except UserError as error:
        return str(error)
    return None
