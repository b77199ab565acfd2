"""``diffdescent peculiarity clusters``: clusters of human poses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import OverwriteFile, Quiet
from ..progress import Meter

LEAST = 8
"""A person with fewer joints has no pose to speak of."""


def clusters(
    poses: Annotated[
        Path, typer.Argument(help="COCO keypoint JSON or npz, or OpenPose JSON files.")
    ],
    out: Annotated[Path, typer.Option(help="The .npz to write.")] = Path("clusters.npz"),
    k: Annotated[
        list[int] | None, typer.Option("--k", help="Number of clusters; may be repeated.")
    ] = None,
    least: Annotated[int, typer.Option(help="Leave out persons with fewer joints.")] = LEAST,
    seed: Annotated[int, typer.Option(help="Seed of the first centres.")] = 0,
    overwrite: OverwriteFile = False,
    quiet: Quiet = False,
) -> None:
    """Find clusters of human poses, from which `poses` measures distances.

    By K-means of min–max normalised poses.
    """
    from diffdescent.base.files import make_folder
    from diffdescent.lab.peculiarity.clusters import KS, fit_clusters, save_clusters
    from diffdescent.lab.peculiarity.readers import read_poses

    from ..results import check_new

    check_new(out, overwrite, ending=".npz")
    ks = k or list(KS)
    people = read_poses(poses)
    make_folder(out.parent)
    with Meter("clustering", total=sum(ks), hidden=quiet) as bar:
        found = fit_clusters(people, ks, seed=seed, least=least, progress=bar.advance)
    save_clusters(found, out)
    typer.echo(
        f"{', '.join(map(str, ks))} clusters of {found.persons} persons (of {len(people)}): {out}"
    )
