"""``diffdescent peculiarity …``: figures with known limbs, their counter, the study; and human
poses."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from diffdescent.base.errors import UserError
from diffdescent.base.files import make_folder, write_atomically
from diffdescent.lab.peculiarity import points as measured
from diffdescent.lab.peculiarity import study as studies
from diffdescent.lab.peculiarity.check import (
    OTHER_COUNTS,
    Memory,
    Reading,
    check_counter,
    check_memory,
    check_others,
    check_strength,
    count_pieces,
)
from diffdescent.lab.peculiarity.check import STRENGTHS as STRENGTHS_CHECKED
from diffdescent.lab.peculiarity.clusters import (
    KS,
    LEAST,
    distances,
    fit_clusters,
    load_clusters,
    save_clusters,
)
from diffdescent.lab.peculiarity.comparison import REFERENCES, Row, table, write_table
from diffdescent.lab.peculiarity.counter import count_limbs
from diffdescent.lab.peculiarity.figures import write_figures
from diffdescent.lab.peculiarity.minima import BLOCK, minima
from diffdescent.lab.peculiarity.minima_table import compare, write_lines
from diffdescent.lab.peculiarity.perturb import Effect, effects
from diffdescent.lab.peculiarity.poses import joint_confidence
from diffdescent.lab.peculiarity.readers import read_poses
from diffdescent.lab.peculiarity.statistics import wilson
from diffdescent.lab.peculiarity.verdict import verdict
from diffdescent.run.pieces import Pieces

app = typer.Typer(
    help="Sharp and wrong: people and figures with limbs that are not theirs.", no_args_is_help=True
)

_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
_Clusters = Annotated[
    Path | None,
    typer.Option(
        "--clusters", help="Clusters from `peculiarity clusters`; default: those of COCO 2017."
    ),
]


def _bar(quiet: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), disable=quiet)


def _console() -> Console:
    """As wide as the terminal; in a file or a pipe wide enough for the tables here."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


@app.command()
def figures(
    n: Annotated[int, typer.Option(help="How many figures.")] = 50_000,
    out: Annotated[Path, typer.Option(help="The .npz to write.")] = Path("figures.npz"),
    seed: Annotated[int, typer.Option(help="Seed; figure i of a seed is always the same.")] = 0,
    quiet: _Quiet = False,
) -> None:
    """Draw figures with known limbs: an npz that `diffdescent train` reads."""
    make_folder(out.parent)
    with _bar(quiet) as bar:
        task = bar.add_task("drawing figures", total=n)
        write_figures(out, n, seed, lambda done: bar.update(task, completed=done))
    typer.echo(f"{n} figures of seed {seed}: {out}")


@app.command()
def count(
    images: Annotated[
        Path, typer.Argument(help="Folder, zip or npz of grey 32×32 images, white on black.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every image's counts as JSON.")
    ] = False,
) -> None:
    """Count heads, arms, legs and fingers of figures: normal, peculiar or unreadable."""
    from diffdescent.base.image_sets import read_images

    found = read_images(images)
    readings = count_limbs(found.images)
    if as_json:
        rows = zip(
            found.names,
            readings.counts.tolist(),
            readings.species,
            readings.unreadable,
            strict=True,
        )
        keys = ("image", "counts", "species", "unreadable")
        typer.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=1))
        return
    table = Table("read as", "images", "share [95 %]", show_edge=False)
    for name, number in readings.tally().items():
        table.add_row(name, str(number), str(wilson(number, len(readings))))
    _console().print(table)


@app.command()
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
    quiet: _Quiet = False,
) -> None:
    """Pose clusters (K-means of min–max normalised poses), from which the distances of `poses` are
    measured."""
    ks = k or list(KS)
    people = read_poses(poses)
    make_folder(out.parent)
    with _bar(quiet) as bar:
        task = bar.add_task("clustering", total=sum(ks))
        found = fit_clusters(
            people, ks, seed=seed, least=least, progress=lambda done: bar.advance(task, done)
        )
    save_clusters(found, out)
    typer.echo(
        f"{', '.join(map(str, ks))} clusters of {found.persons} persons (of {len(people)}): {out}"
    )


@app.command()
def poses(
    path: Annotated[
        Path,
        typer.Argument(help="OpenPose JSON folder or zip (BODY_25), COCO keypoint JSON or npz."),
    ],
    clusters: _Clusters = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Mean joint confidence, and distance of each pose to the nearest of K clusters; single persons
    and groups."""
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
    console = _console()
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


@app.command()
def perturb(
    path: Annotated[Path, typer.Argument(help="Poses, as for `poses`.")],
    clusters: _Clusters = None,
    seed: Annotated[int, typer.Option(help="Seed of the changes.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for effects.csv and effects.png.")
    ] = None,
) -> None:
    """Make real poses wrong on purpose: does the distance to the nearest cluster notice?"""
    found = effects(read_poses(path), load_clusters(clusters), seed=seed)
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
    _console().print(table)
    if out is not None:
        from diffdescent.lab.peculiarity.pictures import draw_effects

        _write_effects(found, out / "effects.csv")
        draw_effects(found, out / "effects.png")
        typer.echo(f"Table: {out / 'effects.csv'}\nPicture: {out / 'effects.png'}")


def _write_effects(found: Sequence[Effect], path: Path) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(
        (
            "change",
            "k",
            "n",
            "rises",
            "low",
            "high",
            "p",
            "caught",
            "caught_low",
            "caught_high",
            "before",
            "after",
        )
    )
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
        writer.writerow(
            (e.change, e.k, e.rises.total, *(f"{s:.4g}" for s in (*shares, e.before, e.after)))
        )
    make_folder(path.parent)
    write_atomically(path, text.getvalue().encode())


@app.command()
def study(
    model: Annotated[
        str, typer.Argument(help="A model of figures: figures, or a folder of your own.")
    ] = "figures",
    out: Annotated[
        Path, typer.Option(help="The study's folder; an interrupted study is continued.")
    ] = Path("study"),
    n: Annotated[int, typer.Option(help="Figures of each point, a multiple of --block.")] = 500,
    block: Annotated[int, typer.Option(help="Figures a file.")] = 100,
    steps: Annotated[str, typer.Option(help="Step counts.")] = ",".join(map(str, measured.STEPS)),
    teacher: Annotated[int, typer.Option(help="Steps of the two teachers.")] = measured.TEACHER,
    sampler: Annotated[
        list[str] | None,
        typer.Option(help="Only these recipes, and the teachers; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise that all points start from.")] = 0,
    bf16: Annotated[bool, typer.Option("--bf16", help="Evaluate the network in bfloat16.")] = False,
    unconditional: Annotated[
        bool, typer.Option("--unconditional", help="Ask for no species.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps.")] = "cpu",
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Table and picture of what is there.")
    ] = False,
    quiet: _Quiet = False,
) -> None:
    """Share of peculiar figures against sampler, steps, β, γ and grid, next to a teacher of 1000
    steps.

    Every point starts from the same noise and is compared figure by figure. Writes study.csv,
    study.md (the verdict), study.png and differences.png. About 5,000 evaluations a figure: 500
    take 95 minutes of a core with --bf16. A study that was stopped goes on where it was, and a
    larger --n adds to it.
    """
    from diffdescent.lab.peculiarity.pictures import draw_differences, draw_study
    from diffdescent.models import load_model

    points = _points(steps, teacher, sampler)
    if not report_only:
        net = load_model(model, device)
        with _bar(quiet) as bar:
            task = bar.add_task("starting", total=None)

            def show(done: int, total: int, point: measured.Point) -> None:
                bar.update(
                    task,
                    description=f"{point.recipe}, {point.steps} steps",
                    completed=done,
                    total=total,
                )

            studies.run_study(
                net,
                points,
                n,
                out,
                seed=seed,
                block=block,
                bf16=bf16,
                unconditional=unconditional,
                progress=show,
            )
    found = studies.outcomes(out)
    rows, written = (
        table(found, teacher),
        {kind: out / f"study.{kind}" for kind in ("csv", "md", "png")},
    )
    answer = verdict(rows, teacher)
    write_table(rows, written["csv"])
    write_atomically(written["md"], f"{answer}\n".encode())
    draw_study(rows, written["png"], teacher)
    draw_differences(rows, out / "differences.png")
    _print_rows(rows)
    typer.echo(f"\n{answer}\n\nTable: {written['csv']}\nVerdict: {written['md']}")
    typer.echo(f"Pictures: {written['png']}, {out / 'differences.png'}")


def _points(steps: str, teacher: int, only: list[str] | None) -> list[measured.Point]:
    try:
        counts = [int(part) for part in steps.split(",")]
    except ValueError:
        raise UserError(
            f"--steps {steps!r} is no list of step counts; write for example 10,20,50."
        ) from None
    if min(counts) < 1 or teacher < 1:
        raise UserError("Step counts and --teacher must be at least 1.")
    points = measured.default_points(counts, teacher)
    if only:
        points = points[:2] + [measured.Point(recipe, count) for recipe in only for count in counts]
    return points


def _print_rows(rows: Sequence[Row]) -> None:
    names = [f"p, {name}" for name in ("DDIM", "ancestral", "base")]
    shown = Table(
        "recipe",
        "grid",
        "steps",
        "n",
        "peculiar",
        "abnormal",
        "other species",
        *names,
        show_edge=False,
    )
    for row in rows:
        tests = [
            f"{row.against[ref].peculiar.p:.2g}" if ref in row.against else "" for ref in REFERENCES
        ]
        shown.add_row(
            row.point.recipe,
            row.point.grid.partition("(")[0],
            str(row.point.steps),
            str(row.n),
            str(row.peculiar),
            *(f"{100 * share.value:.1f} %" for share in (row.abnormal, row.other)),
            *tests,
        )
    _console().print(shown)


@app.command()
def check(
    model: Annotated[str, typer.Argument(help="A model of figures.")] = "figures",
    n: Annotated[int, typer.Option(help="Held-out figures a strength, and samples.")] = 400,
    strength: Annotated[
        list[float] | None,
        typer.Option(
            help=(
                "Noise held-out figures to this share of the process; 0 reads them as they are."
                " Repeatable."
            )
        ),
    ] = None,
    others: Annotated[
        int, typer.Option(help="Also read so many figures of each of ten kinds of other counts.")
    ] = 0,
    data: Annotated[
        Path | None, typer.Option(help="The training set, to look for copies of it.")
    ] = None,
    steps: Annotated[
        int, typer.Option(help="DDIM steps of the samples that are compared with --data.")
    ] = 50,
    out: Annotated[
        Path,
        typer.Option(help="Folder that keeps what is made; an interrupted check is continued."),
    ] = Path("check"),
    bf16: Annotated[bool, typer.Option("--bf16", help="Evaluate the network in bfloat16.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps.")] = "cpu",
    quiet: _Quiet = False,
) -> None:
    """How the counter reads figures of known counts, also noised and denoised; with --data, whether
    samples are copies.

    With 400 figures and none read wrongly, at least 99 % are read right (95 %). Writes check.csv.
    With strength 0 alone and without --data no network is needed. A strength costs about 20
    evaluations a figure, --data --steps.
    """
    from diffdescent.models import load_model

    strengths = list(dict.fromkeys(strength or STRENGTHS_CHECKED))
    for each in strengths:
        check_strength(each)
    net = load_model(model, device) if data is not None or any(strengths) else None
    training = _training(data)
    if others < 0:
        raise UserError(
            f"--others is {others}; give the number of figures of each kind, or 0 for none."
        )
    kinds = list(OTHER_COUNTS) if others else []
    total = count_pieces(n) * (len(strengths) + (training is not None))
    total += len(kinds) * count_pieces(others) if kinds else 0
    with _bar(quiet) as bar:
        task = bar.add_task("checking", total=total)
        pieces = Pieces(out, progress=lambda done: bar.update(task, completed=done))
        readings = [check_counter(net, s, n, pieces=pieces, bf16=bf16) for s in strengths]
        readings += [check_others(kind, others, pieces=pieces) for kind in kinds]
        memory = None
        if net is not None and training is not None:
            memory = check_memory(net, training, n, steps=steps, pieces=pieces, bf16=bf16)
    _print_check(readings, memory)
    _write_check(readings, out / "check.csv")
    typer.echo(f"Table: {out / 'check.csv'}")


def _training(data: Path | None) -> npt.NDArray[np.uint8] | None:
    from diffdescent.base.image_sets import read_images

    if data is None:
        return None
    pages = read_images(data).images
    if pages.shape[1] != 1:
        raise UserError(f"{data} holds colour images; figures are grey.")
    return pages[:, 0].numpy()


def _print_check(readings: Sequence[Reading], memory: Memory | None) -> None:
    console = _console()
    shown = Table(
        "figures", "n", "read wrongly", "right, at least", "peculiar", "unreadable", show_edge=False
    )
    for r in readings:
        least = f"{100 * (1 - r.wrong.high):.1f} %"
        shown.add_row(
            r.name, str(r.wrong.total), str(r.wrong), least, str(r.peculiar), str(r.unreadable)
        )
    console.print(shown)
    if memory is not None:
        shown = Table("nearest training image, RMS", "1 %", "10 %", "50 %", "90 %", show_edge=False)
        for name, values in (("held-out figures", memory.held_out), ("samples", memory.samples)):
            shown.add_row(name, *(f"{v:.3f}" for v in values))
        console.print("", shown)
        console.print(
            f"Samples nearer than 99 % of held-out figures: {memory.near}; above 1 % would mean"
            " copies."
        )


def _write_check(readings: Sequence[Reading], path: Path) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("figures", "n", *(f"{what}{x}" for what in ("wrong", "peculiar", "unreadable")
                                       for x in ("", "_low", "_high"))))  # fmt: skip
    for r in readings:
        shares = [
            f"{x:.4g}"
            for s in (r.wrong, r.peculiar, r.unreadable)
            for x in (s.value, s.low, s.high)
        ]
        writer.writerow((r.name, r.wrong.total, *shares))
    write_atomically(path, text.getvalue().encode())


@app.command(name="minima")
def minima_command(
    model: Annotated[str, typer.Argument(help="The study's model.")] = "figures",
    study: Annotated[
        Path, typer.Option(help="The study's folder; its images are measured.")
    ] = Path("study"),
    sampler: Annotated[
        str, typer.Option(help="The recipe whose outputs are measured, each sample once.")
    ] = measured.BASE,
    steps: Annotated[int, typer.Option(help="Its steps.")] = 50,
    most: Annotated[int, typer.Option(help="At most so many images of each kind.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the noise of the returns.")] = 0,
    data: Annotated[
        Path | None, typer.Option(help="The training set, to measure the distance to it.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps.")] = "cpu",
    quiet: _Quiet = False,
) -> None:
    """Are peculiar images local minima? Peculiar against normal outputs of one sampler, with 95 %
    intervals.

    How nearly a fixed point of the denoiser an image is, whether it comes back after noise, and how
    far it moved. Writes minima.csv and minima.png into the study's folder; 85 evaluations an image;
    an interrupted run is continued.
    """
    from diffdescent.lab.peculiarity.pictures import draw_minima
    from diffdescent.models import load_model

    point = measured.Point(sampler, steps)
    outcome = next((o for o in studies.outcomes(study) if o.point == point), None)
    if outcome is None:
        raise UserError(
            f"{study} has no outputs of {sampler} with {steps} steps; name a point of its"
            " study.csv."
        )
    studies.same_model(study, net := load_model(model, device))
    training = _training(data)
    rng = np.random.default_rng(seed)
    kinds = {"peculiar": outcome.peculiar, "normal": outcome.normal}
    places = {kind: rng.permutation(np.nonzero(which)[0])[:most] for kind, which in kinds.items()}
    with _bar(quiet) as bar:
        task = bar.add_task(
            "measuring", total=sum(-(-len(place) // BLOCK) for place in places.values())
        )
        pieces = Pieces(study / "minima", progress=lambda done: bar.update(task, completed=done))
        odd, good = (
            minima(
                net,
                outcome.images[place],
                kind,
                outcome.labels[place],
                seed=seed,
                training=training,
                pieces=pieces,
            )
            for kind, place in places.items()
        )
    lines = compare(odd, good)
    shown = Table(
        "figure", "at", f"peculiar ({odd.n})", f"normal ({good.n})", "difference", show_edge=False
    )
    for line in lines:
        shown.add_row(
            line.figure, line.at, str(line.peculiar), str(line.normal), str(line.difference)
        )
    _console().print(shown)
    write_lines(lines, study / "minima.csv")
    draw_minima(odd, good, study / "minima.png")
    typer.echo(f"Table: {study / 'minima.csv'}\nPicture: {study / 'minima.png'}")
