"""``diffdescent conflicts``: how the gradients of a guided sampler lie to each other, as a table
and a figure."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from diffdescent.base.errors import UserError
from diffdescent.core.recipe import parse
from diffdescent.guidance import apply_guidance
from diffdescent.lab.conflicts import analysis
from diffdescent.lab.conflicts.rows import PAIRS, SHARES, ConflictRow, Estimated
from diffdescent.lab.conflicts.table import ConflictTable
from diffdescent.models import load_model

from .options import Device, MicroBatch, Steps, UsualGrid
from .progress import Bar
from .sampling import parse_labels

SHOWN = 10
"""The table prints at most this many steps; the file has all."""
LABELS = {
    "direction": "⟨a, b⟩ < 0",
    "magnitude": "Φ",
    "cosine": "cos φ",
    "norm_a": "‖a‖",
    "norm_b": "‖b‖",
    "negative_after": "⟨â, b⟩ < 0",
    "both_negative_after": "⟨â, b̂⟩ < 0",
}


def conflicts(
    model: Annotated[str, typer.Argument(help="A bundled name or a diffusers checkpoint folder.")],
    guidance: Annotated[
        str, typer.Option(help='What guides, e.g. "classifier(scale=2)" or "cfg(scale=3)".')
    ],
    sampler: Annotated[
        str, typer.Option(help="A recipe; with pxp in it or in --guidance, PxP is taken.")
    ] = "ddpm",
    steps: Steps = 50,
    grid: UsualGrid = None,
    n: Annotated[int, typer.Option(help="How many samples.")] = 64,
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
    label: Annotated[
        str | None,
        typer.Option(help="Class name or number, or a list of them; default: all classes in turn."),
    ] = None,
    micro_batch: MicroBatch = None,
    device: Device = "cpu",
    out: Annotated[
        Path, typer.Option(help="Folder for the figure, the table and what was measured.")
    ] = Path("conflicts"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier analysis in --out.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress bar, no table.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every figure as JSON on standard output.")
    ] = False,
) -> None:
    """Measure the conflicts between guidance, denoising and noise at every step: conflicts.png and
    conflicts.csv.

    An interrupted analysis is continued by the same command, and a larger --n adds samples to it.
    """
    if n < 1:
        raise UserError("There is no sample to measure; give --n of at least 1.")
    if micro_batch is not None and micro_batch < 1:
        raise UserError("--micro-batch must be at least 1.")
    net, recipe = apply_guidance(guidance, load_model(model, device), parse(sampler))
    ready = analysis(
        net, recipe, n=n, steps=steps, grid=grid, labels=parse_labels(label, net, n), seed=seed,
        micro_batch=micro_batch, device=device, out=out, overwrite=overwrite,
    )  # fmt: skip
    todo = [chunk for chunk in ready.chunks() if ready.known(chunk) is None]
    with Bar(n, done=n - sum(map(len, todo)), hidden=quiet or as_json) as bar:
        for chunk in todo:
            ready.measure(chunk, bar.step)
            bar.finished(len(chunk))
    found = ready.table()
    table, picture = found.write(out)
    if as_json:
        typer.echo(
            json.dumps(_described(found) | {"table": str(table), "figure": str(picture)}, indent=2)
        )
    elif not quiet:
        _print(found)
        typer.echo(f"Figure: {picture}\nTable:  {table}")


def _print(found: ConflictTable) -> None:
    record = found.record
    title = (
        f"{record['model']}, {record['recipe']}, {len(found.t)} {record['rows']}, {record['n']}"
        f" samples, seed {record['seed']}\nmeans over {record['rows']}, [95 % interval] over"
        f" samples; â, b̂: projected by {record['rule']}\ncls: guidance, den: denoising, div: noise"
    )
    table = Table(title=escape(title), show_edge=False, show_lines=True)
    table.add_column("")
    figures = {pair: found.overall(pair).figures for pair in PAIRS}
    for pair in PAIRS:
        table.add_column(f"{pair} (a, b)", justify="right")
    for name, label in LABELS.items():
        table.add_row(label, *(_text(figures[pair][name], name in SHARES) for pair in PAIRS))
    console = Console()
    console.print(table, "", _by_step(found))


def _by_step(found: ConflictTable) -> Table:
    table = Table(title="step by step: samples in conflict (%), Φ", show_edge=False)
    for name in ("t", "σ/α", *(f"{pair} {figure}" for pair in PAIRS for figure in ("%", "Φ"))):
        table.add_column(name, justify="right")
    last = len(found.t) - 1
    every = [found.steps(pair) for pair in PAIRS]
    for i in sorted({round(k * last / (SHOWN - 1)) for k in range(SHOWN)}):
        cells = [f"{found.t[i]:.5g}", f"{found.ratio[i]:.4g}"]
        for rows in every:
            direction, magnitude = rows[i].figures["direction"], rows[i].figures["magnitude"]
            cells += (
                [f"{100 * direction.value:.0f}", f"{magnitude.value:.3f}"]
                if direction.n
                else ["–", "–"]
            )
        table.add_row(*cells)
    return table


def _text(figure: Estimated, percent: bool) -> str:
    """The figure, and its interval beneath."""
    if not figure.n:
        return "–"
    if percent:
        return f"{100 * figure.value:.1f} %\n[{100 * figure.low:.1f}, {100 * figure.high:.1f}]"
    return f"{figure.value:.3g}\n[{figure.low:.3g}, {figure.high:.3g}]"


def _described(found: ConflictTable) -> dict[str, Any]:
    """Everything as JSON, with null where there is no number."""
    return {
        "record": dict(found.record),
        "overall": [_row(found.overall(pair)) for pair in PAIRS],
        "steps": [_row(row) for row in found.rows()],
    }


def _row(row: ConflictRow) -> dict[str, Any]:
    place = (
        {}
        if row.step < 0
        else {"step": row.step, "t": row.t, "sigma_over_alpha": _number(row.ratio)}
    )
    figures = {
        name: {"value": _number(f.value), "low": _number(f.low), "high": _number(f.high), "n": f.n}
        for name, f in row.figures.items()
    }
    return {"pair": row.pair, **place, **figures}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
