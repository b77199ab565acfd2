"""``diffdescent gamma``: Γ of Analytic-DPM, measured on a model and kept in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import AnyModel, Device, MicroBatch, OverwriteFile, Quiet


def gamma(
    model: AnyModel,
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    images: Annotated[
        Path | None,
        typer.Option(help="Images (folder, zip or npz); default: samples of the model itself."),
    ] = None,
    n: Annotated[int, typer.Option(help="Images that are used.")] = 256,
    times: Annotated[int, typer.Option(help="Times at which Γ is measured.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the samples and their noise.")] = 0,
    micro_batch: MicroBatch = None,
    device: Device = "cpu",
    overwrite: OverwriteFile = False,
    quiet: Quiet = False,
) -> None:
    """Measure how much of the noise a model recognises at each level, Γ(t) = E‖ε‖²/d.

    Analytic-DPM needs it: sample with --sampler "analytic(gamma='FILE')".
    """
    import math

    from diffdescent.base.files import write_atomically
    from diffdescent.base.image_sets import read_images
    from diffdescent.base.images import from_uint8
    from diffdescent.run.gamma import measure_gamma

    from .progress import Meter
    from .results import check_new

    check_new(out, overwrite)
    given = None if images is None else read_images(images)
    with Meter("measuring Γ", "evaluations", hidden=quiet) as meter:
        found = measure_gamma(
            model,
            None if given is None else from_uint8(given.images[:n]),
            labels=None if given is None or given.labels is None else given.labels[:n],
            n=n,
            times=times,
            seed=seed,
            micro_batch=micro_batch,
            device=device,
            progress=meter.to,
        )
    used = n if given is None else min(n, len(given))
    source = f"{used} {'samples of the model' if images is None else f'images of {images.name}'}"
    write_atomically(out, found.to_json(f"{source}, seed {seed}").encode())
    if not quiet:
        shown = ", ".join(
            f"{found(t):.3g} at t = {t:.4g}" for t in found.t[:: math.ceil(len(found.t) / 4)]
        )
        typer.echo(f"Γ is {shown}.")
        typer.echo(f"Wrote {out}; sample with --sampler \"analytic(gamma='{out}')\".")
