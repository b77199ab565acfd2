"""``diffdescent peculiarity perturb``: does the distance to the clusters notice wrong poses?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from diffdescent.base.csv_text import csv_text

from ..options import OverwriteFolder
from ..terminal import console as plain_console
from .options import Clusters

if TYPE_CHECKING:
    from diffdescent.lab.peculiarity.perturb import Effect


def perturb(
    path: Annotated[Path, typer.Argument(help="Poses, as for `poses`.")],
    clusters: Clusters = None,
    seed: Annotated[int, typer.Option(help="Seed of the changes.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for effects.csv and effects.png.")
    ] = None,
    overwrite: OverwriteFolder = False,
) -> None:
    """Make real poses wrong on purpose: does the distance to the nearest cluster notice?"""
    from diffdescent.base.hashes import arrays_hash
    from diffdescent.lab.peculiarity.clusters import load_clusters
    from diffdescent.lab.peculiarity.perturb import effects
    from diffdescent.lab.peculiarity.pictures import draw_effects
    from diffdescent.lab.peculiarity.readers import read_poses

    from ..results import place

    names = ("effects.csv", "effects.png")
    where = None if out is None else place(out, "perturbation of poses", names, overwrite)
    people, known = read_poses(path), load_clusters(clusters)
    settings = {
        "poses": arrays_hash(people.joints, people.confidence, people.image),
        "clusters": arrays_hash(*(known.centres[k] for k in sorted(known.centres))),
        "seed": seed,
    }
    kept = None if where is None else where.of(settings)
    found = effects(people, known, seed=seed)
    table = Table("change", "K", "n", "rises, %", "p (sign)", "caught, %", "RMSE", show_edge=False)
    for e in found:
        table.add_row(
            e.change,
            str(e.k),
            str(e.rises.total),
            f"{100 * e.rises.value:.1f}",
            f"{e.p:.0e}" if e.p else "<1e-300",
            f"{100 * e.caught.value:.1f}{' (blind)' if e.blind else ''}",
            f"{e.before:.3f}→{e.after:.3f}",
        )
    plain_console().print(table)
    if kept is not None:
        kept.write("effects.csv", _text(found))
        draw_effects(found, kept.file("effects.png"))
        folder = kept.store.folder
        typer.echo(f"Table: {folder / 'effects.csv'}\nPicture: {folder / 'effects.png'}")


def _text(found: Sequence[Effect]) -> str:
    names = "change k n rises low high p caught caught_low caught_high before after"
    table: list[Sequence[object]] = [names.split()]
    for e in found:
        shares = (
            e.rises.value,
            e.rises.low,
            e.rises.high,
            e.p,
            e.caught.value,
            e.caught.low,
            e.caught.high,
        )
        table.append(
            (e.change, e.k, e.rises.total, *(f"{s:.4g}" for s in (*shares, e.before, e.after)))
        )
    return csv_text(table)
