"""``diffdescent peculiarity``: figures with known limbs, their counter, the study; human poses."""

from __future__ import annotations

from typing import ClassVar

import typer

from ..lazy import MARKUP, Entry, LazyGroup


class Peculiarity(LazyGroup):
    """The commands of ``diffdescent peculiarity``."""

    table: ClassVar[dict[str, Entry]] = {
        "figures": Entry("peculiarity.figures:figures", "Draw figures with known limbs."),
        "count": Entry(
            "peculiarity.count:count", "Count heads, arms, legs and fingers of figures."
        ),
        "clusters": Entry("peculiarity.clusters:clusters", "Find clusters of human poses."),
        "poses": Entry(
            "peculiarity.poses:poses", "Joint confidence, and distance of poses to their clusters."
        ),
        "perturb": Entry(
            "peculiarity.perturb:perturb", "Make real poses wrong: does the distance notice?"
        ),
        "study": Entry(
            "peculiarity.study:study", "Share of peculiar figures against sampler, steps and β."
        ),
        "check": Entry("peculiarity.check:check", "Check the counter on figures of known counts."),
        "minima": Entry("peculiarity.minima:minima", "Are peculiar images local minima?"),
    }


app = typer.Typer(
    cls=Peculiarity,
    no_args_is_help=True,
    rich_markup_mode=MARKUP,
    help="Sharp and wrong: people and figures with limbs that are not theirs.",
)
