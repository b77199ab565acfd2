"""``--preset``: the settings of a published row, for what the command line leaves open."""

from __future__ import annotations

from dataclasses import dataclass

import typer

from diffdescent.base.errors import UserError
from diffdescent.core.model_info import info
from diffdescent.core.predict import Predictor
from diffdescent.run.presets import preset


@dataclass(frozen=True)
class Settings:
    """What a preset may fill."""

    sampler: str | None
    grid: str | None
    steps: int
    guidance: str | None
    labels: str | None


def named(ctx: typer.Context, option: str) -> bool:
    """Whether an option was given, and is not its default."""
    # The enum is Click's or Typer's own copy of it, so its name is compared.
    source = ctx.get_parameter_source(option)
    return source is not None and source.name != "DEFAULT"


def filled(
    given: Settings, steps_named: bool, name: str, classifier: str | None, model: Predictor
) -> Settings:
    """``given`` with the preset's values where an option was left out; of the steps, which have a
    default, ``steps_named`` says whether they were given.

    Raises :class:`UserError` for a preset that is not there, a step count that is not published,
    and a guide that is needed or has no use.
    """
    chosen = preset(name)
    if classifier is not None and chosen.classifier is None:
        raise UserError(f"The preset {name!r} has no classifier; leave --classifier out.")
    known = info(model)
    classes = len(known.classes) if known.classes else known.label_count
    values = chosen.arguments(given.steps if steps_named else None, classifier, classes)
    return Settings(
        sampler=given.sampler or values["recipe"],
        grid=given.grid or values["grid"],
        steps=values["steps"],
        guidance=given.guidance or values.get("guidance"),
        labels=given.labels or values.get("labels"),
    )
