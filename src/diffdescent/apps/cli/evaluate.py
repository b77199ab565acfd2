"""``diffdescent evaluate``: how good are these images? Distances to a reference, with intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from diffdescent.base.errors import UserError

from .options import Features, Json, OverwriteFile, Quiet, Reference, Resamples, Resize


def evaluate(
    images: Annotated[
        Path, typer.Argument(help="A folder, zip or npz of images, from anywhere.", metavar="DIR")
    ],
    reference: Reference = None,
    features: Features = "cifar10-features",
    metrics: Annotated[
        str | None,
        typer.Option(
            help="A list of fd, sfd, is, agreement, precision, recall, kid; default: all that are"
            " possible."
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(help="Score only n images, chosen at random, to compare at equal numbers."),
    ] = None,
    resize: Resize = "clean",
    device: Annotated[str, typer.Option(help="Where the network runs: cpu, cuda, mps.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Seed of the intervals and of --n.")] = 0,
    resamples: Resamples = 200,
    save_statistics: Annotated[
        Path | None,
        typer.Option(
            help="Also save the mean and covariance of DIR to this .npz, to be a --reference."
        ),
    ] = None,
    overwrite: OverwriteFile = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Score images against a reference.

    Fréchet distances, Inception Score, precision, recall and kernel distance, each with a 95 %
    interval and the protocol that it depends on.
    """
    from diffdescent.base.image_sets import stream_images
    from diffdescent.evaluate import (
        METRICS,
        load_extractor,
        metric_name,
        read_reference,
        score,
        summarise,
        write_statistics,
    )
    from diffdescent.evaluate.half_sampling import check_resamples
    from diffdescent.evaluate.saved_statistics import statistics_path

    from .results import check_new
    from .scoring import Bars, print_scores, some_of

    if reference is None and metrics is None and save_statistics is None:
        raise UserError(
            "There is nothing to compare with; give --reference (or --metrics is, which needs"
            " none)."
        )
    check_resamples(resamples)
    names = None if metrics is None else [metric_name(name) for name in metrics.split(",")]
    for name in names or ():
        if reference is None and METRICS[name].against is not None:
            raise UserError(
                f"{METRICS[name].title} compares with other images; give them as --reference."
            )
    if save_statistics is not None:
        statistics_path(save_statistics)
        check_new(save_statistics, overwrite, "--save-statistics")
    extractor = load_extractor(features, resize=resize, device=device)
    with Bars(hidden=quiet or as_json) as bars:
        against = None
        if reference is not None:
            singly = names is None or any(METRICS[name].against == "pool" for name in names)
            watched = bars.watch(extractor, "reference")
            against = read_reference(reference, watched, keep=singly, progress=watched.size)
        watched = bars.watch(extractor, "images")
        scored = reference is not None or names is not None
        looked_at = {METRICS[name].needs for name in names or METRICS}
        # Fréchet distances without intervals need no single image: memory then depends on the
        # features alone.
        keep = n is not None or (scored and (resamples > 0 or bool(looked_at & {"pool", "probs"})))
        found = summarise(
            stream_images(images, progress=watched.size), watched, name=str(images), keep=keep
        )
        if n is not None:
            found = some_of(found, n, seed)
        if save_statistics is not None:
            write_statistics(save_statistics, found)
        scores = (
            score(found, against, names, seed=seed, resamples=resamples, progress=bars.metric)
            if scored
            else []
        )
    if as_json:
        records = [{**s.to_json(), "notes": [str(note) for note in s.notes]} for s in scores]
        typer.echo(json.dumps({"images": str(images), "scores": records}, indent=2))
    elif scores:
        print_scores(scores, images, reference, extractor)
    if save_statistics is not None:
        typer.echo(f"Wrote {save_statistics}: the statistics of {found.count} images.", err=True)
