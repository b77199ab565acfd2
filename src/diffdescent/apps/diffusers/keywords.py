"""Keywords of ``from_config`` that no scheduler has: diffusers drops them without a word."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any

import diffusers

from diffdescent.base.errors import UserError
from diffdescent.core.recipe import Recipe, parse

from .refusal import SOURCES


def check_keywords(
    given: Mapping[str, Any], cls: type, config: Mapping[str, Any], recipe: str
) -> None:
    """Refuse keywords that are neither options of ``cls``, nor in ``config``, nor fields of one of
    diffusers' schedulers.

    Raises :class:`UserError` that names the nearest option, or for an option of the ``recipe``
    where it is written.
    """
    own = _options(cls)
    strange = [name for name in given if name not in {*own, *config} and not name.startswith("_")]
    if not strange:
        return
    known = {*own, *(name for source in sorted(SOURCES) for name in _theirs(source))}
    for name in strange:
        if name not in known:
            raise UserError(_sentence(name, given[name], cls, own, known, recipe))


def _sentence(
    name: str, value: Any, cls: type, own: Iterable[str], known: Iterable[str], recipe: str
) -> str:
    begin = f"{cls.__name__} has no option {name!r}"
    written = _in_recipe(parse(recipe), name, value) if isinstance(recipe, str) else None
    if written is not None:
        return f"{begin}; it belongs to the recipe: write recipe={written!r}."
    near = get_close_matches(name, own, n=1) or get_close_matches(name, sorted(known), n=1)
    if near:
        return f"{begin}; did you mean {near[0]!r}?"
    return f"{begin}, and neither has any scheduler of diffusers; leave it out."


def _in_recipe(recipe: Recipe, name: str, value: Any) -> str | None:
    """The text of ``recipe`` with ``name=value`` in its first element that has such an option."""
    elements: list[Any] = [recipe.solver, *recipe.transforms]
    for i, element in enumerate(elements):
        if name in {field.name for field in fields(element)}:
            try:
                elements[i] = replace(element, **{name: value})
                return str(replace(recipe, solver=elements[0], transforms=tuple(elements[1:])))
            except (UserError, TypeError):
                return f"{element.name}({name}=…)"
    return None


def _theirs(source: str) -> list[str]:
    return _options(getattr(diffusers, source))


def _options(cls: type) -> list[str]:
    return list(inspect.signature(cls).parameters)
