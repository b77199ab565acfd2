"""``diffdescent theory``: distances, the error model, admissible schedules and their pictures."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ..data import read_images
from ..errors import UserError
from ..images import make_folder, write_atomically
from ..models import load_model
from ..recipes import parse_grid
from ..sample import Progress as Step
from ..sample import make_recipe, resolve_grid
from ..theory import schedules
from ..theory.distance import Points
from ..theory.error_model import Errors, measure, noised_projection
from ..theory.ideal import GRID, measure_ideal
from ..theory.intrinsic import levina_bickel, manifold_reach, neighbour_distances, two_nn
from ..theory.lowrank import FRACTIONS, METRICS, sweep
from ..theory.named import NAMES, named_set, read_set
from .grids import process_named

app = typer.Typer(no_args_is_help=True, help="Denoising as projection: distances, the error model, schedules.")

Memory = Annotated[float, typer.Option(help="GiB that the process may take; larger sets are refused.")]
Limit = Annotated[int | None, typer.Option(help="Use this many images of the set, evenly spread.")]
Out = Annotated[Path, typer.Option(help="Folder for numbers (JSON, CSV) and pictures.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Seed = Annotated[int, typer.Option(help="Seed of the noise and of samples drawn.")]


def _write(out: Path, name: str, content: Any) -> None:
    make_folder(out)
    text = content if isinstance(content, str) else json.dumps(content, indent=1) + "\n"
    write_atomically(out / name, text.encode())


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


class _Bar(Progress):
    """A progress bar in evaluations of a batch, usable as a callback of ``sample``."""

    def __init__(self, hidden: bool) -> None:
        columns = (
            TextColumn("measuring"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} evaluations"),
        )
        super().__init__(*columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
                         console=Console(stderr=True), disable=hidden)  # fmt: skip
        self.bar = self.add_task("", total=1)

    def step(self, at: Step) -> None:
        self.update(self.bar, total=at.nfe * at.batches, completed=at.batch * at.nfe + at.index + 1)


@app.command("set")
def describe(
    data: Annotated[Path, typer.Argument(help="A folder, zip or npz of images.")],
    neighbours: Annotated[int, typer.Option(help="k of the dimension estimate by maximum likelihood.")] = 20,
    sample: Annotated[int, typer.Option(help="Images whose neighbours are looked for.")] = 1000,
    tangents: Annotated[int, typer.Option(help="Images at which the manifold's reach is estimated.")] = 50,
    limit: Limit = None,
    memory: Memory = 2.0,
    seed: Seed = 0,
    out: Out = Path("theory-set"),
    as_json: Json = False,
) -> None:
    """Reach and intrinsic dimension of a data set, and how far projection takes noised images from where they came."""
    points = Points(read_set(data, limit=limit, memory=memory, rows=256))
    k = min(neighbours, len(points) - 2)
    if k < 2:
        raise UserError(f"{data} holds {len(points)} images, too few for a dimension; at least 4 are needed.")
    near = neighbour_distances(points, k, sample=min(sample, len(points)), seed=seed)
    if not len(near.distance):
        raise UserError(f"Every image of {data} has an exact copy in it; remove the duplicates.")
    dimension = levina_bickel(near)
    least = float(near.distance[:, 0].min())
    rounded = min(max(1, round(dimension)), k)
    few = near._replace(distance=near.distance[:tangents], others=near.others[:tangents], which=near.which[:tangents])
    found: dict[str, Any] = {
        "images": len(points),
        "n": math.prod(points.shape),
        "sampled": len(near.which) + near.duplicates,
        "duplicates": near.duplicates,
        "dimension_two_nn": two_nn(near),
        "dimension_levina_bickel": dimension,
        "k": k,
        "least_distance": least,
        "reach_of_the_images": least / 2,
        "reach_of_the_manifold": _finite(manifold_reach(points, few, rounded)),
        "diameter_bound": points.diameter,
    }
    known = Points(points.data, intrinsic=dimension, reach=least / 2)
    first = points.data.values(near.which[:32])
    middle = least / 2 / math.sqrt(found["n"])
    noised = noised_projection(known, first, np.geomspace(middle / 10, middle * 100, 13).tolist(), seed=seed)
    found["noised"] = [
        {"sigma": float(s), "error": float(np.median(e)), "dist": float(np.median(d))}
        for s, e, d in zip(noised.sigmas, noised.error, noised.distance, strict=True)
    ]
    _write(out, "set.json", found)
    from ..theory.pictures import draw_noised

    draw_noised(noised, out / "projection.png", f"Projecting noised images of {data.name} back")
    if as_json:
        typer.echo(json.dumps(found))
        return
    typer.echo(
        f"{found['images']} images in n = {found['n']} dimensions ({found['duplicates']} of {found['sampled']} sampled "
        f"ones have an exact copy)\n"
        f"intrinsic dimension d: {found['dimension_two_nn']:.1f} (TwoNN), {dimension:.1f} (Levina–Bickel, k = {k}); "
        f"d/n = {dimension / found['n']:.4f}\n"
        f"reach of the images as points: {least / 2:.4g} (half the least distance among those sampled)\n"
        f"reach of a manifold through them: {_text(found['reach_of_the_manifold'])} (at {len(few.which)} tangent "
        f"spaces of dimension {rounded})\n"
        f"diameter: at most {points.diameter:.4g}\nWrote {out}/set.json and projection.png"
    )


def _text(value: float | None) -> str:
    return "not found" if value is None else f"{value:.4g}"


@app.command()
def distance(
    data: Annotated[Path, typer.Argument(help="The set: a folder, zip or npz of images.")],
    images: Annotated[Path, typer.Argument(help="The images asked about: a folder, zip or npz.")],
    sigma: Annotated[float | None, typer.Option(help="Also the smoothed distance at this σ.")] = None,
    limit: Limit = None,
    memory: Memory = 2.0,
    as_json: Json = False,
) -> None:
    """Distance of each image to a data set, and which of its images is nearest."""
    points = Points(read_set(data, limit=limit, memory=memory))
    asked = read_images(images)
    x = asked.images.double() * (2 / 255) - 1
    found, index = points.data.neighbours(x)
    rows = [
        {"image": name, "distance": float(d), "per_number": float(d) / math.sqrt(x[0].numel()), "nearest": int(i)}
        for name, d, i in zip(asked.names, found[:, 0], index[:, 0], strict=True)
    ]
    if sigma is not None:
        value, _ = points.smoothed(x, sigma)
        for row, smooth in zip(rows, value.tolist(), strict=True):
            row["smoothed"] = smooth
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table(show_edge=False)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="left" if name == "image" else "right")
    for row in rows:
        table.add_row(*(f"{v:.6g}" if isinstance(v, float) else str(v) for v in row.values()))
    Console().print(table)


@app.command()
def error(
    model: Annotated[str, typer.Argument(help="A bundled name, a checkpoint folder, or images:PATH.")],
    over: Annotated[str, typer.Option("--set", help=f"The set K: one of {', '.join(NAMES)}.")] = "auto",
    sampler: Annotated[str, typer.Option(help="A recipe; its trajectories are measured.")] = "ddim",
    steps: Annotated[int, typer.Option(help="Steps of the grid.")] = 20,
    grid: Annotated[str | None, typer.Option(help="A grid; default: the recipe's usual one.")] = None,
    n: Annotated[int, typer.Option(help="Trajectories.")] = 64,
    seed: Seed = 0,
    batch_size: Annotated[int, typer.Option(help="Trajectories in memory at a time.")] = 64,
    limit: Limit = None,
    memory: Memory = 2.0,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps.")] = "cpu",
    out: Out = Path("theory-error"),
    as_json: Json = False,
) -> None:
    """Measure the relative error model along a sampler's trajectories: η, ν, |ε|, the gradient's constancy."""
    net = load_model(model, device)
    k = named_set(over, net, limit=limit, memory=memory)
    recipe = make_recipe(sampler, steps)
    levels = resolve_grid(grid, recipe, net.process, steps)
    with _Bar(as_json) as bar:
        errors = measure(net, k, recipe, grid=levels, n=n, seed=seed, batch_size=batch_size, device=device,
                         callback=bar.step)  # fmt: skip
    name = model if over == "auto" else f"{model} against {over}"
    about = {
        "model": model,
        "set": over,
        "sampler": str(recipe),
        "grid": levels.name,
        "steps": levels.steps,
        "seed": seed,
    }
    _report(
        errors, float(levels.ratio[-1]), out, f"{name}: {recipe}, {levels.name}, {levels.steps} steps", about, as_json
    )


@app.command()
def ideal(
    data: Annotated[str, typer.Argument(help="images:PATH, the data set whose exact denoiser is measured.")],
    sampler: Annotated[str, typer.Option(help="A recipe; its trajectories are measured.")] = "ddim",
    steps: Annotated[int, typer.Option(help="Steps; the paper takes 50.")] = 50,
    grid: Annotated[str, typer.Option(help="A grid; the default is the paper's DDPM levels.")] = GRID,
    n: Annotated[int, typer.Option(help="Trajectories; the paper takes 500.")] = 500,
    seed: Seed = 0,
    batch_size: Annotated[int, typer.Option(help="Trajectories in memory at a time.")] = 500,
    limit: Limit = None,
    memory: Memory = 2.0,
    out: Out = Path("theory-ideal"),
    as_json: Json = False,
) -> None:
    """The ideal-denoiser experiment: the exact denoiser of a data set against projection onto it, both pairings."""
    if batch_size < 1 or n < 1:
        raise UserError("--n and --batch-size must be at least 1.")
    path = data.removeprefix("images:").strip()
    found = read_set(Path(path), limit=limit, memory=memory, rows=min(batch_size, n))
    with _Bar(as_json) as bar:
        errors = measure_ideal(found, sampler, steps=steps, grid=grid, n=n, seed=seed, batch_size=batch_size,
                               callback=bar.step)  # fmt: skip
    end = float(parse_grid(grid, found.process, steps).ratio[-1])
    about = {"set": data, "images": len(found.images), "sampler": sampler, "grid": grid, "steps": steps, "seed": seed}
    title = f"Ideal denoiser of {len(found.images)} images ({Path(path).name}): {sampler}, {steps} steps"
    _report(errors, end, out, title, about, as_json)


def _report(errors: Errors, end: float, out: Path, title: str, about: dict[str, Any], as_json: bool) -> None:
    """Numbers, pictures and a summary of one measurement."""
    from ..theory.pictures import draw_distances, draw_errors

    rows = errors.summary()
    result: dict[str, Any] = {**about, "trajectories": len(errors.samples), "n": errors.size, "evaluations": rows}
    known = bool(np.isfinite(errors.values["eta"]).any())
    if not known:
        raise UserError("Every state lies on the set, where no relative error is defined; choose a smaller set.")
    for share in (0.5, 0.95):
        eta, nu = errors.holds_with(share)
        limit = schedules.reach(eta, nu)
        result[f"holds_for_{share:g}"] = {"eta": eta, "nu": nu, "reach_of_any_schedule": _finite(limit)}
    eta, nu = errors.holds_with(0.95)
    ratios = np.append(errors.ratios, end)
    ratios = ratios[np.isfinite(ratios)]
    verdict = schedules.check(ratios, eta, nu).sentence(ratios)
    band = schedules.least_band(ratios, eta)
    result |= {"schedule": verdict, "least_band": _finite(band)}
    needed = (
        "no ν makes this schedule admissible for that η: a step may pass the set"
        if math.isinf(band)
        else f"if η holds in a wider band, this schedule is admissible from ν = {band:.4g} on"
    )
    _write(out, "errors.json", result)
    _write(out, "errors.csv", errors.csv())
    draw_errors(errors, out / "errors.png", title)
    worst = np.nan_to_num(errors.quantile("eta", 1.0), nan=0.0)
    draw_distances(errors, end, worst, out / "distances.png", f"{title}\nbounds for the greatest η of each step")
    if as_json:
        typer.echo(json.dumps(result))
        return
    table = Table(show_edge=False, caption="medians over the trajectories")
    names = {"sigma": "σ/α", "dist": "dist", "eta": "η", "eta_released": "η released", "nu": "ν = √nσ/dist",
             "norm": "|ε|/√n", "turn": "turn of ∇dist", "diam_over_dist": "diam/dist"}  # fmt: skip
    for name in ("t", *names.values()):
        table.add_column(name, justify="right")
    stride = max(1, len(rows) // 20)
    for row in rows[::stride]:
        cells = (row[key] if key == "sigma" else row[key] and row[key][1] for key in names)
        table.add_row(f"{row['t']:.5g}", *("–" if c is None else f"{c:.4g}" for c in cells))
    Console().print(table)
    typer.echo(
        f"95 % of all states lie within η = {eta:.3g} and ν = {nu:.4g}, each on its own.\n"
        f"{verdict}\nHowever, {needed}.\n"
        f"Wrote {out}/errors.json, errors.csv, errors.png and distances.png"
    )


@app.command()
def schedule(
    eta: Annotated[float, typer.Option(help="The relative error η.")],
    nu: Annotated[float, typer.Option(help="The band ν: dist/ν ≤ √nσ ≤ ν·dist.")],
    steps: Annotated[int, typer.Option(help="Steps.")] = 10,
    ratio: Annotated[float | None, typer.Option(help="By which factor σ/α should fall.")] = None,
    grid: Annotated[str | None, typer.Option("--check", help="Check this grid, e.g. loglinear.")] = None,
    process: Annotated[str, typer.Option(help="The process of --check.")] = "linear",
    plot: Annotated[Path | None, typer.Option(help="Draw the checked (or the steepest) schedule to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Which noise schedules are (η, ν)-admissible: the greatest step, the reach, the least number of steps, a check."""
    beta = schedules.greatest_step(eta, nu, steps)
    factor, limit = schedules.reach(eta, nu, steps), schedules.reach(eta, nu)
    result: dict[str, Any] = {"eta": eta, "nu": nu, "steps": steps, "beta": beta, "reach": _finite(factor),
                              "reach_of_any_schedule": _finite(limit)}  # fmt: skip
    lines = [
        f"The greatest constant step for {steps} steps: β* = {beta:.5g} (σ/α × {1 - beta:.5g} a step), which lowers "
        f"σ/α by a factor of {factor:.6g}; any number of steps of any schedule: by less than {limit:.6g}."
    ]
    if ratio is not None:
        result["least_steps"] = schedules.least_steps(eta, nu, ratio)
        result["statement"] = schedules.statement(eta, nu, ratio)
        lines.append(result["statement"])
    levels = np.geomspace(1.0, 1 / factor, steps + 1) if math.isfinite(factor) else None
    title = f"The steepest schedule of {steps} steps"
    if grid is not None:
        found = parse_grid(grid, process_named(process), steps)
        levels, title = found.ratio, f"{found.name}, {found.steps} steps"
    if levels is not None:
        outcome = schedules.check(levels, eta, nu)
        if grid is not None:
            result |= {"grid": grid, "admissible": outcome.admissible, "fails_at": outcome.step, "side": outcome.side}
            result["check"] = outcome.sentence(levels)
            lines.append(f"{title}: {result['check']}")
        if plot is not None:
            from ..theory.pictures import draw_check

            draw_check(levels, outcome, plot, f"{title}: {'admissible' if outcome.admissible else 'not admissible'}")
    elif plot is not None:
        raise UserError(
            "With η = 0 one step is enough, and there is no schedule to draw; give --check or a positive η."
        )
    typer.echo(json.dumps(result) if as_json else "\n".join(lines))
    if plot is not None:
        typer.echo(f"Wrote {plot}", err=True)


@app.command()
def lowrank(
    size: Annotated[int, typer.Option(help="n, the ambient dimension.")] = 128,
    steps: Annotated[int, typer.Option(help="Steps.")] = 10,
    n: Annotated[int, typer.Option(help="Trajectories for each d/n.")] = 256,
    decay: Annotated[float, typer.Option(help="The variances on the subspace fall as i^−decay.")] = 1.0,
    grid: Annotated[str, typer.Option(help="The grid.")] = "loglinear",
    seed: Seed = 0,
    out: Out = Path("theory-lowrank"),
    as_json: Json = False,
) -> None:
    """η, the gain of gradient estimation and DDIM's bounds against d/n, on exact Gaussians, under three metrics."""
    if size < 2 or n < 1:
        raise UserError("--size must be at least 2 and --n at least 1.")
    rows = sweep(FRACTIONS, size=size, steps=steps, n=n, decay=decay, grid=grid, seed=seed)
    records = [row.record() for row in rows]
    about = {"size": size, "steps": steps, "trajectories": n, "decay": decay, "grid": grid, "seed": seed}
    _write(out, "lowrank.json", {**about, "rows": records})
    from ..theory.pictures import draw_low_rank

    draw_low_rank(
        rows, out / "lowrank.png", f"Gaussians of rank d in n = {size}: {grid}, {steps} steps, {n} trajectories"
    )
    if as_json:
        typer.echo(json.dumps(records))
        return
    table = Table(show_edge=False, caption="η: medians; high noise σ/α ≈ 30, low noise σ/α ≈ 0.3")
    for name in ("d/n", "η high", *(f"η low\n{metric}" for metric in METRICS), "gain of GE\n[95 %]"):
        table.add_column(name, justify="right")
    for row in rows:
        etas = (row.eta_at(METRICS[0], 30.0), *(row.eta_at(metric, 0.3) for metric in METRICS))
        low, high = row.gain_interval
        cells = ("–" if math.isnan(e) else f"{e:.3g}" for e in etas)
        table.add_row(f"{row.fraction:.3f}", *cells, f"{row.gain:.3f} [{low:.3f}, {high:.3f}]")
    Console().print(table)
    typer.echo(f"Wrote {out}/lowrank.json and lowrank.png")
