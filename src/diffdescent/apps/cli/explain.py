"""``diffdescent explain``: a sampler read as an optimizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from .options import Json, OverwriteFolder, Steps, UsualGrid
from .processes import ProcessName, process_named
from .terminal import console as plain_console

if TYPE_CHECKING:
    from diffdescent.lab.explain import Explanation


def explain(
    sampler: Annotated[
        str,
        typer.Argument(
            help='A recipe, e.g. "ge | momentum(-0.3)"; a restoration method may be in it.'
        ),
    ],
    steps: Steps = 10,
    grid: UsualGrid = None,
    process: ProcessName = "linear",
    as_json: Json = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for explain.json and the pictures.")
    ] = None,
    overwrite: OverwriteFolder = False,
) -> None:
    """Read a sampler as an optimizer: its E-step, PM-step and noise next to those of SGD.

    With --out also its effective weights and its stability region, as pictures; a calibrated
    sampler, which has no equal steps, has a picture of its weights over the frequency instead.
    """
    from diffdescent.core.recipe import default_grid, parse, parse_grid
    from diffdescent.guidance.restoration import names_method, parse_method
    from diffdescent.lab.explain import explain as read
    from diffdescent.run.pieces import recipe_identity
    from diffdescent.run.restoring import usual_grid

    from .results import place

    names = ("explain.json", "weights.png", "bands.png", "stability.png")
    where = None if out is None else place(out, "reading of a sampler", names, overwrite)
    kind = process_named(process)
    if names_method(sampler):
        conditioned = parse_method(sampler)
        recipe, method = conditioned.recipe, conditioned.method
        usual = usual_grid(recipe, kind)
    else:
        recipe, method = parse(sampler), None
        usual = default_grid(recipe, kind)
    levels = parse_grid(grid or usual, kind, steps)
    found = read(recipe, levels, method)
    record = found.record()
    settings = {
        "sampler": sampler.strip() if method is not None else recipe_identity(recipe),
        "steps": steps,
        "grid": grid or usual,
        "process": process,
    }
    kept = None if where is None else where.of(settings)
    if as_json:
        typer.echo(json.dumps(record, indent=1))
    else:
        _print(found)
        if recipe.plan(levels).spectral is not None:
            from diffdescent.core.band_weights import band_weights

            typer.echo("Coefficients above are means; weights in the result, by frequency ρ:")
            typer.echo(band_weights(recipe, levels).table())
    if kept is not None:
        from diffdescent.core.band_weights import band_weights
        from diffdescent.core.solvers.calibrated import Calibrated
        from diffdescent.lab.explain import draw_stability

        from .draw_weights import draw_bands, draw_weights

        kept.write("explain.json", record)
        draw_weights(found.weights, kept.file("weights.png"))
        pictures = ["weights.png"]
        if recipe.plan(levels).spectral is not None:
            draw_bands(band_weights(recipe, levels), kept.file("bands.png"))
            pictures.append("bands.png")
        if not isinstance(recipe.solver, Calibrated):
            draw_stability(found, recipe, kept.file("stability.png"))
            pictures.append("stability.png")
        typer.echo(f"Wrote {out}/explain.json, {' and '.join(pictures)}", err=True)


def _print(found: Explanation) -> None:
    from diffdescent.lab.explain import SGD, SGD_MOMENTUM

    console = plain_console()
    methods = Table(
        title="As optimization: u ← u − Δ + noise", box=box.SIMPLE_HEAD, show_lines=True
    )
    labels = {
        "method": "",
        "variable": "u",
        "estimate": "E-step: the estimate of the gradient",
        "step": "step size",
        "update": "PM-step: the update",
        "noise": "noise",
    }
    methods.add_column("")
    for row in (SGD, SGD_MOMENTUM, found.summary):
        methods.add_column(row["method"], overflow="fold")
    for key, label in labels.items():
        if label:
            methods.add_row(label, *(row[key] for row in (SGD, SGD_MOMENTUM, found.summary)))
    console.print(methods)
    if found.data_term is not None:
        term = found.data_term
        typer.echo(f"Under {term['method']} each step has a data term, y = A(x0) + noise:")
        for name in ("algorithm", "rule", "source"):
            typer.echo(f"  {name}: {term[name]}")
        typer.echo("The steps below are the sampler's own, without it.")
        typer.echo()
    for one in found.constraints:
        typer.echo(f"Under {one.method} each estimate x̂0 is constrained, P is the projection:")
        for name in ("algorithm", "rule", "source"):
            typer.echo(f"  {name}: {getattr(one, name)}")
        for text, said in one.sets.items():
            typer.echo(f"  {text}: {said['images']}; P x = {said['projection']}")
        typer.echo("The steps below are the sampler's own, without it.")
        typer.echo()
    table = Table(
        title=f"Step by step on {found.grid.name} ([−k]: the k-th evaluation before)",
        box=box.SIMPLE_HEAD,
    )
    for name, align in (
        ("step", "right"),
        ("t", "right"),
        ("σ/α", "right"),
        ("β", "right"),
        ("estimate", "left"),
        ("noise/σ", "right"),
    ):
        table.add_column(name, justify="right" if align == "right" else "left")
    for s in found.steps:
        ratio = f"{s.src.ratio:.4g} → {s.dst.ratio:.4g}"
        cells = (
            str(s.step) + ("'" if s.inner else ""),
            f"{round(s.src.t, 6):g}",
            ratio,
            f"{s.size:.4f}",
            s.estimate,
        )
        table.add_row(*cells, f"{s.noise:.3f}" if s.noise else "0")
    console.print(table)
    if any(s.inner for s in found.steps):
        typer.echo("A step with a prime is only the place of the next evaluation.")
    linear = found.linear
    if linear is None:
        typer.echo(f"No linear multistep method: {found.why_not_linear}.")
    else:
        size = "" if linear.over_euler is None else f", {linear.over_euler:.4g} of Euler's"
        newest = ", ".join(f"{b:.4g}" for b in linear.impulse[:5]) + (
            ", …" if len(linear.impulse) > 5 else ""
        )
        typer.echo(
            f"On equal small steps of {linear.variable}: a linear multistep method of order"
            f" {linear.order} with weights {newest} (newest first) and error constant"
            f" {linear.constant:.4g}{size}."
        )
    typer.echo(found.weights.summary)
