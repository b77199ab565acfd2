"""``diffdescent demo``: the main job on a bundled model — several samplers from the same noise, side by side."""

from __future__ import annotations

import csv
import io
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor

from ..errors import UserError
from ..grid import Grid
from ..images import make_folder, save_figure, sheet, to_uint8, write_atomically
from ..models import load_model
from ..models.flowmap import exact_solution
from ..models.mixture import Mixture
from ..recipes import parse, parse_grid
from ..sample import initial_state, noise_for
from ..sample import sample as run_sampler

SAMPLERS = (
    "ddim",
    "ddim | momentum(beta=-0.3)",
    "ge(gamma=2)",
    "ge(gamma=2) | momentum(beta=0.1)",
    "plms",
    "deis",
    "dpmpp(order=2)",
    "unipc",
)
STEPS = (5, 10, 20)


@dataclass(frozen=True)
class Cell:
    """One sampler at one step count: its images (n, C, H, W), cost and distance to the exact solution."""

    recipe: str
    steps: int
    nfe: int
    images: Tensor
    rmse: float
    seconds: float


def rmse(images: Tensor, reference: Tensor) -> float:
    """Root mean squared difference per pixel, in the units of [−1, 1]."""
    return float((images.double() - reference.double()).pow(2).mean().sqrt())


def reference(model: Mixture, grid: Grid, noise: Tensor, cache: Path) -> Tensor:
    """The exact end of the probability-flow ODE from the state in which the samplers start."""
    start, end = grid.points[0], grid.points[-1]
    x = initial_state(noise, grid)
    return exact_solution(model, x.double(), start, end, rtol=1e-5, atol=1e-5, cache=cache).x


def demo(
    model: Annotated[str, typer.Argument(help="A bundled mixture, whose exact solution is known.")] = "cifar10-mixture",
    grid: Annotated[
        str, typer.Option(help="One grid for all samplers, so that all start and end alike.")
    ] = "loglinear",
    n: Annotated[int, typer.Option(help="Images behind each figure of the table.")] = 32,
    shown: Annotated[int, typer.Option(help="Images shown for each sampler.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the noise that all samplers start from.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the picture and the table.")] = Path("demo-output"),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Sample with several samplers at several step counts from the same noise, and measure them.

    Writes comparison.png (rows: samplers, columns: step counts; the last row is the exact solution) and table.csv. The
    bundled mixture has the statistics of real images, colours, horizons and contrasts, but draws no objects: what it
    has is a known truth, so that the table can say how far each sampler is from it.
    """
    net = load_model(model)
    if not isinstance(net, Mixture):
        raise UserError(f"The demo measures against an exact solution, which {model!r} lacks; use cifar10-mixture.")
    if n < 1 or shown < 1:
        raise UserError("--n and --shown must be at least 1.")
    make_folder(out)
    begun = time.monotonic()
    grids = {steps: parse_grid(grid, net.process, steps) for steps in STEPS}
    noise = noise_for(seed, range(n), net.shape or ())
    cells: list[Cell] = []
    with Progress(console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("exact solution", total=len(STEPS) * (1 + len(SAMPLERS)))
        truth = {}
        for steps, levels in grids.items():
            truth[steps] = reference(net, levels, noise, out / "cache")
            bar.advance(task)
        for recipe in SAMPLERS:
            for steps, levels in grids.items():
                bar.update(task, description=f"{recipe}, {steps} steps")
                before = time.monotonic()
                result = run_sampler(net, parse(recipe), grid=levels, n=n, seed=seed)
                seconds = time.monotonic() - before
                error = rmse(result.images, truth[steps])
                cells.append(Cell(recipe, steps, result.plan.nfe, result.images, error, seconds))
                bar.advance(task)
    _write_table(cells, out / "table.csv")
    _write_picture(
        cells, {steps: image[:shown] for steps, image in truth.items()}, model, shown, out / "comparison.png"
    )
    _print_table(cells, grids[STEPS[0]], n, seed)
    typer.echo(
        f"Picture: {out / 'comparison.png'}\nTable:   {out / 'table.csv'}\n{time.monotonic() - begun:.0f} s in all"
    )


def _write_table(cells: list[Cell], path: Path) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("sampler", "steps", "evaluations", "rmse_to_exact", "seconds"))
    writer.writerows((c.recipe, c.steps, c.nfe, f"{c.rmse:.6f}", f"{c.seconds:.3f}") for c in cells)
    write_atomically(path, text.getvalue().encode())


def _print_table(cells: list[Cell], grid: Grid, n: int, seed: int) -> None:
    end = grid.points[-1].ratio
    table = Table(
        title=f"RMSE per pixel in [−1, 1] to the exact solution from the same noise\n"
        f"{n} samples, seed {seed}, grid {grid.name} from σ/α = {grid.points[0].ratio:.4g} to {end:.4g}",
        show_edge=False,
    )
    table.add_column("sampler")
    for steps in STEPS:
        table.add_column(f"{steps} steps", justify="right")
    best = {steps: min(c.rmse for c in cells if c.steps == steps) for steps in STEPS}
    for recipe in dict.fromkeys(c.recipe for c in cells):
        row = [next(c for c in cells if c.recipe == recipe and c.steps == steps) for steps in STEPS]
        table.add_row(
            recipe, *(f"[bold]{c.rmse:.4f}[/bold]" if c.rmse == best[c.steps] else f"{c.rmse:.4f}" for c in row)
        )
    Console().print(table)


def _write_picture(cells: list[Cell], truth: dict[int, Tensor], truth_name: str, shown: int, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = [*dict.fromkeys(c.recipe for c in cells), "exact solution"]
    figure, axes = plt.subplots(
        len(names), len(STEPS), figsize=(1.1 * shown * len(STEPS) / 2 + 2, 0.62 * len(names) + 0.6), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for row, name in enumerate(names):
        for column, steps in enumerate(STEPS):
            found = next((c for c in cells if c.recipe == name and c.steps == steps), None)
            images = truth[steps] if found is None else found.images[:shown]
            axis = axes[row][column]
            axis.imshow(sheet(to_uint8(images), columns=shown).permute(1, 2, 0).numpy(), interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            for side in axis.spines.values():
                side.set_visible(False)
            if found is not None:
                axis.set_xlabel(f"RMSE {found.rmse:.3f}", fontsize=6, labelpad=1)
            if row == 0:
                axis.set_title(f"{steps} steps", fontsize=9)
            if column == 0:
                axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    figure.suptitle(f"{truth_name}: from the same noise, next to the exact end of its probability-flow ODE", fontsize=9)
    save_figure(figure, path, dpi=130)
    plt.close(figure)
