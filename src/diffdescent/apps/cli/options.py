"""Options that several commands have, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def labels_option(default: str) -> Any:
    """``--labels``, or ``--label``, which says the same; ``default`` is what is taken without
    it."""
    return typer.Option(
        "--labels",
        "--label",
        help="Class names or numbers, which go round over the samples; cycle for all, or none;"
        f" default: {default}.",
    )


Steps = Annotated[int, typer.Option(help="Steps of the grid.")]
UsualGrid = Annotated[str | None, typer.Option(help="A grid; default: the recipe's usual one.")]
AnyModel = Annotated[
    str,
    typer.Argument(
        help="A bundled name, a diffusers checkpoint folder, images:PATH, or a model of your own"
        " by the name that its file (--import) registers."
    ),
]
OneLabel = Annotated[
    str | None,
    typer.Option("--labels", "--label", help="Class name or number, or none: one for all."),
]
MicroBatch = Annotated[int | None, typer.Option(help="Samples that the network sees at once.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps.")]
Prompt = Annotated[
    str | None, typer.Option(help="Of a text-to-image pipeline folder: what it draws.")
]
NegativePrompt = Annotated[str | None, typer.Option(help="What --prompt shall not draw.")]
GuidanceScale = Annotated[
    float | None, typer.Option(help="How strongly the prompt guides; default: the pipeline's own.")
]
Width = Annotated[int | None, typer.Option(help="Width of the image of a prompt, in pixels.")]
Height = Annotated[int | None, typer.Option(help="Its height.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
OverwriteFile = Annotated[bool, typer.Option("--overwrite", help="Replace the file.")]
OverwriteFolder = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace the results in the folder; what was computed for them is kept."
    ),
]
Reference = Annotated[
    Path | None,
    typer.Option(
        help="What to compare with: images (folder, zip or npz) or saved statistics (npz)."
    ),
]
Features = Annotated[
    str,
    typer.Option(help="What looks at the images: cifar10-features, or inception:FILE."),
]
Resize = Annotated[str, typer.Option(help="How images are resized: clean or legacy.")]
Resamples = Annotated[
    int, typer.Option(help="Random halves behind each interval; 0: no intervals.")
]
