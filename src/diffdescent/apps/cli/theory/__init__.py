"""``diffdescent theory``: distances, the error model, admissible schedules and their pictures."""

from __future__ import annotations

from typing import ClassVar

import typer

from ..lazy import MARKUP, Entry, LazyGroup


class Theory(LazyGroup):
    """The commands of ``diffdescent theory``."""

    table: ClassVar[dict[str, Entry]] = {
        "set": Entry("theory.set:describe", "Reach and intrinsic dimension of a data set."),
        "distance": Entry("theory.distance:distance", "Distance of each image to a data set."),
        "error": Entry(
            "theory.error:error", "Measure the relative error model along a sampler's trajectories."
        ),
        "ideal": Entry(
            "theory.ideal:ideal",
            "Compare the exact denoiser of a data set with projection onto it.",
        ),
        "schedule": Entry(
            "theory.schedule:schedule", "Which noise schedules are (η, ν)-admissible."
        ),
        "constrained": Entry(
            "theory.constrained:constrained",
            "How fast constrained sampling reaches what data and constraint share.",
        ),
        "lowrank": Entry(
            "theory.lowrank:lowrank", "Errors and gains against d/n, on Gaussians of low rank."
        ),
    }


app = typer.Typer(
    cls=Theory,
    no_args_is_help=True,
    rich_markup_mode=MARKUP,
    help="Denoising as projection: distances, the error model, schedules.",
)
