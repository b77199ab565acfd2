"""Whether a run is what a calibrated sampler was fitted for, or Γ measured on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from diffdescent.base.errors import UserError
from diffdescent.core.model_info import info, weights_of
from diffdescent.core.predict import Predictor
from diffdescent.core.recipe import Recipe
from diffdescent.core.solvers.analytic import Analytic
from diffdescent.core.solvers.calibrated import Calibrated
from diffdescent.core.spectrum.fitted import FittedSolver
from diffdescent.guidance.scale_range import covers

from .record import ProcessRecord

WITH, WITHOUT = "samples without labels", "samples with labels"
"""What a sampler was fitted for that now runs with labels, and that now runs without."""


def differences(
    fitted: FittedSolver,
    model: Predictor,
    guidance: str | None,
    shape: Sequence[int],
    labelled: bool,
) -> list[str]:
    """What differs between a run and the fit, each a phrase; ``model`` is without the guidance."""
    known, here = fitted.fitted_for, info(model)
    found = []
    if (mine := weights_of(here.fingerprint)) != weights_of(known.get("fingerprint")):
        found.append(f"another model ({known.get('model')} there, {here.name} here, {mine})")
    settings = known.get("settings", {})
    found += [
        f"another {key.replace('_', ' ')} ({settings.get(key)} there,"
        f" {here.settings.get(key)} here)"
        for key in sorted({*settings, *here.settings})
        if settings.get(key) != here.settings.get(key)
    ]
    process = ProcessRecord.of(model.process)
    if {"kind": process.kind, "sha256": process.sha256} != known.get("process"):
        found.append("another noise process")
    if not covers(known.get("guidance"), guidance):
        found.append(f"other guidance ({known.get('guidance')} there, {guidance} here)")
    if labelled == (known.get("labels") == "none"):
        found.append(WITH if labelled else WITHOUT)
    if list(shape) != known.get("shape"):
        found.append(f"another shape ({known.get('shape')} there, {list(shape)} here)")
    return found


def require_fit(
    recipe: Recipe,
    model: Predictor,
    guidance: str | None,
    shape: Sequence[int],
    labelled: bool,
) -> None:
    """Warn where a calibrated sampler runs on something else than it was fitted for; with
    ``strict`` raise :class:`UserError`."""
    solver = recipe.solver
    if isinstance(solver, Analytic) and solver.curve and solver.curve.model:
        if (mine := info(model).fingerprint) != solver.curve.model:
            warnings.warn(
                f"The Γ of {str(recipe)!r} was measured on another model ({solver.curve.model}"
                f" there, {mine} here); measure it again with diffdescent gamma.",
                stacklevel=4,
            )
        return
    if not isinstance(solver, Calibrated):
        return
    found = differences(solver.fitted, model, guidance, shape, labelled)
    if not found:
        if solver.strict and info(model).fingerprint is None:
            raise UserError(
                f"Whether {solver.file!r} was fitted for this model cannot be told, because neither"
                " has a fingerprint; give the model one, dd.Network(…, fingerprint=…), before you"
                " calibrate it, or leave strict out."
            )
        return
    text = (
        f"{solver.file!r} was fitted for {'; '.join(found)}: it may be worse than a fixed sampler"
        f" here, so {_mend(found)}."
    )
    if solver.strict:
        raise UserError(text)
    warnings.warn(text, stacklevel=4)  # whoever called sample


def _mend(found: Sequence[str]) -> str:
    """What to do about the differences."""
    if found == [WITHOUT]:
        return (
            "give labels as it was fitted (--labels, labels= in Python), or calibrate"
            " again with --labels none"
        )
    if found == [WITH]:
        return "leave the labels out, or calibrate again with --labels"
    return "calibrate again"


def warn_of_steps(recipe: Recipe, steps: int, stacklevel: int = 3) -> None:
    """Warn where a calibrated sampler is asked for another number of steps than its own, which
    changes nothing."""
    solver = recipe.solver
    if isinstance(solver, Calibrated) and steps != solver.fitted.nfe:
        warnings.warn(
            f"{solver.file!r} has {solver.fitted.nfe} evaluations, whatever the steps are; leave"
            f" the {steps} steps out, or calibrate one with --nfe {steps}.",
            stacklevel=stacklevel,
        )
