"""Cells: one sampler on one grid at one budget with one guidance and one seed — one row of a
comparison."""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.hashes import json_hash
from diffdescent.core import recipe as recipes
from diffdescent.core.grid import EXPLICIT
from diffdescent.core.model_info import info
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Predictor
from diffdescent.core.process import Process
from diffdescent.core.recipe import Recipe
from diffdescent.run.budget import evaluations, steps_for
from diffdescent.run.inputs import labels_of_text
from diffdescent.run.pieces import levels_of, recipe_identity

from .config import Axes, StudyConfig, Value

USUAL = "usual"
"""The grid name that stands for each recipe's own."""
NONE = "none"
FITTED = re.compile(r"\s*calibrated\s*\(")
"""How a recipe begins that runs on the levels of its file alone."""


@dataclass(frozen=True)
class Cell:
    """What is run, and what its row says.

    ``sampler`` is the recipe as the study wrote it, ``template`` the same with its guidance and
    with the parameters left open (after ``@`` the grid, where that has parameters), ``asked`` the
    budget (or None, where the study counts steps), ``nfe`` the network evaluations that are used
    and ``steps`` those of the grid, which may have its own number of them. ``key`` names everything
    that makes the images; two cells with one key share their shards.
    """

    name: str
    sampler: str
    template: str
    grid: str
    guidance: str
    labels: str
    asked: int | None
    nfe: int
    steps: int
    seed: int
    parameters: tuple[tuple[str, Value], ...]
    key: str

    def columns(self) -> dict[str, Any]:
        """What describes the cell in the tidy table, parameters aside."""
        return {
            "name": self.name,
            "sampler": self.sampler,
            "template": self.template,
            "grid": self.grid,
            "guidance": self.guidance,
            "labels": self.labels,
            "nfe_asked": self.asked,
            "nfe": self.nfe,
            "steps": self.steps,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class LeftOut:
    """A combination that cannot be run, and why."""

    sampler: str
    grid: str
    guidance: str
    asked: int
    reason: str


Guide = Callable[[str, Recipe], tuple[Predictor, Recipe]]
"""Guidance text and a recipe ↦ the guided model and the recipe with what the guidance adds to
it."""


def variables(text: str) -> set[str]:
    """The names in braces; empty ones are CLIP's, for the label's name. Raises :class:`UserError`
    for braces that do not close, and for more than a name in them."""
    try:
        fields = [field for field in string.Formatter().parse(_kept(text)) if field[1] is not None]
    except ValueError as error:
        raise UserError(f"Cannot read {text!r}: {error}; write parameters as {{beta}}.") from None
    for _, name, spec, conversion in fields:
        if not str(name).isidentifier() or spec or conversion:
            raise UserError(
                f"Cannot read {text!r}: braces hold the name of a parameter and nothing else; write"
                " it as {beta}."
            )
    return {str(name) for _, name, _, _ in fields}


def _filled(text: str, values: Mapping[str, Value]) -> str:
    return _kept(text).format(**values) if variables(text) else text


def _kept(text: str) -> str:
    """Empty braces doubled, so that a format leaves them."""
    return re.sub(r"(?<!\{)\{\}(?!\})", "{{}}", text)


def _combinations(block: Axes) -> Iterator[tuple[str, str, str, dict[str, Value]]]:
    """(sampler, grid, guidance, values of the parameters that these texts name)."""
    known = block.parameters or {}
    named: set[str] = set()
    for sampler, grid, guidance in itertools.product(
        block.samplers or (), block.grids or (USUAL,), block.guidance or (NONE,)
    ):
        own, at, fixed = sampler.partition("@")
        brought = fixed.strip() if at else USUAL if FITTED.match(own) else None
        if brought is not None and (block.grids or (USUAL,)).index(grid):
            continue  # this sampler brings its grid: once is enough
        texts = (own.strip(), grid if brought is None else brought, guidance)
        names = sorted(set().union(*map(variables, texts)))
        named.update(names)
        for name in names:
            if name not in known:
                raise UserError(
                    f"{sampler!r} with {guidance!r} on {grid!r} names the parameter {name!r}, which"
                    f" has no values; give them under parameters: (--vary {name}=0.1,0.2)."
                )
        for values in itertools.product(*(known[name] for name in names)):
            yield *texts, dict(zip(names, values, strict=True))
    unused = sorted(set(known) - named)
    if unused:
        raise UserError(
            f"The parameter {unused[0]!r} has values, but no sampler, grid or guidance names it in"
            " braces."
        )


def expand(
    config: StudyConfig, guide: Guide, identity: Mapping[str, Any]
) -> tuple[list[Cell], list[LeftOut]]:
    """Every cell of a study, with its step count, and the combinations that cannot be run.

    ``guide`` gives the model and recipe under a guidance; ``identity`` is whatever else makes the
    images (weights, dtype, width). Raises :class:`UserError` for texts that cannot be read.
    """
    cells: list[Cell] = []
    left_out: list[LeftOut] = []
    for block in config.products:
        for template, grid, guidance, values in _combinations(block):
            sampler, filled_grid, guidance_text = (
                _filled(text, values) for text in (template, grid, guidance)
            )
            model, recipe = guide(guidance_text, recipes.parse(sampler))
            written = recipes.default_grid(recipe, model.process) if grid == USUAL else filled_grid
            series = f"{template} @ {grid}" if variables(grid) else template
            series += f", {guidance}" if guidance != NONE else ""

            def plan_of(
                steps: int, recipe: Recipe = recipe, model: Predictor = model, grid: str = written
            ) -> Plan:
                return recipe.plan(recipes.parse_grid(grid, model.process, steps))

            def cost_of(
                steps: int, model: Predictor = model, plan_of: Callable[[int], Plan] = plan_of
            ) -> int:
                return evaluations(model, plan_of(steps))

            for asked, given in _budgets(block):
                try:
                    steps = steps_for(cost_of, asked) if asked is not None else int(given or 1)
                    plan = plan_of(steps)
                    steps = own_levels(written, model.process) or steps
                except UserError as error:
                    _check_texts(plan_of, error)
                    left_out.append(
                        LeftOut(
                            sampler, written, guidance_text, asked or int(given or 1), str(error)
                        )
                    )
                    continue
                labels = block.labels or NONE
                for seed in block.seeds or (0,):
                    tied = (
                        {"batches": [config.batch_size, config.shard]} if recipe.whole_batch else {}
                    )
                    key = _key(
                        {**identity, **tied}, model, recipe, plan, guidance_text, labels, seed
                    )
                    nfe = evaluations(model, plan)
                    cells.append(
                        Cell(
                            block.name or "",
                            sampler,
                            series,
                            written,
                            guidance_text,
                            labels,
                            asked,
                            nfe,
                            steps,
                            seed,
                            tuple(values.items()),
                            key,
                        )
                    )
    if not cells:
        raise UserError(f"Nothing of the study can be run: {left_out[0].reason.rstrip('.')}.")
    return list(dict.fromkeys(cells)), left_out


def own_levels(grid: str, process: Process) -> int | None:
    """The steps of a grid whose levels are given, whatever it is asked for; None for another."""
    given = recipes.grid_call(grid)[0] == EXPLICIT
    return recipes.parse_grid(grid, process, 1).steps if given else None


def _budgets(block: Axes) -> Iterator[tuple[int | None, int | None]]:
    """(budget, None) or (None, steps)."""
    yield from ((budget, None) for budget in block.nfe or ())
    yield from ((None, steps) for steps in block.steps or ())


def _check_texts(plan_of: Callable[[int], Plan], error: UserError) -> None:
    """Raise ``error`` when no step count works: the text is wrong then, not the budget."""
    for steps in (20, 50, 10):
        try:
            plan_of(steps)
        except UserError:
            continue
        return
    raise error


def _key(
    identity: Mapping[str, Any],
    model: Predictor,
    recipe: Recipe,
    plan: Plan,
    guidance: str,
    labels: str,
    seed: int,
) -> str:
    levels = levels_of(plan.grid)
    fingerprint, sampler = info(model).fingerprint, recipe_identity(recipe)
    whole = [dict(identity), fingerprint, sampler, levels, guidance, labels, seed]
    return json_hash(whole, 12)


def labels_for(text: str, model: Predictor, samples: range) -> Tensor | None:
    """The label of each sample: ``none``, ``cycle`` through the model's classes, or a list repeated
    over the samples.

    Raises :class:`UserError` for labels that the model does not know, and for none where it cannot
    do without.
    """
    if text == NONE:
        if info(model).needs_label:
            raise UserError(
                "This network needs a label for each sample; give labels: cycle (--labels cycle)."
            )
        return None
    chosen = labels_of_text(text, model)
    return torch.tensor([chosen[i % len(chosen)] for i in samples])
