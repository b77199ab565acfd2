"""``diffdescent theory error``: the relative error model along trajectories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffdescent.base.errors import UserError
from diffdescent.base.words import counted

from ..options import AnyModel, Json, OneLabel, OverwriteFolder, Steps, UsualGrid
from ..progress import Meter
from .options import Batch, Device, Dimension, Limit, Memory, Out, Seed


def error(
    model: AnyModel,
    over: Annotated[
        str,
        typer.Option("--set", help="The set K: one of auto, images:PATH, point, sphere(RADIUS)."),
    ] = "auto",
    sampler: Annotated[str, typer.Option(help="A recipe; its trajectories are measured.")] = "ddim",
    steps: Steps = 20,
    grid: UsualGrid = None,
    labels: OneLabel = None,
    n: Annotated[int, typer.Option(help="Trajectories.")] = 64,
    seed: Seed = 0,
    batch_size: Batch = 16,
    dimension: Dimension = None,
    limit: Limit = None,
    memory: Memory = 2.0,
    device: Device = "cpu",
    out: Out = Path("theory-error"),
    overwrite: OverwriteFolder = False,
    as_json: Json = False,
) -> None:
    """Measure the relative error model along a sampler's trajectories.

    The figures are η, ν, |ε| and the constancy of the gradient.
    """
    from diffdescent.lab.theory.error_model import measure
    from diffdescent.lab.theory.image_data import read_set
    from diffdescent.lab.theory.sets.base import identity
    from diffdescent.lab.theory.sets.by_name import images_path, named_set
    from diffdescent.models import load_model
    from diffdescent.run import make_recipe, resolve_grid
    from diffdescent.run.pieces import model_identity, recipe_identity

    from ..labels import one_label
    from .report import errors_place, report

    where = errors_place(out, overwrite)
    exact = model.strip().startswith("images:")
    if limit is not None and not exact and not over.strip().startswith("images:"):
        raise UserError("--limit takes a part of a set of images; give --set images:PATH with it.")
    net = (
        read_set(images_path(model), limit=limit, memory=memory, rows=batch_size, device=device)
        if exact
        else load_model(model, device)
    )
    k = named_set(over, net, limit=limit, memory=memory, rows=batch_size, intrinsic=dimension)
    recipe = make_recipe(sampler, steps)
    levels = resolve_grid(grid, recipe, net.process, steps)
    number = one_label(labels, net)
    about = {
        "model": model,
        "set": over,
        "label": labels,
        "sampler": str(recipe),
        "grid": levels.name,
        "steps": levels.steps,
        "seed": seed,
    }
    settings = {
        **about,
        "sampler": recipe_identity(recipe),
        "fingerprint": model_identity(net),
        "content": identity(k),
        "n": n,
        "dimension": dimension,
        "limit": limit,
        "device": device,
    }
    kept = where.of(settings)
    with Meter("measuring", "evaluations", hidden=as_json) as bar:
        errors = measure(
            net,
            k,
            recipe,
            grid=levels,
            n=n,
            seed=seed,
            batch_size=batch_size,
            device=device,
            labels=number,
            cache=kept.pieces,
            callback=lambda at: bar.to(at.done, at.total),
        )
    name = model if over == "auto" else f"{model} against {over}"
    report(
        errors,
        float(levels.ratio[-1]),
        kept,
        f"{name}: {recipe}, {levels.name}, {counted(levels.steps, 'step')}",
        about,
        as_json,
    )
