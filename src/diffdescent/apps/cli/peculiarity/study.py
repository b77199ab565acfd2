"""``diffdescent peculiarity study``: the share of peculiar figures, point by point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markdown import Markdown
from rich.table import Table

from diffdescent.base.errors import UserError

from ..options import Device, Quiet
from ..progress import Meter
from ..terminal import console as plain_console
from .options import Bf16

if TYPE_CHECKING:
    from diffdescent.lab.peculiarity.comparison import Row
    from diffdescent.lab.peculiarity.points import Point

STEPS = "5,10,20,50,100"
"""The step counts of the documentation's study."""
TEACHER = 1000


def study(
    model: Annotated[
        str, typer.Argument(help="A model of figures: figures, or a folder of your own.")
    ] = "figures",
    out: Annotated[
        Path, typer.Option(help="The study's folder; an interrupted study is continued.")
    ] = Path("study"),
    n: Annotated[int, typer.Option(help="Figures of each point, a multiple of --block.")] = 500,
    block: Annotated[int, typer.Option(help="Figures a file.")] = 100,
    steps: Annotated[str, typer.Option(help="Step counts.")] = STEPS,
    teacher: Annotated[int, typer.Option(help="Steps of the two teachers.")] = TEACHER,
    sampler: Annotated[
        list[str] | None,
        typer.Option(help="Only these recipes, and the teachers; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise that all points start from.")] = 0,
    bf16: Bf16 = False,
    unconditional: Annotated[
        bool, typer.Option("--unconditional", help="Ask for no species.")
    ] = False,
    device: Device = "cpu",
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Table and picture of what is there.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Share of peculiar figures against sampler, steps, β, γ and grid, next to a teacher of 1000
    steps.

    Every point starts from the same noise and is compared figure by figure. Writes study.csv,
    study.md (the verdict), study.png and differences.png. About 5,000 evaluations a figure: 500
    take 95 minutes of a core with --bf16. A study that was stopped goes on where it was, and a
    larger --n adds to it.
    """
    from diffdescent.base.files import write_atomically
    from diffdescent.lab.peculiarity import study as studies
    from diffdescent.lab.peculiarity.comparison import table, write_table
    from diffdescent.lab.peculiarity.pictures import draw_differences, draw_study
    from diffdescent.lab.peculiarity.verdict import verdict
    from diffdescent.models import load_model

    points = _points(steps, teacher, sampler)
    if not report_only:
        net = load_model(model, device)
        with Meter("starting", hidden=quiet) as bar:

            def show(done: int, total: int, point: Point) -> None:
                bar.to(done, total, f"{point.recipe}, {point.steps} steps")

            studies.run_study(
                net,
                points,
                n,
                out,
                seed=seed,
                block=block,
                bf16=bf16,
                unconditional=unconditional,
                progress=show,
            )
    found = studies.outcomes(out)
    rows, written = (
        table(found, teacher),
        {kind: out / f"study.{kind}" for kind in ("csv", "md", "png")},
    )
    answer = verdict(rows, teacher)
    write_table(rows, written["csv"])
    write_atomically(written["md"], f"{answer}\n".encode())
    draw_study(rows, written["png"], teacher)
    draw_differences(rows, out / "differences.png")
    _print_rows(rows)
    plain_console().print("", Markdown(answer), "")
    typer.echo(f"Table: {written['csv']}\nVerdict: {written['md']}")
    typer.echo(f"Pictures: {written['png']}, {out / 'differences.png'}")


def _points(steps: str, teacher: int, only: list[str] | None) -> list[Point]:
    from diffdescent.lab.peculiarity.points import Point, default_points

    try:
        counts = [int(part) for part in steps.split(",")]
    except ValueError:
        raise UserError(
            f"--steps {steps!r} is not a list of step counts; write for example 10,20,50."
        ) from None
    if min(counts) < 1 or teacher < 1:
        raise UserError("Step counts and --teacher must be at least 1.")
    points = default_points(counts, teacher)
    if only:
        points = points[:2] + [Point(recipe, count) for recipe in only for count in counts]
    return points


def _print_rows(rows: Sequence[Row]) -> None:
    from diffdescent.lab.peculiarity.comparison import REFERENCES

    names = [f"p ({name})" for name in ("DDIM", "ancestral", "base")]
    shown = Table(
        "recipe",
        "grid",
        "steps",
        "n",
        "peculiar",
        "abnormal",
        "other species",
        *names,
        show_edge=False,
    )
    for row in rows:
        tests = [
            f"{row.against[ref].peculiar.p:.2g}" if ref in row.against else "" for ref in REFERENCES
        ]
        shown.add_row(
            row.point.recipe,
            row.point.grid.partition("(")[0],
            str(row.point.steps),
            str(row.n),
            str(row.peculiar),
            *(f"{100 * share.value:.1f} %" for share in (row.abnormal, row.other)),
            *tests,
        )
    plain_console().print(shown)
