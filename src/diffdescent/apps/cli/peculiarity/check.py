"""``diffdescent peculiarity check``: how well the counter reads, and whether samples are copies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from diffdescent.base.csv_text import csv_text
from diffdescent.base.errors import UserError

from ..options import Device, OverwriteFolder, Quiet
from ..progress import Meter
from ..terminal import console as plain_console
from .options import Bf16, TrainingSet

if TYPE_CHECKING:
    from diffdescent.lab.peculiarity.check import Memory, Reading


def check(
    model: Annotated[str, typer.Argument(help="A model of figures.")] = "figures",
    n: Annotated[int, typer.Option(help="Held-out figures a strength, and samples.")] = 400,
    strength: Annotated[
        list[float] | None,
        typer.Option(
            help=(
                "Noise held-out figures to this share of the process; 0 reads them as they are."
                " Repeatable."
            )
        ),
    ] = None,
    others: Annotated[
        int, typer.Option(help="Also read this many figures of each of ten kinds of other counts.")
    ] = 0,
    data: TrainingSet = None,
    steps: Annotated[
        int, typer.Option(help="DDIM steps of the samples that are compared with --data.")
    ] = 50,
    out: Annotated[
        Path,
        typer.Option(help="Folder that keeps what is made; an interrupted check is continued."),
    ] = Path("check"),
    overwrite: OverwriteFolder = False,
    bf16: Bf16 = False,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Check the counter on figures of known counts, also noised and denoised.

    With --data it also says whether samples are copies of the training set.

    With 400 figures and none read wrongly, at least 99 % are read right (95 %). Writes check.csv.
    With strength 0 alone and without --data no network is needed. A strength costs about 20
    evaluations a figure, --data --steps.
    """
    from diffdescent.lab.peculiarity.check import (
        OTHER_COUNTS,
        STRENGTHS,
        check_counter,
        check_memory,
        check_others,
        check_strength,
        count_pieces,
    )
    from diffdescent.models import load_model
    from diffdescent.run.pieces import Pieces, model_identity

    from ..results import place
    from .training_set import content, read_training_set

    where = place(out, "check of the counter", ("check.csv",), overwrite, below="")
    strengths = list(dict.fromkeys(strength or STRENGTHS))
    for each in strengths:
        check_strength(each)
    net = load_model(model, device) if data is not None or any(strengths) else None
    training = read_training_set(data)
    if others < 0:
        raise UserError(
            f"--others is {others}; give the number of figures of each kind, or 0 for none."
        )
    kinds = list(OTHER_COUNTS) if others else []
    settings = {
        "model": None if net is None else model,
        "fingerprint": None if net is None else model_identity(net),
        "n": n,
        "strengths": strengths,
        "others": others,
        "data": content(training),
        "steps": None if training is None else steps,
        "bf16": bf16,
        "device": device,
    }
    kept = where.of(settings)
    total = count_pieces(n) * (len(strengths) + (training is not None))
    total += len(kinds) * count_pieces(others) if kinds else 0
    with Meter("checking", total=total, hidden=quiet) as bar:
        pieces = Pieces(kept.pieces, progress=bar.to)
        readings = [check_counter(net, s, n, pieces=pieces, bf16=bf16) for s in strengths]
        readings += [check_others(kind, others, pieces=pieces) for kind in kinds]
        memory = None
        if net is not None and training is not None:
            memory = check_memory(net, training, n, steps=steps, pieces=pieces, bf16=bf16)
    _print(readings, memory)
    kept.write("check.csv", _text(readings))
    typer.echo(f"Table: {out / 'check.csv'}")


def _print(readings: Sequence[Reading], memory: Memory | None) -> None:
    console = plain_console()
    shown = Table(
        "figures", "n", "read wrongly", "right, at least", "peculiar", "unreadable", show_edge=False
    )
    for r in readings:
        least = f"{100 * (1 - r.wrong.high):.1f} %"
        shown.add_row(
            r.name, str(r.wrong.total), str(r.wrong), least, str(r.peculiar), str(r.unreadable)
        )
    console.print(shown)
    if memory is not None:
        shown = Table("nearest training image, RMS", "1 %", "10 %", "50 %", "90 %", show_edge=False)
        for name, values in (("held-out figures", memory.held_out), ("samples", memory.samples)):
            shown.add_row(name, *(f"{v:.3f}" for v in values))
        console.print("", shown)
        console.print(
            f"Samples nearer than 99 % of held-out figures: {memory.near}; above 1 % would mean"
            " copies."
        )


def _text(readings: Sequence[Reading]) -> str:
    kinds = ("wrong", "peculiar", "unreadable")
    names = (f"{what}{x}" for what in kinds for x in ("", "_low", "_high"))
    table: list[Sequence[object]] = [("figures", "n", *names)]
    for r in readings:
        shares = [
            f"{x:.4g}"
            for s in (r.wrong, r.peculiar, r.unreadable)
            for x in (s.value, s.low, s.high)
        ]
        table.append((r.name, r.wrong.total, *shares))
    return csv_text(table)
