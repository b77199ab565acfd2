"""Guidance as one line of text: sources around a model, and what is done with their gradients or
directions.

::

    guidance := element ("|" element)*        # elements as in diffdescent.core.grammar

    cfg(scale=1.5)  apg(scale=4)  cfgpp(scale=0.6)   classifier-free; at most one, first
    classifier(scale=1)  clip(model=…, prompt=…)  noised_clip(…)  guide()   gradients; they add up
    rescale(0.7)                     after cfg or apg
    pxp(delta=1,1,1,1)               PixelAsParam, for the source before it; last for it

``"classifier(scale=2) | pxp"``, ``"cfg(scale=3, interval=[0.3, 2]) | rescale(0.7)"``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.grammar import Reader, construct, print_element
from diffdescent.core.guidance_terms import Shift
from diffdescent.core.predict import Predictor
from diffdescent.core.process import Process
from diffdescent.core.recipe import Recipe, default_grid, parse_grid
from diffdescent.core.transforms import PxP, Transform

from . import gradients as gradients  # makes its sources known
from .elements import ACTIONS, SOURCES, Element, Free, FreePlus, FreeProjection, Gradient
from .guide import Guide

_TRIED = 4
"""Steps of the plan that shows whether a recipe's steps have a mean to move."""


@dataclass(frozen=True)
class Guidance:
    """What a guidance text says; ``str`` writes it with every option named and defaults left
    out."""

    elements: tuple[Element | Transform, ...]

    def __str__(self) -> str:
        return " | ".join(print_element(element) for element in self.elements)

    @property
    def whole_batch(self) -> bool:
        """Whether an image under it depends on the others of its batch."""
        return any(element.whole_batch for element in self.elements)

    def around(
        self, model: Predictor, guide: Guide | None = None
    ) -> tuple[Predictor, tuple[Transform, ...]]:
        """``model`` under this guidance, and the transforms that come in front of a recipe's own;
        ``guide`` as in :func:`apply_guidance`."""
        front: list[Transform] = []
        for element in self.elements:
            if isinstance(element, Transform):
                front.append(element)
                continue
            model, transforms = element.apply(model, guide)
            front += transforms
        return model, tuple(front)

    def settled(self, recipe: Recipe, process: Process) -> Guidance:
        """The same with ``shift=auto`` as what it means under ``recipe``: ``mean`` where every step
        but the last draws noise around a mean that can be moved (``ddpm``, ``ddim(eta=1)``), else
        ``score``."""
        if not any(isinstance(e, Gradient) and e.shift == "auto" for e in self.elements):
            return self
        shift = _shift(recipe, process)
        return Guidance(
            tuple(
                replace(e, shift=shift) if isinstance(e, Gradient) and e.shift == "auto" else e
                for e in self.elements
            )
        )


def _shift(recipe: Recipe, process: Process) -> Shift:
    if not recipe.solver.stochastic:
        return "score"
    plan = recipe.plan(parse_grid(default_grid(recipe, process), process, _TRIED))
    noisy = all(out.noise or out.log_var for row in plan.rows[:-1] for out in row.outputs)
    return "mean" if plan.single and noisy else "score"


def parse_guidance(text: str) -> Guidance:
    """The guidance that ``text`` describes (see the module's grammar).

    Args:
        text: such as ``"cfg(scale=4) | rescale"``.

    Returns:
        The elements in order.

    Raises:
        UserError: wrong syntax, names (with the nearest ones), options and values, and an order of
            elements that makes no sense.
    """
    reader = Reader(text, "classifier(scale=2) | pxp")
    elements: list[Element | Transform] = []
    while True:
        name = reader.name()
        positional, named = reader.arguments()
        if name not in SOURCES and name not in ACTIONS:
            raise unknown("guidance", name, [*SOURCES, *ACTIONS])
        cls = SOURCES[name] if name in SOURCES else _action(name, elements)
        elements.append(construct("The guidance", name, cls, positional, named))
        _check_place(elements)
        if not reader.take("|"):
            break
    reader.skip()
    if reader.at != len(text):
        raise reader.error("'|' or the end")
    return Guidance(tuple(elements))


def _action(name: str, before: list[Element | Transform]) -> type[Any]:
    """The class of rescale or pxp after the elements ``before``."""
    source = next((e for e in reversed(before) if e.name in SOURCES), None)
    if source is None:
        raise UserError(
            f"{name} acts on a guidance and stands after it; write for example 'cfg(scale=4)"
            " | pxp'."
        )
    if isinstance(source, FreePlus):
        raise UserError(
            f"cfgpp renoises with the unconditional ε and stands alone; use {name} after cfg or"
            " apg."
        )
    if name == "rescale" and not isinstance(source, Free):
        raise UserError(
            "rescale compares the estimates with and without a label, so it follows cfg or apg,"
            f" not {source.name}."
        )
    return FreeProjection if name == "pxp" and isinstance(source, Free) else ACTIONS[name]


def _check_place(elements: list[Element | Transform]) -> None:
    """Whether the last of ``elements`` makes sense after the others."""
    *before, last = elements
    if isinstance(last, Free) and any(type(one) is type(last) for one in before):
        raise UserError(f"{last.name} stands twice for one guidance; write it once.")
    if isinstance(last, Free) and before:
        raise UserError(
            f"{last.name} asks the network itself and comes first, once; put {before[0].name}"
            " after it."
        )
    if any(type(e) is type(last) for e in before) and last.name in ACTIONS:
        raise UserError(f"{last.name} stands twice for one guidance; write it once.")
    if before and before[-1].name == "pxp" and last.name in ACTIONS:
        raise UserError(f"pxp takes the finished guidance apart, so it comes after {last.name}.")
    if isinstance(last, Gradient) and any(isinstance(e, PxP) for e in before):
        raise UserError(
            f"pxp resolves the conflicts of all gradients together; put it after {last.name}."
        )


def apply_guidance(
    text: str, model: Predictor, recipe: Recipe, *, guide: Guide | None = None
) -> tuple[Predictor, Recipe]:
    """``model`` and ``recipe`` under the guidance that ``text`` describes.

    Its transforms come before the recipe's own. ``guide`` is what ``guide()`` means, and
    ``classifier()`` when that names no model.

    Args:
        text: such as ``"classifier(scale=2) | pxp"``.
        model: what is guided.
        recipe: the sampler.
        guide: what ``guide()`` means in the text.

    Returns:
        The guided model, and the recipe with the guidance's transforms in front of its own.

    Raises:
        UserError: a text that :func:`parse_guidance` refuses, for models that cannot be guided so,
            and files that are missing.
    """
    guided, front = parse_guidance(text).settled(recipe, model.process).around(model, guide)
    return guided, recipe.behind(front)
