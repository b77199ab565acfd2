"""Text to method: ``"unipc | diffpir(strength=2) | momentum(-0.3)"``, a recipe with one restoration
method in it.

A text that begins with the method has the sampler that the method comes with.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from diffdescent.base.errors import UserError
from diffdescent.core import recipe as recipes
from diffdescent.core.aliases import normal
from diffdescent.core.grammar import Reader, print_element, read_element
from diffdescent.core.recipe import Recipe
from diffdescent.core.transforms import Displacement, Transform

from .method import METHODS, Method

_EXAMPLE = "unipc | diffpir(strength=2)"


@dataclass(frozen=True)
class Conditioned:
    """A restoration method over a recipe; ``str`` writes both, the sampler first."""

    method: Method
    recipe: Recipe

    def __str__(self) -> str:
        return f"{self.recipe} | {print_element(self.method)}"


def names_method(text: str) -> bool:
    """Whether a recipe's text holds a restoration method."""
    return any(_name(part) in METHODS for part in text.split("|") if part.strip())


def parse_method(text: str, sampler: Recipe | str | None = None) -> Conditioned:
    """The method and the recipe that ``text`` describes; ``sampler`` stands for a solver that it
    does not name.

    Raises :class:`UserError` for a text without a method or with two, and for what
    :func:`~diffdescent.core.recipe.parse` refuses.
    """
    parts = [part.strip() for part in text.split("|")]
    known = [i for i, part in enumerate(parts) if part and _name(part) in METHODS]
    if not known:
        # Raises with the nearest names, unless the text is a recipe.
        if len(parts) == 1:
            read_element(parts[0], "restoration method", METHODS, _EXAMPLE)
        raise UserError(
            f"{text!r} names no restoration method; put one into the chain, such as {_EXAMPLE!r}."
        )
    if len(known) > 1:
        raise UserError(
            f"{text!r} names two restoration methods; keep one, or separate them by ';'."
        )
    at = known[0]
    method = read_element(parts[at], "restoration method", METHODS, _EXAMPLE)
    others = [*parts[:at], *parts[at + 1 :]]
    if at or sampler is None:
        own = [] if at else [method.sampler]
        return Conditioned(method, recipes.parse(" | ".join([*own, *others])))
    base = recipes.parse(sampler) if isinstance(sampler, str) else sampler
    more = recipes.parse(" | ".join(["ddim", *others])).transforms
    return Conditioned(method, replace(base, transforms=(*base.transforms, *more)))


def chained(recipe: Recipe, found: tuple[Transform, ...]) -> Recipe:
    """``recipe`` with a method's transforms: those of a step before its own, so that momentum sees
    the constrained step, and those of an estimate after its own, so that the estimate that is
    used is constrained."""
    steps = tuple(t for t in found if isinstance(t, Displacement))
    estimates = tuple(t for t in found if not isinstance(t, Displacement))
    return replace(recipe, transforms=(*steps, *recipe.transforms, *estimates))


def _name(part: str) -> str:
    return normal(Reader(part, _EXAMPLE).name())
