"""``--gamma`` of ``sample``: Γ for Analytic-DPM, from a file or estimated on the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from diffdescent.base.errors import UserError
from diffdescent.base.files import write_atomically
from diffdescent.core.model_info import info
from diffdescent.core.predict import Predictor
from diffdescent.core.recipe import parse
from diffdescent.core.solvers.analytic import Analytic
from diffdescent.run.gamma import measure_gamma

from .progress import Meter

ESTIMATE = "estimate"
IMAGES = 256
"""Samples of the model that an estimate rests on, at 100 times."""


def with_gamma(
    sampler: str | None, gamma: str, model: Predictor, out: Path, seed: int, quiet: bool
) -> str:
    """The recipe with Γ from the file ``gamma``, or, for ``estimate``, from one next to ``out``
    that is named after the model's fingerprint and is measured where it is not there.

    Raises:
        UserError: another sampler than ``analytic``, one that names its Γ, and bad files.
    """
    recipe = parse(sampler) if sampler is not None else None
    if recipe is None or not isinstance(recipe.solver, Analytic):
        raise UserError(
            "--gamma belongs to Analytic-DPM; give --sampler analytic, or leave it out."
        )
    if recipe.solver.gamma is not None:
        raise UserError("The sampler names its Γ already; leave --gamma out.")
    file = gamma if gamma != ESTIMATE else str(_estimated(model, out, seed, quiet))
    return str(replace(recipe, solver=replace(recipe.solver, gamma=file)))


def _estimated(model: Predictor, out: Path, seed: int, quiet: bool) -> Path:
    known = info(model).fingerprint or "unnamed"
    path = out.with_name(f"{out.name}-gamma-{known[:16]}-{seed}.json")
    if not path.exists():
        with Meter("measuring Γ", "evaluations", hidden=quiet) as meter:
            found = measure_gamma(model, n=IMAGES, seed=seed, progress=meter.to)
        source = f"{IMAGES} samples of the model, seed {seed}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, found.to_json(source).encode())
    return path
