"""``diffdescent peculiarity poses``: how sure and how usual human poses are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from diffdescent.base.errors import UserError
from diffdescent.base.reading import read_text

from ..terminal import console as plain_console
from .options import Clusters

if TYPE_CHECKING:
    from diffdescent.lab.peculiarity.poses import Poses


def poses(
    path: Annotated[
        Path,
        typer.Argument(
            help="OpenPose JSON folder or zip (BODY_25), COCO keypoint JSON or npz; images with"
            " --detector and --vitpose."
        ),
    ],
    clusters: Clusters = None,
    detector: Annotated[
        Path | None,
        typer.Option(help="Folder of a transformers object detector that knows persons."),
    ] = None,
    vitpose: Annotated[
        Path | None, typer.Option(help="Folder of a transformers ViTPose with COCO's 17 joints.")
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(
            help="Text file: the images, one a line, whose prompt asked for a group, as the paper"
            " has it; default: those in which several persons were found."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Mean joint confidence, and distance of each pose to the nearest of K clusters.

    Single persons and groups are also shown apart.
    """
    import numpy as np

    from diffdescent.lab.peculiarity.clusters import distances, load_clusters
    from diffdescent.lab.peculiarity.poses import joint_confidence, singles

    centres = load_clusters(clusters)
    people = _found(path, detector, vitpose)
    asked = None if groups is None else {line for line in map(str.strip, _lines(groups)) if line}
    confidence = joint_confidence(people, asked)
    if not len(people):
        raise UserError(
            f"No person was found in the {len(people.images)} images of {path}, so nothing can be"
            " measured."
        )
    alone = singles(people, asked)
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
    by = "persons found" if asked is None else "prompts"
    if as_json:
        typer.echo(
            json.dumps({"groups": by, "confidence": vars(confidence), "distances": rows}, indent=2)
        )
        return
    console = plain_console()
    console.print(
        f"{confidence.persons} persons in {confidence.images} images; {confidence.empty} images"
        f" without one; single and group by the {by}"
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


def _lines(path: Path) -> list[str]:
    return read_text(path).splitlines()


def _found(path: Path, detector: Path | None, vitpose: Path | None) -> Poses:
    """The poses of a file, or those that ViTPose finds in images, each image on its own."""
    from diffdescent.base.image_sets import read_images
    from diffdescent.lab.peculiarity.poses import estimate
    from diffdescent.lab.peculiarity.readers import read_poses

    if (detector is None) != (vitpose is None):
        raise UserError("Poses of images need both: --detector FOLDER and --vitpose FOLDER.")
    if detector is None or vitpose is None:
        return read_poses(path)
    from diffdescent.lab.peculiarity.vitpose import VitPose

    estimator, given = VitPose(detector, vitpose), read_images(path)
    return estimate(estimator, given.images, [Path(name).stem for name in given.names])
