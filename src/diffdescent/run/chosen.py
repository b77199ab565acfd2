"""Which sampler runs where none is named: a bundled calibrated one that was fitted for this very
run, else the preset for the number of steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from diffdescent.core.model_info import info
from diffdescent.core.predict import Predictor
from diffdescent.core.recipe import Recipe, default_recipe
from diffdescent.core.solvers.calibrated import Calibrated
from diffdescent.core.spectrum.bundled import bundled_sampler, bundled_samplers
from diffdescent.core.spectrum.fitted import FittedSolver

from .fitted_for import differences
from .record import ProcessRecord


@dataclass(frozen=True)
class Chosen:
    """A recipe that nobody named, and the reason for it in a sentence."""

    recipe: Recipe
    reason: str


def fitted_to(model: Predictor, count: int) -> Iterator[tuple[str, FittedSolver]]:
    """The bundled samplers of ``count`` evaluations that were fitted to ``model``, by name, under
    whatever guidance."""
    for name, path in bundled_samplers(count).items():
        fitted = bundled_sampler(path)
        if fitted.fitted_for.get("process", {}).get("sha256") != _process(model):
            continue  # before the fingerprint, which may take a pass over the weights
        if fitted.fitted_for.get("fingerprint") == info(model).fingerprint:
            yield name, fitted


def choose(
    model: Predictor,
    steps: int,
    guidance: str | None,
    shape: Sequence[int],
    labelled: bool,
    against: str | None = None,
) -> Chosen:
    """The sampler for a run of ``model`` (without its guidance) where none is named.

    A bundled calibrated sampler of ``steps`` evaluations is taken where model, process, guidance,
    shape and labels are those of its fit, else a preset
    (:func:`~diffdescent.core.recipe.default_recipe`). ``against`` is what else keeps a calibrated
    sampler from this run, such as ``"a grid is named"``.
    """
    guided = _free(guidance) and model.process.usual_grid is None
    fixed = default_recipe(steps, guided)
    usual = f"{fixed} is the preset for {steps} steps"
    if guided:
        usual = f"{fixed} on {fixed.usual_grid} is the preset under classifier-free guidance"
    near: list[str] = []
    for name, fitted in fitted_to(model, steps):
        if against is not None:
            return Chosen(fixed, f"{usual}; {name} needs its own noise levels, and {against}")
        found = differences(fitted, model, guidance, shape, labelled)
        if not found:
            return Chosen(
                Recipe(Calibrated(name)),
                f"calibrated({name}) was fitted to this model, guidance, size and number of"
                " evaluations",
            )
        near.append(f"{name} was fitted for {'; '.join(found)}")
    return Chosen(fixed, "; ".join([usual, *near]))


def _free(guidance: str | None) -> bool:
    """Whether the guidance is classifier-free."""
    if guidance is None:
        return False
    from diffdescent.guidance import parse_guidance

    return any(element.name == "cfg" for element in parse_guidance(guidance).elements)


def _process(model: Predictor) -> str:
    return ProcessRecord.of(model.process).sha256
