"""``diffdescent peculiarity figures``: figures with known limbs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import OverwriteFile, Quiet
from ..progress import Meter


def figures(
    n: Annotated[int, typer.Option(help="How many figures.")] = 50_000,
    out: Annotated[Path, typer.Option(help="The .npz to write.")] = Path("figures.npz"),
    seed: Annotated[int, typer.Option(help="Seed; figure i of a seed is always the same.")] = 0,
    overwrite: OverwriteFile = False,
    quiet: Quiet = False,
) -> None:
    """Draw figures with known limbs: an npz that `diffdescent train` reads."""
    from diffdescent.base.files import make_folder
    from diffdescent.lab.peculiarity.figures import write_figures

    from ..results import check_new

    check_new(out, overwrite, ending=".npz")
    make_folder(out.parent)
    with Meter("drawing figures", total=n, hidden=quiet) as bar:
        write_figures(out, n, seed, bar.to)
    typer.echo(f"{n} figures of seed {seed}: {out}")
