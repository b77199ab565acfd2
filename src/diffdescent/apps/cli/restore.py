"""``diffdescent restore``: images from measurements, by one method or several."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from .options import Json, Quiet, labels_option
from .terminal import console as plain_console

if TYPE_CHECKING:
    from diffdescent.lab.restore import Row, Work

_SCORES = {
    "psnr": "PSNR",
    "psnr_mean": "PSNR of mean",
    "ssim": "SSIM",
    "features": "features",
    "residual": "residual",
    "mean_error": "mean error",
    "coverage90": "coverage 90 %",
}
"""The scores that the terminal shows, and their titles; table.csv has all of them."""


def restore(
    model: Annotated[
        str,
        typer.Argument(help="A model, as for sample; or a YAML file of studies/restore/."),
    ],
    images: Annotated[
        Path, typer.Argument(help="The originals, or with --measured the measurements.")
    ],
    operator: Annotated[
        str | None, typer.Option(help='What measures, e.g. "blur(sigma=2)"; several with ;.')
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            help="σ of the measurement's noise for images in [−1, 1]; several with ,; default: 0."
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help='Restoration methods, e.g. "ddnm; dps; diffpir".')
    ] = None,
    nfe: Annotated[
        str | None,
        typer.Option(help="Network evaluations (of sample: --steps); several with ,; default: 20."),
    ] = None,
    n: Annotated[int | None, typer.Option(help="Samples of each image; default: 1.")] = None,
    count: Annotated[int | None, typer.Option(help="How many of the images; default: all.")] = None,
    measured: Annotated[
        bool, typer.Option("--measured", help="The images are what was measured.")
    ] = False,
    sampler: Annotated[
        str | None, typer.Option(help="A recipe in place of the methods' own samplers.")
    ] = None,
    grid: Annotated[str | None, typer.Option(help="A grid; default: the recipe's own.")] = None,
    guidance: Annotated[str | None, typer.Option(help="Guidance beneath the methods.")] = None,
    labels: Annotated[str | None, labels_option("none")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all that is random.")] = None,
    micro_batch: Annotated[
        int | None, typer.Option(help="Samples that the network sees at once.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the CPU.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for images, sheet and table.")] = Path(
        "restored"
    ),
    pictures: Annotated[
        bool, typer.Option(help="Write the samples, means and deviations as PNG files.")
    ] = True,
    exact: Annotated[
        bool,
        typer.Option(
            help="Judge samples by the exact posterior of a Gaussian or a mixture; takes minutes a"
            " problem."
        ),
    ] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier restoration in --out.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Restore images from what was measured of them: samples, their mean and deviation, scores.

    Measurements are simulated from clean images, with scores against these; or they are given
    (--measured). The same command continues an interrupted run.
    """
    from diffdescent.lab.restore import Work, draw_all, rows, write_table

    from .progress import Meter

    asked: dict[str, Any] = {
        "operators": None if operator is None else _parts(operator, ";"),
        "methods": None if method is None else _parts(method, ";"),
        "noise": None if noise is None else _numbers(noise, "--noise", float),
        "nfe": None if nfe is None else _numbers(nfe, "--nfe", int),
        "n": n,
        "count": count,
        "sampler": sampler,
        "grid": grid,
        "guidance": guidance,
        "label": labels,
        "seed": seed,
        "micro_batch": micro_batch,
        "device": device,
        "threads": threads,
    }
    config = _config(model, {key: value for key, value in asked.items() if value is not None})
    work = Work(config, images, out, measured, overwrite, tuple(sys.argv[1:]))
    cells, hidden = len(list(config.cells())), quiet or as_json
    with Meter("restoring", "images", total=cells * len(work.given), hidden=hidden) as meter:
        work.run(lambda cell, done: meter.advance(done))
    found = []
    with Meter("scoring", "rows", total=cells, hidden=hidden) as meter:
        for row in rows(work, exact=exact):
            found.append(row)
            meter.advance(1)
    write_table(work, found)
    if pictures:
        draw_all(work)
    if as_json:
        typer.echo(json.dumps({"out": str(out), "rows": [_entry(row) for row in found]}))
    elif not quiet:
        _print(work, found)


def _config(model: str, asked: dict[str, Any]) -> Any:
    from diffdescent.base.errors import UserError
    from diffdescent.lab.restore import RestoreConfig, read_config

    if Path(model).suffix in (".yaml", ".yml"):
        return read_config(Path(model), asked)
    if "operators" not in asked:
        raise UserError('Say what was measured with --operator, for example "blur(sigma=2)".')
    return RestoreConfig(model=model, **{"methods": ("diffpir",), **asked})


def _parts(text: str, separator: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(separator) if part.strip())


def _numbers(text: str, option: str, kind: type) -> tuple[Any, ...]:
    from diffdescent.base.errors import UserError

    try:
        return tuple(kind(part) for part in _parts(text, ","))
    except ValueError:
        raise UserError(f"{option} takes numbers with commas between them, not {text!r}.") from None


def _entry(row: Row) -> dict[str, Any]:
    from .results import finite

    scores = {
        name: [finite(value) for value in (score.value, score.low, score.high)]
        for name, score in row.scores.items()
    }
    cell = row.cell
    head = {"operator": cell.operator, "noise": cell.noise, "nfe": cell.nfe, "method": cell.method}
    return {**head, "seconds": row.seconds, **scores}


def _print(work: Work, found: list[Row]) -> None:
    from diffdescent.base.words import counted

    shown = [name for name in _SCORES if any(name in row.scores for row in found)]
    problems = dict.fromkeys((r.cell.operator, r.cell.noise, r.cell.nfe) for r in found)
    console = plain_console()
    for operator, noise, nfe in problems:
        table = Table(box=box.SIMPLE_HEAD, title=f"{operator}, noise {noise:g}, {nfe} evaluations")
        table.add_column("method", overflow="fold")
        for head in (*(_SCORES[name] for name in shown), "s a sample"):
            table.add_column(head, justify="right")
        for row in found:
            cell = row.cell
            if (cell.operator, cell.noise, cell.nfe) != (operator, noise, nfe):
                continue
            scores = (row.scores.get(name) for name in shown)
            numbers = ["" if s is None else f"{s.value:.4g}" for s in scores]
            table.add_row(cell.method, *numbers, f"{row.seconds:.2f}")
        console.print(table)
    count = f"{counted(len(work.given), 'image')}, {counted(work.config.n, 'sample')} of each"
    typer.echo(f"{count}; wrote {work.out}/table.csv, with intervals, run.json and the samples.")
