"""The commands of ``diffdescent``, and where each one lives."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import typer
from typer.main import get_command

from diffdescent.base.extensions import IMPORTED, extend
from diffdescent.base.leniency import LENIENCY
from diffdescent.base.version import __version__
from diffdescent.base.words import counted

from .lazy import MARKUP, Entry, LazyGroup


class Commands(LazyGroup):
    """What ``diffdescent`` can do."""

    table: ClassVar[dict[str, Entry]] = {
        "sample": Entry("sampling:sample", "Sample images from a model."),
        "restore": Entry("restore:restore", "Restore images from what was measured of them."),
        "weights": Entry("weights:weights", "Print the effective weights of a sampler."),
        "grid": Entry("grid:grid", "Print and plot noise grids side by side."),
        "explain": Entry("explain:explain", "Read a sampler as an optimizer."),
        "landscape": Entry(
            "landscape:landscape", "Draw a sampler's path among its noisy surroundings."
        ),
        "studio": Entry("studio:studio", "See samplers work, in the browser."),
        "list": Entry(
            "list_names:list_names",
            "List samplers, transforms, grids, guidance and bundled models.",
        ),
        "demo": Entry("demo:demo", "Sample from the bundled network and compare eight samplers."),
        "train": Entry("train:train", "Train a denoiser or a classifier, or continue training."),
        "convert": Entry("convert:convert", "Turn a published checkpoint into a model folder."),
        "condition": Entry(
            "condition:condition", "Give a converted network its small images or texts."
        ),
        "calibrate": Entry("calibrate:calibrate", "Fit a sampler of few evaluations to a model."),
        "spectrum": Entry("spectrum:spectrum", "Measure the power spectrum of a model's images."),
        "gamma": Entry("gamma:gamma", "Measure the Γ of Analytic-DPM on a model."),
        "conflicts": Entry(
            "conflicts:conflicts", "Measure where guidance, denoising and noise conflict."
        ),
        "evaluate": Entry("evaluate:evaluate", "Score images against a reference."),
        "compare": Entry("compare:compare", "Compare samplers at equal cost."),
        "study": Entry("study:study", "Run a study from a YAML file, or continue it."),
        "peculiarity": Entry(
            "peculiarity:app", "Count figures and people with limbs that are not theirs."
        ),
        "theory": Entry("theory:app", "Measure distances, the error model and noise schedules."),
    }


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"diffdescent {__version__}")
        raise typer.Exit


def _options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    imports: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            metavar="MODULE",
            help="Import a module or FILE.py of your own first; may be repeated.",
        ),
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Leave out images that cannot be decoded, and count them."),
    ] = False,
) -> None:
    """Diffusion sampling as optimization: compose, run and read any sampler of the family."""
    LENIENCY.begin(skip_bad)
    context.call_on_close(_name_left_out)
    IMPORTED.clear()  # of an earlier command in this process
    for name in imports or ():
        extend(name)


def _name_left_out() -> None:
    """Say which images ``--skip-bad`` left out."""
    if found := LENIENCY.left_out:
        which = ", ".join(found[:3]) + (", …" if len(found) > 3 else "")
        typer.echo(f"Left out {counted(len(found), 'image')}: {which}", err=True)
        found.clear()


def program() -> Any:
    """The command line, ready to be called."""
    app = typer.Typer(
        name="diffdescent",
        cls=Commands,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=MARKUP,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    return get_command(app)
