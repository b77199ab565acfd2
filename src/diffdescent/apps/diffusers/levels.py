"""What the config of a diffusers scheduler means here: the process, what the network predicts, the
levels, the recipe.

Every diffusers scheduler reads the same fields in its own way (how many levels are laid out, where
the last step ends, whether times are rounded). A field that is None means what diffusers' scheduler
of the solver's name means by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.grid import Grid, explicit_ratios, make_grid
from diffdescent.core.plan import Plan, basis_at, transfer
from diffdescent.core.predict import Kind
from diffdescent.core.process import VE, VP, Array, Flow, Point, Process
from diffdescent.core.recipe import Recipe, parse, parse_grid
from diffdescent.core.solvers.adams import PLMS
from diffdescent.core.solvers.ddim import DDIM, DDPM
from diffdescent.core.transforms import DynamicThreshold, Threshold
from diffdescent.models.checkpoints import process_from_config

Config = Mapping[str, Any]

KINDS: dict[str, Kind] = {
    "epsilon": "eps",
    "sample": "x0",
    "original_sample": "x0",
    "v_prediction": "v",
    "flow_prediction": "flow",
}


VARIANCES: dict[str, Literal["small", "large", "learned"]] = {
    "fixed_small": "small",
    "fixed_small_log": "small",
    "fixed_large": "large",
    "learned_range": "learned",
}


@dataclass(frozen=True)
class Namesake:
    """How diffusers' scheduler of a solver's name reads what its config leaves open.

    ``open``: N + 1 levels are laid out and the lowest is left out. ``end``: "zero" (σ = 0), "first"
    (the lowest trained level) or what ``set_alpha_to_one`` says, with the default "alpha" (zero) or
    "no alpha" (first). ``ratios``: it lives in σ̃ = σ/α: linspace times are not rounded, σ̃ between
    trained levels is linear, and pipelines start it from σ̃·noise. ``clips``: it clips x0 where
    ``clip_sample`` says so, by default.
    """

    spacing: Literal["leading", "trailing", "linspace"] = "leading"
    open: bool = False
    end: Literal["zero", "first", "alpha", "no alpha"] = "alpha"
    ratios: bool = False
    clips: bool = False


NAMESAKES: dict[str, Namesake] = {
    "ddim": Namesake(clips=True),
    "ddpm": Namesake(end="zero", clips=True),
    "plms": Namesake(end="no alpha"),
    "pndm": Namesake(end="no alpha"),
    "euler": Namesake("linspace", end="zero", ratios=True),
    "heun": Namesake("linspace", end="zero", ratios=True),
    "lms": Namesake("linspace", end="zero", ratios=True),
    "dpm": Namesake("linspace", open=True, end="zero"),
    "dpmpp": Namesake("linspace", open=True, end="zero"),
    "unipc": Namesake("linspace", open=True, end="zero"),
    "deis": Namesake("linspace", open=True, end="first"),
}

SOURCES = frozenset(
    f"{name}Scheduler"
    for name in (
        *("DDIM", "DDIMParallel", "DDPM", "DDPMParallel", "PNDM", "LMSDiscrete", "EulerDiscrete"),
        *(
            "EulerAncestralDiscrete",
            "HeunDiscrete",
            "KDPM2Discrete",
            "KDPM2AncestralDiscrete",
            "SASolver",
        ),
        *(
            "DPMSolverMultistep",
            "DPMSolverSinglestep",
            "DPMSolverSDE",
            "DEISMultistep",
            "UniPCMultistep",
        ),
        *("FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete"),
        *("DDIMInverse", "DPMSolverMultistepInverse", "RePaint"),
    )
)
"""The diffusers schedulers whose configs describe a VP or flow process and a plain denoiser."""

_MARKS = {
    "sigma_data": "EDMEulerScheduler or one like it",
    "scale_factors": "FlowMatchLCMScheduler",
    "stages": "HeliosScheduler",
    "n_grid": "PiflowScheduler",
}
"""Fields that only the schedulers of a class have which cannot be expressed."""

_CANNOT: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("invert_sigmas", bool, "its network takes a time that runs backwards"),
    (
        "stochastic_sampling",
        bool,
        "a step that draws all noise anew is a sampler of its own, not a recipe's",
    ),
    ("per_token_timesteps", bool, "every token would have a noise level of its own"),
    (
        "snr_shift_scale",
        lambda v: v not in (None, 1, 1.0),
        "its trained levels are shifted in a way of its own",
    ),
    (
        "interpolation_type",
        lambda v: v not in (None, "linear"),
        "only interpolation_type='linear' has a level a step",
    ),
    (
        "original_inference_steps",
        bool,
        "a consistency model jumps to the data, which a sampler's step does not",
    ),
    (
        "time_shift_type",
        lambda v: v not in (None, "exponential", "linear"),
        "it must be 'exponential' or 'linear'",
    ),
)


def source_of(config: Config) -> str:
    """The class that wrote a config; recognised by its fields where it does not say (a
    scheduler made in this process)."""
    if "_class_name" in config:
        return str(config["_class_name"])
    for field, source in _MARKS.items():
        if field in config:
            return source
    if "beta_schedule" in config:
        return "DDIMScheduler"
    if "trained_betas" in config:
        return "IPNDMScheduler"
    flow = "shift" in config and "num_train_timesteps" in config
    return "FlowMatchEulerDiscreteScheduler" if flow else "a scheduler of unknown class"


def refuse(config: Config, source: str | None = None) -> None:
    """Refuse the config of a scheduler of class ``source`` where it cannot be expressed.

    Raises :class:`UserError` that names the class or the field and says why.
    """
    if source is not None and source not in SOURCES:
        why = (
            "it preconditions the network itself; wrap the network with dd.EDM and use dd.sample"
            if source.startswith("EDM")
            else (
                "its levels and its network are not those of a denoiser that other samplers"
                " could use"
            )
        )
        raise UserError(f"The config of {source} cannot be expressed: {why}.")
    for field, wrong, why in _CANNOT:
        if wrong(config.get(field)):
            raise UserError(
                f"The scheduler's {field}={config[field]!r} cannot be expressed: {why}."
            )


def check(config: Config) -> None:
    """Refuse what cannot be expressed or read in a scheduler's own config (:class:`UserError`)."""
    refuse(config)
    if not isinstance(config["recipe"], str):
        raise UserError(f"recipe must be a text such as 'ge', not {config['recipe']!r}.")
    if not isinstance(config["noise_seed"], (int, type(None))):
        raise UserError(f"noise_seed must be a whole number or None, not {config['noise_seed']!r}.")
    if config["prediction_type"] not in KINDS:
        raise unknown("prediction_type", str(config["prediction_type"]), KINDS)
    if (
        sum(bool(config.get(f"use_{name}_sigmas")) for name in ("karras", "exponential", "beta"))
        > 1
    ):
        raise UserError(
            "Only one of use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas can be true."
        )
    if config["timestep_spacing"] not in (None, "leading", "trailing", "linspace"):
        raise unknown(
            "timestep_spacing", str(config["timestep_spacing"]), ("leading", "trailing", "linspace")
        )
    if config["final_sigmas_type"] not in (None, "zero", "sigma_min"):
        raise unknown("final_sigmas_type", str(config["final_sigmas_type"]), ("zero", "sigma_min"))
    if config.get("use_flow_sigmas") and _respaced(config):
        raise UserError(
            "use_flow_sigmas with Karras, exponential or beta sigmas is not expressed; give a grid="
            " text."
        )
    recipe, process = full_recipe(config), process_of(config, 1.0)
    if (
        math.isfinite(config.get("lambda_min_clipped") or -math.inf)
        and namesake(config, recipe).open
    ):
        raise UserError(
            f"The scheduler's lambda_min_clipped={config['lambda_min_clipped']} cannot be"
            " expressed: it cuts the noisiest levels off; set it to -inf and say where to start"
            " with grid='karras(start=…)'."
        )
    if config["grid"] is not None:
        parse_grid(config["grid"], process, min(10, config["num_train_timesteps"]))


def is_flow(config: Config) -> bool:
    """Whether the network was trained by flow matching."""
    return bool(config["prediction_type"] == "flow_prediction" or config.get("use_flow_sigmas"))


def namesake(config: Config, recipe: Recipe) -> Namesake:
    """How diffusers' scheduler of the recipe's solver lays out its levels; that of DDIM where there
    is none."""
    return NAMESAKES.get(recipe.solver.name, Namesake())


def kind_of(config: Config) -> Kind:
    """What the network's raw output means."""
    return KINDS[config["prediction_type"]]


def process_of(config: Config, shift: float | None = None) -> Process:
    """The process that the network was trained on; ``shift`` is that of a flow's grid."""
    if is_flow(config):
        return Flow(shift=flow_shift(config, None) if shift is None else shift)
    return process_from_config({**config, "_class_name": "", "prediction_type": ""})


def flow_shift(config: Config, mu: float | None) -> float:
    """The shift s of a flow's times, s t/(1 + (s − 1) t): fixed, or e^µ (µ where the shift is
    "linear").

    Raises :class:`UserError` where the config asks for µ and there is none.
    """
    if not config["use_dynamic_shifting"]:
        fixed = config["flow_shift"] if config.get("use_flow_sigmas") else config["shift"]
        return float(fixed if fixed is not None else config["shift"] or config["flow_shift"] or 1.0)
    if mu is None:
        raise UserError(
            "This config has use_dynamic_shifting=True, so set_timesteps needs mu=, the shift."
        )
    return math.exp(mu) if config["time_shift_type"] == "exponential" else float(mu)


def full_recipe(config: Config) -> Recipe:
    """The recipe with what the config adds to it; its text gives the same images outside diffusers.

    * ``lower_order_final=diffusers`` is ``never`` where the step at which the order falls is one of
      no length, which a grid leaves out;
    * ``ddpm`` takes its variance from ``variance_type``;
    * chains on ``ddim`` and ``ddpm`` clip x0 as ``clip_sample`` says (by default, without a
      transform), and all but σ̃-solvers as ``thresholding`` says, unless the recipe has a threshold
      of its own.
    """
    recipe = parse(config["recipe"])
    solver: Any = recipe.solver
    like = namesake(config, recipe)
    falls = getattr(solver, "lower_order_final", None) == "diffusers"
    if falls and _repeats_end(config, like):
        solver = replace(solver, lower_order_final="never")
    elif solver == DDPM() and config["variance_type"]:
        if config["variance_type"] not in VARIANCES:
            raise unknown("variance_type", config["variance_type"], VARIANCES)
        solver = DDPM(VARIANCES[config["variance_type"]])
    recipe = replace(recipe, solver=solver)
    if any(isinstance(t, (Threshold, DynamicThreshold)) for t in recipe.transforms):
        return recipe
    eps: Literal["keep", "recompute"] = "keep" if isinstance(solver, DDIM) else "recompute"
    if config["thresholding"] and not like.ratios:
        return recipe | _dynamic(config, eps)
    clips = config["clip_sample"]
    if like.clips and (not recipe.transforms if clips is None else clips) and not is_flow(config):
        return recipe | Threshold(float(config["clip_sample_range"]), eps)
    return recipe


def _dynamic(config: Config, eps: Literal["keep", "recompute"]) -> Threshold | DynamicThreshold:
    highest = config["sample_max_value"]
    if highest == 1:
        return Threshold(1.0, eps)
    return DynamicThreshold(
        float(config["dynamic_thresholding_ratio"]), eps, maximum=float(highest)
    )


def own_grid(config: Config, recipe: Recipe) -> str | None:
    """The text of a grid of ours, where one is asked for or the recipe's name asks for it (a
    scheduler's name does not: its grid is what the config says)."""
    text: str | None = config["grid"]
    return text if text is not None else recipe.grid


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
    table = process.ratio(np.arange(total))
    # With zero terminal SNR diffusers' σ̃-schedulers take ᾱ = 2⁻²⁴ for the last level, where DDIM
    # takes 0.
    capped = bool(config["rescale_betas_zero_snr"] and (like.ratios or like.open))
    if capped:
        table[-1] = math.sqrt(2.0**24 - 1)
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
    levels = (
        np.interp(times, np.arange(total), table) if like.ratios or capped else process.ratio(times)
    )
    if timesteps is None and steps is not None and _respaced(config):
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
        if _respaced(config):
            times = _respace(config, times, len(times))
        if own and recipe.solver.name == "unipc":
            times[0] = min(times[0], 1 - 1e-6)  # its first λ must be finite
    told = times if timesteps is None else np.asarray(timesteps, dtype=np.float64) / total
    if own and like.open:
        told = np.trunc(told * total + 1e-6) / total
    last = _repeats_end(config, like)
    with np.errstate(divide="ignore"):
        ratios = np.asarray(times / (1 - times))
    return _grid(process, ratios, told, float(ratios[-1]) if last else 0.0)


def _repeats_end(config: Config, like: Namesake) -> bool:
    """Whether diffusers' last step has no length: its lowest level is the end."""
    if is_flow(config):
        ends = config["final_sigmas_type"] == "sigma_min" or like.end == "first"
        return bool(config.get("use_flow_sigmas")) and ends
    return _respaced(config) and not _ends_at_zero(config, like)


def _respaced(config: Config) -> bool:
    return any(
        bool(config.get(f"use_{name}_sigmas")) for name in ("karras", "exponential", "beta", "lu")
    )


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


def told_at(config: Config, at: Point) -> float:
    """What the network takes as time at a level: a trained index, a flow's time on the scale of the
    training steps, or ¼ log σ̃ (Stable Video Diffusion's ``timestep_type="continuous"``)."""
    if is_flow(config):
        return at.t * float(config["num_train_timesteps"])
    if config.get("timestep_type") == "continuous" and config["prediction_type"] == "v_prediction":
        return 0.25 * math.log(at.ratio)
    return at.t


def _ends_at_zero(config: Config, like: Namesake) -> bool:
    """Whether the last step ends at σ = 0, else at the lowest trained level."""
    said, alpha = config["final_sigmas_type"], config["set_alpha_to_one"]
    if said is not None:
        return bool(said == "zero")
    if like.end in ("zero", "first"):
        return like.end == "zero"
    return like.end == "alpha" if alpha is None else bool(alpha)


def _end(config: Config, like: Namesake, table: Array) -> float:
    """The σ̃ at which the last step ends."""
    return 0.0 if _ends_at_zero(config, like) else float(table[0])


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


def stride(config: Config, recipe: Recipe, grid: Grid, steps: int) -> int | None:
    """⌊T/N⌋ where diffusers' scheduler steps to t − ⌊T/N⌋ though the next timestep is another one,
    else None.

    Its DDIM and PNDM do: on linspace grids, and on trailing ones where N does not divide T, their
    steps do not meet. Plain ``ddim`` and ``plms`` on the config's own levels reproduce that
    (:func:`unjoined`); with a transform, with η, or on a grid of ours (``grid="linspace"``) a step
    ends where the next one begins.
    """
    plain = all(isinstance(t, (Threshold, DynamicThreshold)) for t in recipe.transforms)
    if is_flow(config) or own_grid(config, recipe) is not None or not plain:
        return None
    solver: Any = recipe.solver
    if solver != DDIM() and not isinstance(solver, PLMS):
        return None
    length = int(config["num_train_timesteps"]) // steps
    return length if (np.diff(grid.t[:-1]) != -length).any() else None


def unjoined(plan: Plan, length: int) -> Plan:
    """The first-order or PLMS ``plan`` with every step from t to t − ``length``, whatever level
    comes next.

    An output a·x + Σ b w_j ε_j keeps its weights w_j and takes the transfer (a, b) of the other
    step.
    """
    process, end = plan.grid.process, plan.grid.points[-1]
    base, rows = plan.grid.points[0], []
    for row in plan.rows:
        (out,) = row.outputs
        begin = row.at.t + (0 if row.at == base else length)  # PLMS evaluates its first step twice
        src = process.point(min(begin, process.t_max))
        dst = process.point(begin - length) if begin >= length else end
        basis = basis_at(src, row.basis)
        (a, b), (_, was) = transfer(src, dst, basis), transfer(base, out.point, basis)
        rows.append(
            replace(
                row,
                outputs=(
                    replace(out, point=dst, base=a, evals=tuple(w * b / was for w in out.evals)),
                ),
            )
        )
        base = out.point if out.commit else base
    return plan.with_rows(tuple(rows), plan.name)
