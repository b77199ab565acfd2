"""The levels of a run, laid out as diffusers' scheduler of the solver's class does.

Every diffusers scheduler reads the same fields in its own way (how many levels are laid out, where
the last step ends, whether times are rounded): :mod:`.namesakes`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from diffdescent.base.errors import UserError
from diffdescent.core.grid import Grid, explicit_ratios, make_grid
from diffdescent.core.process import VE, VP, Array, Flow, Process
from diffdescent.core.recipe import Recipe, parse_grid

from .config import Config, flow_shift, is_flow, own_grid, process_of, respaced
from .namesakes import Namesake, ends_at_zero, namesake, repeats_end
from .quirks import capped, trained_ratios


def lay_out(
    config: Config,
    recipe: Recipe,
    steps: int | None,
    mu: float | None = None,
    sigmas: Sequence[float] | None = None,
    timesteps: Sequence[float] | None = None,
) -> Grid:
    """The levels of a run.

    ``sigmas``: σ̃ with the end, strictly falling (VP), or the times of a flow without it, which are
    shifted like its own. ``timesteps``: the network's time at each level, and the levels
    themselves unless ``sigmas`` say otherwise. Raises :class:`UserError` for levels that do not
    fall, lie beyond the training steps, or are too many.
    """
    given = sigmas if sigmas is not None else timesteps
    if given is None and steps is None:
        raise UserError(
            "set_timesteps needs num_inference_steps, or sigmas= or timesteps= with the levels"
            " themselves."
        )
    if given is not None and (
        len(given) < 1 or not np.all(np.diff(np.asarray(given, dtype=np.float64)) < 0)
    ):
        raise UserError(
            "The given sigmas or timesteps must be at least one level, in strictly falling order."
        )
    if is_flow(config):
        return _flow_levels(config, recipe, steps, mu, sigmas, timesteps)
    if sigmas is not None and timesteps is not None:
        raise UserError(
            "Give sigmas or timesteps, not both: a VP network's times follow from its levels."
        )
    text = own_grid(config, recipe)
    process = process_of(config)
    assert isinstance(process, VP)
    if given is None and text is not None and steps is not None:
        return parse_grid(text, process, steps)
    return _vp_levels(config, recipe, process, steps, sigmas, timesteps)


def _vp_levels(
    config: Config,
    recipe: Recipe,
    process: VP,
    steps: int | None,
    sigmas: Sequence[float] | None,
    timesteps: Sequence[float] | None,
) -> Grid:
    like, total = namesake(config, recipe), len(process.betas)
    table = trained_ratios(config, like, process)
    if sigmas is not None:
        if len(sigmas) < 2:
            raise UserError(
                "sigmas are noise-to-signal ratios σ/α with the end, such as [14.6, 1.9, 0.15, 0]."
            )
        ratios = np.asarray(sigmas[:-1], dtype=np.float64)
        return _grid(process, ratios, _told(config, like, table, ratios), float(sigmas[-1]))
    if timesteps is not None:
        times = np.asarray(timesteps, dtype=np.float64)
        if times[0] > total - 1 or times[-1] < 0:
            raise UserError(
                f"The timesteps {times[0]:g} … {times[-1]:g} leave the {total} training steps; they"
                f" run from {total - 1} down to 0."
            )
    else:
        assert steps is not None
        spacing = config["timestep_spacing"] or like.spacing
        layout = {"spacing": spacing, "open": like.open and spacing != "trailing", "end": 0.0}
        offset = config["steps_offset"] if spacing == "leading" else 0
        times = make_grid(
            "uniform",
            process,
            steps,
            offset=offset,
            snap=not (like.ratios and spacing == "linspace"),
            **layout,
        ).t[:-1]
    between = like.ratios or capped(config, like)
    levels = np.interp(times, np.arange(total), table) if between else process.ratio(times)
    if timesteps is None and steps is not None and respaced(config):
        ratios = _respace(config, levels if like.ratios else table[::-1], steps)
        return _grid(process, ratios, _told(config, like, table, ratios), _end(config, like, table))
    return _grid(process, levels, times, _end(config, like, table))


def _flow_levels(
    config: Config,
    recipe: Recipe,
    steps: int | None,
    mu: float | None,
    sigmas: Sequence[float] | None,
    timesteps: Sequence[float] | None,
) -> Grid:
    total, like, text = (
        config["num_train_timesteps"],
        namesake(config, recipe),
        own_grid(config, recipe),
    )
    shift = flow_shift(config, mu)
    process = Flow(shift=shift)
    if sigmas is None and timesteps is None and text is not None and steps is not None:
        return parse_grid(text, process, steps)
    own = bool(config.get("use_flow_sigmas"))
    if sigmas is not None:
        times = np.asarray(sigmas, dtype=np.float64)
        if timesteps is not None and len(timesteps) != len(times):
            raise UserError(
                f"{len(sigmas)} sigmas and {len(timesteps)} timesteps were given; they must be as"
                " many."
            )
    elif timesteps is not None:
        times = np.asarray(timesteps, dtype=np.float64) / total
    elif own:
        assert steps is not None
        high, low = (1.0, 1 / total) if recipe.solver.name == "unipc" else (1 - 1 / total, 0.0)
        times = np.linspace(high, low, steps + 1)[:-1]
    else:
        assert steps is not None
        # The lowest level is shifted twice: once where the scheduler is made, and again with all
        # others.
        lowest = 1 / total if config["use_dynamic_shifting"] else float(process.shifted(1 / total))
        times = np.linspace(1.0, lowest, steps)
    if times[0] > 1 or times[-1] < 0:
        raise UserError(
            f"A flow's levels lie between 0 and 1 (its timesteps, up to {total}), not at"
            f" {times[0]:g}."
        )
    if sigmas is not None or timesteps is None:
        times = process.shifted(times)
        if config["shift_terminal"]:
            times = 1 - (1 - times) * (1 - config["shift_terminal"]) / (1 - times[-1])
        if respaced(config):
            times = _respace(config, times, len(times))
        if own and recipe.solver.name == "unipc":
            times[0] = min(times[0], 1 - 1e-6)  # its first λ must be finite
    told = times if timesteps is None else np.asarray(timesteps, dtype=np.float64) / total
    if own and like.open:
        told = np.trunc(told * total + 1e-6) / total
    last = repeats_end(config, like)
    with np.errstate(divide="ignore"):
        ratios = np.asarray(times / (1 - times))
    return _grid(process, ratios, told, float(ratios[-1]) if last else 0.0)


def _respace(config: Config, levels: Array, steps: int) -> Array:
    """``steps`` levels over the range of ``levels``, by Karras's ramp, evenly in the log, or at
    beta quantiles."""
    low = config["sigma_min"] if config["sigma_min"] is not None else float(levels[-1])
    high = config["sigma_max"] if config["sigma_max"] is not None else float(levels[0])
    if not 0 < low < high < math.inf:
        raise UserError(
            f"Karras, exponential and beta levels need 0 < sigma_min < sigma_max < ∞, not {low:g},"
            f" {high:g}."
        )
    span = VE(low, high)
    if steps == 1:
        return np.array([high])
    if config["use_beta_sigmas"]:
        return make_grid("beta", span, steps - 1, end=low).ratio
    return make_grid("karras" if config["use_karras_sigmas"] else "exponential", span, steps).ratio[
        :-1
    ]


def _told(config: Config, like: Namesake, table: Array, ratios: Array) -> Array:
    """The trained index at each σ̃, linear in log σ̃ between indices, rounded as the multistep
    schedulers do."""
    with np.errstate(divide="ignore"):
        told = np.interp(np.log(ratios), np.log(table), np.arange(len(table)))
    if not like.open:
        return told
    return (
        np.round(told)
        if config["use_karras_sigmas"] or config.get("use_lu_lambdas")
        else np.trunc(told + 1e-6)
    )


def _end(config: Config, like: Namesake, table: Array) -> float:
    """The σ̃ at which the last step ends."""
    return 0.0 if ends_at_zero(config, like) else float(table[0])


def _grid(process: Process, ratios: Array, told: Array, end: float) -> Grid:
    """Levels at given σ̃ and the times there; one that repeats or reaches the end is left
    out."""
    keep = np.concatenate(([True], np.diff(ratios) < 0)) & (ratios > end)
    if not keep.any():
        raise UserError(
            f"No level lies above the end σ/α = {end:.4g}; take a level more, or"
            " final_sigmas_type='zero'."
        )
    grid = explicit_ratios(process, np.append(ratios[keep], end))
    missing = int((~keep).sum())
    notes = (f"{missing} level(s) that repeat or lie at the end left out",) if missing else ()
    return replace(grid, t=np.append(told[keep], grid.t[-1]), name="config", notes=notes)


def initial_scale(config: Config, recipe: Recipe, grid: Grid | None) -> float:
    """What pipelines multiply unit noise by. diffusers' σ̃-schedulers start from σ̃·noise, which is
    σ·noise in VP coordinates, except on leading grids; all others from unit noise."""
    like = namesake(config, recipe)
    spacing = config["timestep_spacing"] or like.spacing
    if (
        not like.ratios
        or is_flow(config)
        or own_grid(config, recipe) is not None
        or spacing == "leading"
    ):
        return 1.0
    if grid is not None:
        return float(grid.sigma[0])
    process = process_of(config)
    return process.point(process.t_max).sigma
