"""``diffdescent demo``: the main jobs on the bundled models — images of a network, and samplers
compared."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from diffdescent.base.errors import UserError

from .options import OverwriteFolder, Quiet
from .run_study import How, launch

MIXTURE = "cifar10-mixture"
SAMPLERS = (
    "ddim; ddim | momentum(beta=-0.3); ge(gamma=2); ge(gamma=2) | momentum(beta=0.1); plms; deis;"
    " dpmpp(order=2); unipc"
)
STEPS, GRID = (5, 10, 20), "loglinear"
PARTS = {
    "diffusers": ("diffusers", "transformers", "accelerate"),
    "evaluate": ("polars", "pydantic", "yaml", "jinja2", "scipy"),
}
"""What each half of the demo needs beyond the extra ``cli``."""


def demo(
    n: Annotated[int, typer.Option(help="Images behind each figure of the comparison.")] = 32,
    seed: Annotated[int, typer.Option(help="Seed of the noise that all samplers start from.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the picture and the comparison.")] = Path(
        "demo-output"
    ),
    overwrite: OverwriteFolder = False,
    quiet: Quiet = False,
) -> None:
    """Images of the bundled CIFAR-10 network, then samplers compared where the truth is known.

    Writes images.png (a column a class; gradient estimation and DDIM from the same noise), and
    under comparison/ a study on the bundled mixture, with the samplers that were fitted to it:
    table.csv and report.html say how far from the model's own solution each sampler ends, with
    intervals. Given again, the comparison goes on where it was.
    """
    from .demo_images import NETWORK, draw_images
    from .results import place

    if n < 1:
        raise UserError("--n must be at least 1.")
    settings = {"n": n, "seed": seed}
    kept = place(out, "demo", ("images.png",), overwrite, folders=("comparison",)).of(settings)
    begun = time.monotonic()
    network = not _lacks("diffusers", f"the network {NETWORK} ({MIXTURE} is drawn instead)")
    draw_images(kept.file("images.png"), seed, quiet, NETWORK if network else MIXTURE)
    if not _lacks("evaluate", "the comparison"):
        _compare(n, seed, out, quiet)
    typer.echo(f"Images: {out / 'images.png'}\n{time.monotonic() - begun:.0f} s in all")


def _lacks(extra: str, what: str) -> bool:
    """Whether something of an extra is not installed; says so."""
    missing = [name for name in PARTS[extra] if find_spec(name) is None]
    if missing:
        typer.echo(
            f"{missing[0]} is not installed, which the demo needs for {what}:"
            f" pip install 'diffdescent[{extra}]'."
        )
    return bool(missing)


def _compare(n: int, seed: int, out: Path, quiet: bool) -> None:
    from diffdescent.lab.study import make_study

    values = {
        "title": f"Samplers compared on {MIXTURE}",
        "model": MIXTURE,
        "blocks": _blocks(),
        "metrics": "solution_rmse",
        "n": n,
        "seeds": str(seed),
        "images": 8,
    }
    launch(make_study(values, "The demo"), out / "comparison", How(quiet=quiet))


def _blocks() -> list[dict[str, Any]]:
    """The fixed samplers, and next to them the calibrated ones of as many evaluations."""
    from diffdescent.lab.study.rivals import fitted_samplers
    from diffdescent.models import load_model

    model = load_model(MIXTURE)
    fitted = {budget: list(fitted_samplers(model, budget)) for budget in STEPS}
    return [{"samplers": SAMPLERS, "grids": [GRID], "nfe": list(STEPS)}] + [
        {"samplers": found, "nfe": [budget]} for budget, found in fitted.items() if found
    ]
