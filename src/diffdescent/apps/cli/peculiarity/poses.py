"""``diffdescent peculiarity poses``: how sure and how usual human poses are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from diffdescent.base.errors import UserError

from ..terminal import console as plain_console
from .options import Clusters


def poses(
    path: Annotated[
        Path,
        typer.Argument(help="OpenPose JSON folder or zip (BODY_25), COCO keypoint JSON or npz."),
    ],
    clusters: Clusters = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Mean joint confidence, and distance of each pose to the nearest of K clusters.

    Single persons and groups are also shown apart.
    """
    import numpy as np

    from diffdescent.lab.peculiarity.clusters import distances, load_clusters
    from diffdescent.lab.peculiarity.poses import joint_confidence
    from diffdescent.lab.peculiarity.readers import read_poses

    people, centres = read_poses(path), load_clusters(clusters)
    confidence = joint_confidence(people)
    if not len(people):
        raise UserError(
            f"No person was found in the {len(people.images)} images of {path}, so nothing can be"
            " measured."
        )
    alone = people.persons[people.image] == 1
    rows = []
    for k in sorted(centres.centres):
        found = distances(people, centres, k)
        single = alone[found.measured]
        for name, some in (("single", single), ("group", ~single), ("all", np.ones_like(single))):
            if some.any():
                norm, rmse = float(found.norm[some].mean()), float(found.rmse[some].mean())
                rows.append(
                    {"persons": name, "k": k, "n": int(some.sum()), "norm": norm, "rmse": rmse}
                )
    if as_json:
        typer.echo(json.dumps({"confidence": vars(confidence), "distances": rows}, indent=2))
        return
    console = plain_console()
    console.print(
        f"{confidence.persons} persons in {confidence.images} images; {confidence.empty} images"
        " without one"
    )
    for name in ("mean", "single", "group"):
        value = getattr(confidence, name)
        console.print(
            f"mean joint confidence, {name}: {'no such image' if value is None else f'{value:.4f}'}"
        )
    table = Table("persons", "K", "n", "‖norm(J) − Ψ‖", "RMSE", show_edge=False)
    for row in rows:
        table.add_row(
            str(row["persons"]),
            str(row["k"]),
            str(row["n"]),
            f"{row['norm']:.4f}",
            f"{row['rmse']:.4f}",
        )
    console.print(table)
    console.print(
        f"Persons with fewer than {centres.least} joints of {centres.layout} are left out of the"
        " distances."
    )
