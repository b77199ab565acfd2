"""``diffdescent theory set``: reach and intrinsic dimension of a data set."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from diffdescent.base.errors import UserError

from ..options import Json, OverwriteFolder
from ..progress import Meter
from .options import Device, Limit, Memory, Out, Seed


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
    overwrite: OverwriteFolder = False,
    as_json: Json = False,
) -> None:
    """Reach and intrinsic dimension of a data set, and how well projection undoes noise.

    The latter says how far projection takes noised images from where they came.
    """
    import numpy as np

    from diffdescent.lab.theory.image_data import read_set
    from diffdescent.lab.theory.intrinsic import levina_bickel, manifold_reach, two_nn
    from diffdescent.lab.theory.neighbours import ROWS, neighbour_distances
    from diffdescent.lab.theory.noised import noised_projection
    from diffdescent.lab.theory.pictures import draw_noised
    from diffdescent.lab.theory.sets.points import Points
    from diffdescent.run.pieces import Pieces

    from ..results import finite, place

    if min(neighbours, sample, tangents) < 1:
        raise UserError("--neighbours, --sample and --tangents must be at least 1.")
    where = place(out, "measurement of a set", ("set.json", "projection.png"), overwrite)
    points = Points(read_set(data, limit=limit, memory=memory, rows=ROWS, device=device))
    if len(points) < 4:
        raise UserError(
            f"{data} holds {len(points)} images, too few for a dimension; at least 4 are needed."
        )
    k, sample = min(max(neighbours, 2), len(points) - 2), min(sample, len(points))
    settings = {
        "data": str(data),
        "content": points.fingerprint(),
        "neighbours": k,
        "sample": sample,
        "tangents": tangents,
        "seed": seed,
        "device": device,
    }
    kept = where.of(settings)
    total = math.ceil(sample / ROWS) + min(tangents, sample)
    with Meter("measuring", "pieces", total=total, hidden=as_json) as bar:
        pieces = Pieces(kept.pieces, {"set": points.fingerprint()}, bar.to)
        near = neighbour_distances(points, k, sample=sample, seed=seed, pieces=pieces)
        if not len(near.distance):
            raise UserError(
                f"Every image of {data} has an exact copy in it; remove the duplicates."
            )
        dimension = levina_bickel(near)
        if not math.isfinite(dimension):
            raise UserError(
                f"The neighbours of every image of {data} are equally far, so the set has no"
                " measurable dimension."
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
        "dimension_two_nn": finite(two_nn(near)),
        "dimension_levina_bickel": dimension,
        "k": k,
        "least_distance": least,
        "reach_of_the_images": least / 2,
        "reach_of_the_manifold": finite(manifold),
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
    kept.write("set.json", found)
    draw_noised(
        noised, kept.file("projection.png"), f"Projecting noised images of {data.name} back"
    )
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
