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

from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError
from diffdescent.base.files import make_folder, write_atomically
from diffdescent.base.image_sets import read_images
from diffdescent.core.predict import Predictor
from diffdescent.core.process import Array
from diffdescent.core.recipe import parse_grid
from diffdescent.lab.theory import schedules
from diffdescent.lab.theory.error_model import measure
from diffdescent.lab.theory.errors import Errors
from diffdescent.lab.theory.ideal import GRID, measure_ideal
from diffdescent.lab.theory.image_data import read_set
from diffdescent.lab.theory.intrinsic import levina_bickel, manifold_reach, two_nn
from diffdescent.lab.theory.lowrank import FRACTIONS, METRICS, sweep
from diffdescent.lab.theory.neighbours import ROWS, neighbour_distances
from diffdescent.lab.theory.noised import noised_projection
from diffdescent.lab.theory.sets.by_name import NAMES, images_path, named_set
from diffdescent.lab.theory.sets.points import Points
from diffdescent.models import load_model
from diffdescent.models.exact import float64_device
from diffdescent.run import Progress as Step
from diffdescent.run import make_recipe, resolve_grid
from diffdescent.run.pieces import Pieces

from .grids import process_named
from .sampling import parse_labels

app = typer.Typer(
    no_args_is_help=True, help="Denoising as projection: distances, the error model, schedules."
)


def _with_float64(name: str) -> str:
    device = pick_device(name)
    if float64_device(device) != device:
        raise UserError(f"Distances are measured in float64, which {name} does not have; use cpu.")
    return name


Memory = Annotated[
    float, typer.Option(help="GiB that the process may take; larger sets are refused.")
]
Limit = Annotated[int | None, typer.Option(help="Use this many images of the set, evenly spread.")]
Out = Annotated[
    Path,
    typer.Option(
        help=(
            "Folder for numbers (JSON, CSV), pictures and the cache, from which a killed run"
            " goes on."
        )
    ),
]
Dimension = Annotated[
    float | None,
    typer.Option(
        help="Intrinsic dimension d of the data (see `theory set`), to compare errors to σ√d."
    ),
]
Batch = Annotated[
    int, typer.Option(help="Trajectories run, and then written to the cache, at a time.")
]
Device = Annotated[
    str, typer.Option(help="cpu or cuda; mps has no float64.", callback=_with_float64)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Seed = Annotated[int, typer.Option(help="Seed of the noise and of samples drawn.")]


CACHE = "cache"
"""The folder within OUT that holds what was computed so far."""


def _write(out: Path, name: str, content: Any) -> None:
    make_folder(out)
    text = content if isinstance(content, str) else json.dumps(content, indent=1) + "\n"
    write_atomically(out / name, text.encode())


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def one_label(text: str | None, model: Predictor) -> int | None:
    """The number of a class given by name or number. Raises :class:`UserError` for another, and for
    several."""
    if text is not None and "," in text:
        raise UserError(
            f"All trajectories are of one class here; give one as --label, not {text!r}."
        )
    labels = parse_labels(text, model, 1)
    return None if labels is None else int(labels[0])


class _Bar(Progress):
    """A progress bar, moved by the evaluations of ``sample`` or by the pieces that are there."""

    def __init__(self, unit: str, hidden: bool, total: int | None = None) -> None:
        columns = (
            TextColumn("measuring"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} " + unit),
        )
        super().__init__(*columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
                         console=Console(stderr=True), disable=hidden)  # fmt: skip
        self.bar = self.add_task("", total=total or 1)

    def step(self, at: Step) -> None:
        self.update(self.bar, total=at.nfe * at.batches, completed=at.batch * at.nfe + at.index + 1)

    def part(self, done: int) -> None:
        self.update(self.bar, completed=done)


@app.command("set")
def describe(
    data: Annotated[Path, typer.Argument(help="A folder, zip or npz of images.")],
    neighbours: Annotated[
        int, typer.Option(help="k of the dimension estimate by maximum likelihood.")
    ] = 20,
    sample: Annotated[int, typer.Option(help="Images whose neighbours are looked for.")] = 1000,
    tangents: Annotated[
        int, typer.Option(help="Images at which the manifold's reach is estimated.")
    ] = 50,
    limit: Limit = None,
    memory: Memory = 2.0,
    device: Device = "cpu",
    seed: Seed = 0,
    out: Out = Path("theory-set"),
    as_json: Json = False,
) -> None:
    """Reach and intrinsic dimension of a data set, and how far projection takes noised images from
    where they came."""
    if min(neighbours, sample, tangents) < 1:
        raise UserError("--neighbours, --sample and --tangents must be at least 1.")
    points = Points(read_set(data, limit=limit, memory=memory, rows=ROWS, device=device))
    if len(points) < 4:
        raise UserError(
            f"{data} holds {len(points)} images, too few for a dimension; at least 4 are needed."
        )
    k, sample = min(max(neighbours, 2), len(points) - 2), min(sample, len(points))
    total = math.ceil(sample / ROWS) + min(tangents, sample)
    with _Bar("pieces", as_json, total) as bar:
        pieces = Pieces(out / CACHE, {"set": points.fingerprint()}, bar.part)
        near = neighbour_distances(points, k, sample=sample, seed=seed, pieces=pieces)
        if not len(near.distance):
            raise UserError(
                f"Every image of {data} has an exact copy in it; remove the duplicates."
            )
        dimension = levina_bickel(near)
        if not math.isfinite(dimension):
            raise UserError(
                f"The neighbours of every image of {data} are equally far, which tells no"
                " dimension."
            )
        least = float(near.distance[:, 0].min())
        rounded = min(max(1, round(dimension)), k)
        few = near._replace(
            distance=near.distance[:tangents],
            others=near.others[:tangents],
            which=near.which[:tangents],
        )
        manifold = manifold_reach(points, few, rounded, pieces=pieces)
    found: dict[str, Any] = {
        "images": len(points),
        "n": math.prod(points.shape),
        "sampled": len(near.which) + near.duplicates,
        "duplicates": near.duplicates,
        "dimension_two_nn": _finite(two_nn(near)),
        "dimension_levina_bickel": dimension,
        "k": k,
        "least_distance": least,
        "reach_of_the_images": least / 2,
        "reach_of_the_manifold": _finite(manifold),
        "diameter_bound": points.diameter,
    }
    known = Points(points.data, intrinsic=min(dimension, found["n"]), reach=least / 2)
    first = points.data.values(near.which[:32])
    middle = least / 2 / math.sqrt(found["n"])
    noised = noised_projection(
        known, first, np.geomspace(middle / 10, middle * 100, 13).tolist(), seed=seed
    )
    found["noised"] = [
        {"sigma": float(s), "error": float(np.median(e)), "dist": float(np.median(d))}
        for s, e, d in zip(noised.sigmas, noised.error, noised.distance, strict=True)
    ]
    _write(out, "set.json", found)
    from diffdescent.lab.theory.pictures import draw_noised

    draw_noised(noised, out / "projection.png", f"Projecting noised images of {data.name} back")
    if as_json:
        typer.echo(json.dumps(found))
        return
    typer.echo(
        f"{found['images']} images in n = {found['n']} dimensions ({found['duplicates']} of"
        f" {found['sampled']} sampled ones have an exact copy)\nintrinsic dimension d:"
        f" {_text(found['dimension_two_nn'])} (TwoNN), {dimension:.1f} (Levina–Bickel, k = {k});"
        f" d/n = {dimension / found['n']:.4f}\nreach of the images as points: {least / 2:.4g} (half"
        " the least distance among those sampled)\nreach of a manifold through them:"
        f" {_text(found['reach_of_the_manifold'])} (at {len(few.which)} tangent spaces of dimension"
        f" {rounded})\ndiameter: at most {points.diameter:.4g}\nWrote {out}/set.json and"
        " projection.png"
    )


def _text(value: float | None) -> str:
    return "not found" if value is None else f"{value:.4g}"


@app.command()
def distance(
    data: Annotated[Path, typer.Argument(help="The set: a folder, zip or npz of images.")],
    images: Annotated[Path, typer.Argument(help="The images asked about: a folder, zip or npz.")],
    sigma: Annotated[
        float | None, typer.Option(help="Also the smoothed distance at this σ.")
    ] = None,
    limit: Limit = None,
    memory: Memory = 2.0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Distance of each image to a data set, and which of its images is nearest."""
    points = Points(read_set(data, limit=limit, memory=memory, device=device))
    asked = read_images(images)
    if asked.shape != points.shape:
        raise UserError(
            f"The images of {images} have shape {asked.shape}, but those of {data} {points.shape}."
        )
    x = (asked.images.double() * (2 / 255) - 1).to(points.data.device)
    found, index = points.data.neighbours(x)
    rows = [
        {
            "image": name,
            "distance": float(d),
            "per_number": float(d) / math.sqrt(x[0].numel()),
            "nearest": int(i),
        }
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
    model: Annotated[
        str, typer.Argument(help="A bundled name, a checkpoint folder, or images:PATH.")
    ],
    over: Annotated[
        str, typer.Option("--set", help=f"The set K: one of {', '.join(NAMES)}.")
    ] = "auto",
    sampler: Annotated[str, typer.Option(help="A recipe; its trajectories are measured.")] = "ddim",
    steps: Annotated[int, typer.Option(help="Steps of the grid.")] = 20,
    grid: Annotated[
        str | None, typer.Option(help="A grid; default: the recipe's usual one.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Class name or number.")] = None,
    n: Annotated[int, typer.Option(help="Trajectories.")] = 64,
    seed: Seed = 0,
    batch_size: Batch = 16,
    dimension: Dimension = None,
    limit: Limit = None,
    memory: Memory = 2.0,
    device: Device = "cpu",
    out: Out = Path("theory-error"),
    as_json: Json = False,
) -> None:
    """Measure the relative error model along a sampler's trajectories: η, ν, |ε|, the gradient's
    constancy."""
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
    with _Bar("evaluations", as_json) as bar:
        errors = measure(
            net,
            k,
            recipe,
            grid=levels,
            n=n,
            seed=seed,
            batch_size=batch_size,
            device=device,
            labels=one_label(label, net),
            cache=out / CACHE,
            callback=bar.step,
        )
    name = model if over == "auto" else f"{model} against {over}"
    about = {
        "model": model,
        "set": over,
        "label": label,
        "sampler": str(recipe),
        "grid": levels.name,
        "steps": levels.steps,
        "seed": seed,
    }
    _report(
        errors,
        float(levels.ratio[-1]),
        out,
        f"{name}: {recipe}, {levels.name}, {levels.steps} steps",
        about,
        as_json,
    )


@app.command()
def ideal(
    data: Annotated[
        str, typer.Argument(help="images:PATH, the data set whose exact denoiser is measured.")
    ],
    sampler: Annotated[str, typer.Option(help="A recipe; its trajectories are measured.")] = "ddim",
    steps: Annotated[int, typer.Option(help="Steps; the paper takes 50.")] = 50,
    grid: Annotated[
        str, typer.Option(help="A grid; the default is the paper's DDPM levels.")
    ] = GRID,
    n: Annotated[int, typer.Option(help="Trajectories; the paper takes 500.")] = 500,
    seed: Seed = 0,
    batch_size: Batch = 100,
    dimension: Dimension = None,
    limit: Limit = None,
    memory: Memory = 2.0,
    device: Device = "cpu",
    out: Out = Path("theory-ideal"),
    as_json: Json = False,
) -> None:
    """The ideal-denoiser experiment: the exact denoiser of a data set against projection onto it,
    both pairings."""
    if batch_size < 1 or n < 1:
        raise UserError("--n and --batch-size must be at least 1.")
    path = images_path(data)
    found = read_set(path, limit=limit, memory=memory, rows=min(batch_size, n), device=device)
    with _Bar("evaluations", as_json) as bar:
        errors = measure_ideal(
            found,
            sampler,
            steps=steps,
            grid=grid,
            n=n,
            seed=seed,
            batch_size=batch_size,
            intrinsic=dimension,
            cache=out / CACHE,
            callback=bar.step,
        )
    end = float(parse_grid(grid, found.process, steps).ratio[-1])
    about = {
        "set": data,
        "images": len(found.images),
        "sampler": sampler,
        "grid": grid,
        "steps": steps,
        "seed": seed,
    }
    title = f"Ideal denoiser of {len(found.images)} images ({path.name}): {sampler}, {steps} steps"
    _report(errors, end, out, title, about, as_json)


def _report(
    errors: Errors, end: float, out: Path, title: str, about: dict[str, Any], as_json: bool
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
            "reach_of_any_schedule": _finite(limit),
        }
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
    draw_distances(
        errors,
        end,
        worst,
        out / "distances.png",
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
    grid: Annotated[
        str | None, typer.Option("--check", help="Check this grid, e.g. loglinear.")
    ] = None,
    process: Annotated[str, typer.Option(help="The process of --check.")] = "linear",
    plot: Annotated[
        Path | None, typer.Option(help="Draw the checked (or the steepest) schedule to this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Which noise schedules are (η, ν)-admissible: the greatest step, how far N steps lower the
    noise, the least number of steps, a check."""
    beta = schedules.greatest_step(eta, nu, steps)
    factor, limit = schedules.greatest_factor(eta, nu, steps), schedules.greatest_factor(eta, nu)
    result: dict[str, Any] = {
        "eta": eta,
        "nu": nu,
        "steps": steps,
        "beta": beta,
        "reach": _finite(factor),
        "reach_of_any_schedule": _finite(limit),
    }
    lines = [
        f"The greatest constant step for {steps} steps: β* = {beta:.5g} (σ/α × {1 - beta:.5g} a"
        f" step), which lowers σ/α by a factor of {factor:.6g}; any number of steps of any"
        f" schedule: by less than {limit:.6g}."
    ]
    if ratio is not None:
        result["least_steps"] = schedules.least_steps(eta, nu, ratio)
        result["statement"] = schedules.statement(eta, nu, ratio)
        lines.append(result["statement"])
    levels, title = None, f"The steepest schedule of {steps} steps"
    if grid is not None:
        found = parse_grid(grid, process_named(process), steps)
        levels, title = found.ratio, f"{found.name}, {found.steps} steps"
        outcome = schedules.check(levels, eta, nu)
        result |= {
            "grid": grid,
            "admissible": outcome.admissible,
            "fails_at": outcome.step,
            "side": outcome.side,
        }
        result["check"] = outcome.sentence(levels)
        lines.append(f"{title}: {result['check']}")
    if plot is not None:
        from diffdescent.lab.theory.pictures import draw_check

        if levels is None:
            levels = _steepest(factor, steps)
        outcome = schedules.check(levels, eta, nu)
        draw_check(
            levels,
            outcome,
            plot,
            f"{title}: {'admissible' if outcome.admissible else 'not admissible'}",
        )
    typer.echo(json.dumps(result) if as_json else "\n".join(lines))
    if plot is not None:
        typer.echo(f"Wrote {plot}", err=True)


def _steepest(factor: float, steps: int) -> Array:
    """The log-linear ratios of ``steps`` steps over the range that is allowed."""
    if not 1 < factor < math.inf:
        why = "one step is enough (η = 0)" if factor > 1 else "no step is allowed (ν = 1)"
        raise UserError(
            f"There is no steepest schedule to draw, since {why}; give --check, or other η and ν."
        )
    return np.geomspace(1.0, 1 / factor, steps + 1)


@app.command()
def lowrank(
    size: Annotated[int, typer.Option(help="n, the ambient dimension.")] = 128,
    steps: Annotated[int, typer.Option(help="Steps.")] = 10,
    n: Annotated[int, typer.Option(help="Trajectories for each d/n.")] = 256,
    decay: Annotated[
        float, typer.Option(help="The variances on the subspace fall as i^−decay.")
    ] = 1.0,
    grid: Annotated[str, typer.Option(help="The grid.")] = "loglinear",
    seed: Seed = 0,
    out: Out = Path("theory-lowrank"),
    as_json: Json = False,
) -> None:
    """η, the gain of gradient estimation and DDIM's bounds against d/n, on exact Gaussians, under
    three metrics."""
    with _Bar("ranks", as_json, len(FRACTIONS)) as bar:
        rows = sweep(
            FRACTIONS,
            size=size,
            steps=steps,
            n=n,
            decay=decay,
            grid=grid,
            seed=seed,
            cache=out / CACHE,
            progress=bar.part,
        )
    records = [row.record() for row in rows]
    about = {
        "size": size,
        "steps": steps,
        "trajectories": n,
        "decay": decay,
        "grid": grid,
        "seed": seed,
    }
    _write(out, "lowrank.json", {**about, "rows": records})
    from diffdescent.lab.theory.pictures import draw_low_rank

    draw_low_rank(
        rows,
        out / "lowrank.png",
        f"Gaussians of rank d in n = {size}: {grid}, {steps} steps, {n} trajectories",
    )
    if as_json:
        typer.echo(json.dumps(records))
        return
    table = Table(show_edge=False, caption="η: medians; high noise σ/α ≈ 30, low noise σ/α ≈ 0.3")
    for name in (
        "d/n",
        "η high",
        *(f"η low\n{metric.split(',')[0]}" for metric in METRICS),
        "gain of GE\n[95 %]",
    ):
        table.add_column(name, justify="right")
    for row in rows:
        etas = (row.eta_at(METRICS[0], 30.0), *(row.eta_at(metric, 0.3) for metric in METRICS))
        gain, low, high = row.gain[METRICS[0]]
        cells = ("–" if math.isnan(e) else f"{e:.3g}" for e in etas)
        table.add_row(f"{row.fraction:.3f}", *cells, f"{gain:.3f} [{low:.3f}, {high:.3f}]")
    Console().print(table)
    typer.echo(f"Wrote {out}/lowrank.json and lowrank.png")
