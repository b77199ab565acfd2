"""``diffdescent study``: a study from a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffdescent.base.errors import UserError

from .options import Reference
from .run_study import running

if TYPE_CHECKING:
    from .run_study import Described


@running
def study(
    file: Annotated[
        Path,
        typer.Argument(help="The study, a YAML file such as studies/gamma.yaml.", metavar="FILE"),
    ],
    n: Annotated[
        int | None, typer.Option(help="Images for each cell and seed, in place of the file's n.")
    ] = None,
    scale: Annotated[
        float | None, typer.Option(help="Multiply the file's n by this number.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Another model than the file's.")] = None,
    reference: Reference = None,
    features: Annotated[
        str | None, typer.Option(help="Another feature extractor than the file's.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            help="Another entry of the file: name=value, in YAML; or blocks.0.steps=[50].",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The study's folder; default: results/ and the name of the file."),
    ] = None,
) -> Described:
    """Run a study file, or go on with it; then write its table and report.

    The same command continues a study that was stopped. The papers' experiments are in studies/.
    """
    from diffdescent.lab.study import load_study

    overrides = _overrides(set_ or [])
    given = {
        "n": n,
        "model": model,
        "reference": reference and str(reference),
        "features": features,
    }
    overrides |= {name: value for name, value in given.items() if value is not None}
    config = load_study(file, overrides)
    if scale is not None:
        if not scale > 0:
            raise UserError(
                f"--scale multiplies the number of images, so it is positive, not {scale:g}."
            )
        config = load_study(file, {**overrides, "n": max(1, round(config.n * scale))})
    return config, out or Path("results") / file.stem


def _overrides(texts: list[str]) -> dict[str, Any]:
    from diffdescent.base.yaml_text import parse_yaml

    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UserError(
                f"The override {text!r} says no value; write name=value, such as images=32."
            )
        found[name.strip()] = parse_yaml(value, f"The override {text!r}")
    return found
