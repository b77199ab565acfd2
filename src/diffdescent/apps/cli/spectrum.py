"""``diffdescent spectrum``: the power of images over the spatial frequency, kept in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import AnyModel, Device, MicroBatch, OverwriteFile, Quiet


def spectrum(
    model: AnyModel,
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    images: Annotated[
        Path | None,
        typer.Option(help="Images (folder, zip or npz); default: samples of the model itself."),
    ] = None,
    n: Annotated[int, typer.Option(help="Images that are used.")] = 64,
    axes: Annotated[str, typer.Option(help="Channel axes: usual, opponent or identity.")] = "usual",
    seed: Annotated[int, typer.Option(help="Of the samples.")] = 0,
    micro_batch: MicroBatch = None,
    device: Device = "cpu",
    overwrite: OverwriteFile = False,
    quiet: Quiet = False,
) -> None:
    """Measure the power spectrum of a model's images, or of other images.

    The sampler "gaussian(spectrum='FILE')" is exact for Gaussian images of that spectrum.
    """
    from diffdescent.base.files import write_atomically
    from diffdescent.base.image_sets import read_images
    from diffdescent.base.images import from_uint8
    from diffdescent.core.spectrum.power import measure_spectrum
    from diffdescent.run.spectrum import own_images

    from .results import check_new

    check_new(out, overwrite, ending=".json")
    if images is None:
        found = own_images(model, n, seed, micro_batch=micro_batch, device=device)
    else:
        found = from_uint8(read_images(images).images[:n])
    source = f"samples of {model}, seed {seed}" if images is None else images.name
    measured = measure_spectrum(found, axes, source=source)
    write_atomically(out, measured.to_json().encode())
    if not quiet:
        for name, curve in zip(measured.axes.group_names, measured.power, strict=True):
            typer.echo(
                f"{name}: S falls from {curve[0]:.3g} at the mean to {curve[-1]:.3g} at ρ = 1."
            )
        typer.echo(f"Wrote {out}; sample with --sampler \"gaussian(spectrum='{out}')\".")
