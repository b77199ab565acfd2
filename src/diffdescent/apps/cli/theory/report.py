"""What ``theory error`` and ``theory ideal`` write and print of a measurement."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.table import Table

from diffdescent.base.errors import UserError
from diffdescent.lab.theory import schedules
from diffdescent.lab.theory.errors import Errors

from ..results import Place, Results, finite, place
from ..terminal import console as plain_console

NAMES = ("errors.json", "errors.csv", "errors.png", "distances.png")


def errors_place(out: Path, overwrite: bool) -> Place:
    """The folder of a measurement of errors. Raises :class:`UserError` as :func:`place` does."""
    return place(out, "measurement of errors", NAMES, overwrite)


def report(
    errors: Errors, end: float, kept: Results, title: str, about: dict[str, Any], as_json: bool
) -> None:
    """Numbers, pictures and a summary of one measurement."""
    from diffdescent.lab.theory.error_picture import draw_errors
    from diffdescent.lab.theory.pictures import draw_distances

    rows = errors.summary()
    result: dict[str, Any] = {
        **about,
        "trajectories": len(errors.samples),
        "n": errors.size,
        "evaluations": rows,
    }
    known = bool(np.isfinite(errors.values["eta"]).any())
    if not known:
        raise UserError(
            "Every state lies on the set, where no relative error is defined; choose a smaller set."
        )
    for share in (0.5, 0.95):
        eta, nu = errors.holds_with(share)
        limit = schedules.greatest_factor(eta, nu)
        result[f"holds_for_{share:g}"] = {
            "eta": eta,
            "nu": nu,
            "reach_of_any_schedule": finite(limit),
        }
    eta, nu = errors.holds_with(0.95)
    ratios = np.append(errors.ratios, end)
    ratios = ratios[np.isfinite(ratios)]
    verdict = schedules.check(ratios, eta, nu).sentence(ratios)
    band = schedules.least_band(ratios, eta)
    result |= {"schedule": verdict, "least_band": finite(band)}
    needed = (
        "no ν makes this schedule admissible for that η: a step may pass the set"
        if math.isinf(band)
        else f"if η holds in a wider band, this schedule is admissible from ν = {band:.4g} on"
    )
    kept.write("errors.json", result)
    kept.write("errors.csv", errors.csv())
    draw_errors(errors, kept.file("errors.png"), title)
    worst = np.nan_to_num(errors.quantile("eta", 1.0), nan=0.0)
    draw_distances(
        errors,
        end,
        worst,
        kept.file("distances.png"),
        f"{title}\nbounds for the greatest η of each step",
    )
    if as_json:
        typer.echo(json.dumps(result))
        return
    table = Table(
        show_edge=False, caption="medians; η rel.: released pairing; ν = √nσ/dist; turn: of ∇dist"
    )
    names = {
        "sigma": "σ/α",
        "dist": "dist",
        "eta": "η",
        "eta_released": "η rel.",
        "nu": "ν",
        "norm": "|ε|/√n",
        "turn": "turn",
        "diam_over_dist": "diam/dist",
    }
    for name in ("t", *names.values()):
        table.add_column(name, justify="right")
    stride = max(1, len(rows) // 20)
    for row in rows[::stride]:
        cells = (row[key] if key == "sigma" else row[key] and row[key][1] for key in names)
        table.add_row(f"{row['t']:.4g}", *("–" if c is None else f"{c:.3g}" for c in cells))
    plain_console().print(table)
    typer.echo(
        f"95 % of all states lie within η = {eta:.3g} and ν = {nu:.4g}, each on its own.\n"
        f"{verdict}\nHowever, {needed}.\n"
        f"Wrote {kept.store.folder}/errors.json, errors.csv, errors.png and distances.png"
    )
