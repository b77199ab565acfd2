"""k-diffusion's interface: ``sample_*`` functions for every recipe, and denoisers in both
directions.

A k-diffusion denoiser is ``model(x, sigma, **extra_args) → denoised`` with x = x0 + σ ε, so its σ
is our σ̃ = σ/α. Flow models follow ComfyUI: x = (1 − σ) x0 + σ ε, and σ is the time. ::

    from diffdescent.integrations.kdiffusion import sample_ge, sampler
    images = sample_ge(model, x, sigmas)
    images = sampler("ge | momentum(-0.3)")(model, x, sigmas, extra_args={"cond": c}, callback=show)

Every solver, every other library's sampler name and ``ge``, ``momentum`` and ``pnm`` are here as
``sample_NAME``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.executor import Executor, Query
from diffdescent.core.grid import Grid, explicit, explicit_ratios
from diffdescent.core.model_info import info
from diffdescent.core.noise import NoiseSource
from diffdescent.core.options import options_of
from diffdescent.core.predict import Prediction, Predictor, conversion
from diffdescent.core.process import VE, VP, Flow, Point, Process
from diffdescent.core.recipe import ALIASES, Recipe, parse, parse_grid
from diffdescent.core.solvers import SOLVERS
from diffdescent.core.transforms import GradientEstimation
from diffdescent.run import evaluate, micro_batch_width, noise_source, resolve

KDenoiser = Callable[..., Tensor]
"""``model(x, sigma, **extra_args) → denoised``; sigma has shape (B,)."""

NoiseSampler = Callable[[Tensor, Tensor], Tensor]
"""``noise_sampler(sigma, sigma_next) → unit noise`` of x's shape; both levels are tensors without
dimensions."""

_KEYWORDS = {"s_tmin": "s_min", "s_tmax": "s_max", "solver_type": "variant"}
"""What k-diffusion calls our options."""

_TRANSFORMED = ("ge", "momentum", "pnm")
"""Chains on ``ddim`` that have a ``sample_*`` name of their own."""


@dataclass(frozen=True)
class Space:
    """How k-diffusion writes a process's levels and states.

    σ = σ/α and x = x_t/α, which is x0 + σ ε; for flows the time itself and the state as it is.
    """

    process: Process

    def sigma(self, point: Point) -> float:
        """The level's σ."""
        return point.sigma if isinstance(self.process, Flow) else point.ratio

    def scale(self, point: Point) -> float:
        """x_t = scale·x."""
        return 1.0 if isinstance(self.process, Flow) else point.alpha

    def grid(self, sigmas: Sequence[float]) -> Grid:
        """A grid of exactly these levels."""
        make = explicit if isinstance(self.process, Flow) else explicit_ratios
        return make(self.process, sigmas)

    def point(self, sigma: float) -> Point:
        """The level at σ."""
        if isinstance(self.process, Flow):
            return self.process.point(sigma)
        alpha, scaled = self.process.scaled(sigma)
        return Point(float(self.process.t_of_ratio(sigma)), float(alpha), float(scaled))


@dataclass(frozen=True)
class SampleFunction:
    """A recipe as a k-diffusion function; :func:`sampler` makes it, from a text too.

    ``process`` says in whose time and coordinates the plan is made; it matters to methods in the
    process's own time (``deis``), and to flows, whose σ is the time. Default: that of a model made
    by :func:`wrap`, else :class:`VE`.

    The arguments of a call:

    * ``model(x, sigma, **extra_args)`` gives the denoised images; ``x`` is the state at
      ``sigmas[0]``, (B, …), at its full size (noise·σ). The update runs in float32, or float64
      where x is; the model sees x's dtype.
    * ``sigmas`` fall strictly, and may end at 0; part of a list starts in the middle (img2img). A
      rising list inverts.
    * ``callback`` gets a dictionary once a step, after its first evaluation: ``x``, ``i``,
      ``sigma`` (of the step), ``sigma_hat`` (where the model was asked: churn raises it) and
      ``denoised``.
    * ``disable`` hides tqdm's bar; None shows it on a terminal alone.
    * ``eta`` and other options (``s_churn``, ``order``, ``ge_gamma``, …) replace the recipe's;
      ``s_noise`` scales the noise of every step.
    * ``noise_sampler(sigma, sigma_next)`` gives the noise. Without one it is keyed by (seed,
      sample, step) as in :func:`diffdescent.run`, ``noise`` being ``"independent"`` or
      ``"brownian"``. The seed is ``seed``, else ``extra_args["seed"]``, else a number drawn from
      torch's own generator, so that ``torch.manual_seed`` repeats a run. ``samples`` are the
      images' indices (default: 0, 1, …).

    Nothing in the loop waits for the device. Raises :class:`UserError` for a list of levels that is
    not strictly monotone, options that the recipe does not have, and NaN or Inf from the model.
    """

    recipe: Recipe
    process: Process | None = None
    name: str | None = None

    @property
    def __name__(self) -> str:
        return self.name or "sample_" + "".join(
            c if c.isalnum() else "_" for c in str(self.recipe)
        ).strip("_")

    def __call__(
        self,
        model: KDenoiser,
        x: Tensor,
        sigmas: Tensor | Sequence[float],
        extra_args: Mapping[str, Any] | None = None,
        callback: Callable[[dict[str, Any]], object] | None = None,
        disable: bool | None = None,
        *,
        eta: float | None = None,
        s_noise: float = 1.0,
        noise_sampler: NoiseSampler | None = None,
        noise: str = "independent",
        seed: int | None = None,
        samples: Sequence[int] | None = None,
        **options: Any,
    ) -> Tensor:
        if eta is not None:
            options["eta"] = eta
        levels, extra = _levels(sigmas), extra_args or {}
        space = Space(self.process or (model.process if isinstance(model, Denoiser) else VE()))
        grid = space.grid(levels)
        source: NoiseSource
        if noise_sampler is not None:
            source = _Noise(noise_sampler, space, dict(zip(grid.points, levels, strict=True)))
        else:
            source = _keyed(noise, extra.get("seed") if seed is None else seed, samples, x)
        used, scaled = _with_options(self.recipe, options), _Scaled(source, s_noise)
        with torch.no_grad():
            return _run(used, grid, space, model, x, levels, extra, callback, disable, scaled)


def sampler(recipe: Recipe | str, *, process: Process | None = None) -> SampleFunction:
    """``recipe`` as a k-diffusion function; see :class:`SampleFunction`."""
    return SampleFunction(parse(recipe) if isinstance(recipe, str) else recipe, process)


def names() -> list[str]:
    """Every ``sample_*`` of this module."""
    return sorted({f"sample_{name}" for name in (*SOLVERS, *ALIASES, *_TRANSFORMED)})


def __getattr__(name: str) -> SampleFunction:
    if name not in names():
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; it has {', '.join(names())}"
        )
    return SampleFunction(parse(name.removeprefix("sample_")), name=name)


def __dir__() -> list[str]:
    return [*globals(), *names()]


def _levels(sigmas: Tensor | Sequence[float]) -> tuple[float, ...]:
    """The noise levels as Python numbers: the one time that a run reads from the device."""
    # A copy of what is not a tensor: numpy's read-only arrays make torch warn.
    table = torch.as_tensor(
        sigmas if isinstance(sigmas, Tensor) else np.array(sigmas), dtype=torch.float64
    )
    if table.ndim != 1 or len(table) < 2:
        raise UserError(
            "sigmas must list at least two levels, the start and the end, not have shape"
            f" {tuple(table.shape)}; for 10 steps give 11."
        )
    values = tuple(table.tolist())
    wrong = next((i for i, v in enumerate(values) if not (math.isfinite(v) and v >= 0)), None)
    if wrong is not None:
        raise UserError(
            f"sigmas[{wrong}] is {values[wrong]:g}; every level must be a finite number of at"
            " least 0."
        )
    falls = values[1] < values[0]
    for i, (a, b) in enumerate(pairwise(values)):
        if a == b or (b < a) != falls:
            raise UserError(
                "sigmas must fall strictly from noise to data (or rise strictly, to invert), but"
                f" sigmas[{i}] = {a:g} is followed by sigmas[{i + 1}] = {b:g}; remove repeated"
                " levels and sort the rest."
            )
    return values


def _with_options(recipe: Recipe, options: Mapping[str, Any]) -> Recipe:
    """The recipe with some of its options replaced, under our names or k-diffusion's."""
    solver, transforms = {}, recipe.transforms
    known = options_of(type(recipe.solver))
    for key, value in options.items():
        name = _KEYWORDS.get(key, key)
        if name in known:
            solver[name] = value
        elif key == "ge_gamma" and any(isinstance(t, GradientEstimation) for t in transforms):
            transforms = tuple(
                dataclasses.replace(t, gamma=value) if isinstance(t, GradientEstimation) else t
                for t in transforms
            )
        else:
            raise unknown(f"option for {recipe.solver.name!r}:", key, known)
    changed: Any = recipe.solver
    return dataclasses.replace(
        recipe, solver=dataclasses.replace(changed, **solver), transforms=transforms
    )


def _keyed(kind: str, seed: int | None, samples: Sequence[int] | None, x: Tensor) -> NoiseSource:
    if seed is None:
        seed = int(torch.randint(2**63 - 1, ()))
    index = range(len(x)) if samples is None else samples
    if len(index) != len(x):
        raise UserError(f"samples has {len(index)} indices for {len(x)} images; give one for each.")
    return noise_source(kind, seed, index, x.device)


@dataclass(frozen=True)
class _Noise:
    """A k-diffusion ``noise_sampler`` as a noise source; ``given`` are the caller's own numbers for
    the levels."""

    sampler: NoiseSampler
    space: Space
    given: Mapping[Point, float]

    def initial(self, shape: Sequence[int]) -> Tensor:
        raise UserError("A k-diffusion function starts from the x that it is given.")

    def __call__(self, x: Tensor, step: int, draw: int, src: Point, dst: Point) -> Tensor:
        # new_full fills on the device; a tensor made of a number would be copied there, which
        # waits.
        z = self.sampler(
            *(x.new_full((), self.given.get(p, self.space.sigma(p))) for p in (src, dst))
        )
        if z.shape != x.shape:
            raise UserError(
                f"noise_sampler returned shape {tuple(z.shape)} for x of shape {tuple(x.shape)}."
            )
        return z.to(x.dtype)


@dataclass(frozen=True)
class _Scaled:
    """``s_noise``: noise of another size."""

    source: NoiseSource
    factor: float

    def initial(self, shape: Sequence[int]) -> Tensor:
        return self.source.initial(shape)

    def __call__(self, x: Tensor, step: int, draw: int, src: Point, dst: Point) -> Tensor:
        z = self.source(x, step, draw, src, dst)
        return z if self.factor == 1 else z * self.factor


def _run(
    recipe: Recipe,
    grid: Grid,
    space: Space,
    model: KDenoiser,
    x: Tensor,
    sigmas: Sequence[float],
    extra: Mapping[str, Any],
    callback: Callable[[dict[str, Any]], object] | None,
    disable: bool | None,
    noise: NoiseSource,
) -> Tensor:
    plan = recipe.plan(grid)
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    machine = Executor(
        plan,
        x.to(dtype) * space.scale(grid.points[0]),
        noise=noise,
        estimates=recipe.estimates,
        displacements=recipe.displacements,
        dtype=dtype,
    )
    levels = torch.tensor(sigmas, dtype=dtype, device=x.device).unbind()
    asked = torch.tensor(
        [space.sigma(row.at) for row in plan.rows], dtype=dtype, device=x.device
    ).unbind()
    ones = torch.ones(len(x), dtype=dtype, device=x.device)
    with _bar(grid.steps, disable) as advance:
        begun = -1
        while not machine.done:
            query = machine.ask()
            scale = space.scale(query.at)
            state = (query.x if scale == 1 else query.x * (1 / scale)).to(x.dtype)
            if isinstance(model, Denoiser) and model.process is space.process:
                prediction = model.at(
                    query, **extra
                )  # ours: nothing to convert, and no level to read from the device
            else:
                denoised = model(state, ones * asked[query.index], **extra)
                prediction = Prediction(_checked(denoised, x), conversion("x0", query.at))
            machine.tell(prediction)
            if query.step == begun:
                continue
            begun = query.step
            if callback is not None:
                at = {"sigma": levels[query.step], "sigma_hat": asked[query.index]}
                callback(
                    {"x": state, "i": query.step, **at, "denoised": prediction.to("x0", query.x)}
                )
            advance()
    machine.check()
    return (machine.x * (1 / space.scale(grid.points[-1]))).to(x.dtype)


def _checked(denoised: object, x: Tensor) -> Tensor:
    if isinstance(denoised, Tensor) and denoised.shape == x.shape:
        return denoised
    what = (
        f"shape {tuple(denoised.shape)}"
        if isinstance(denoised, Tensor)
        else f"a {type(denoised).__name__}"
    )
    raise UserError(
        f"The model returned {what} for x of shape {tuple(x.shape)}; it must return x without its"
        " noise."
    )


@contextmanager
def _bar(steps: int, disable: bool | None) -> Iterator[Callable[[], object]]:
    """tqdm's bar, moved by what is returned; without tqdm there is none."""
    try:
        from tqdm.auto import tqdm  # type: ignore[import-untyped]
    except ImportError:
        yield lambda: None
        return
    with tqdm(total=steps, disable=disable) as bar:
        yield bar.update


def get_sigmas(n: int, grid: str = "normal", process: Process | None = None) -> Tensor:
    """The levels of ``grid`` for ``n`` steps as k-diffusion's sigmas, float32 of shape (n + 1,).

    ``process`` is the model's (default: VP with the scaled-linear betas of latent diffusion);
    ``"normal"`` is uniform in its time, what k-diffusion's ``DiscreteSchedule.get_sigmas`` gives.
    Raises :class:`UserError` for unknown grids, and levels at infinity (zero terminal SNR).
    """
    space = Space(process or VP.named("scaled_linear"))
    values = [space.sigma(p) for p in parse_grid(grid, space.process, n).points]
    if math.isinf(values[0]):
        raise UserError(
            f"The grid {grid!r} starts at σ = ∞, where x = x0 + σ ε has no size; use one with"
            " start=."
        )
    return torch.tensor(values, dtype=torch.float32)


def discrete(sigmas: Tensor) -> VP:
    """The VP process of a k-diffusion model's table of levels (``model.sigmas``, ascending): ᾱ =
    1/(1 + σ²)."""
    values = sigmas.detach().double().cpu().numpy()
    return VP.from_alpha_bar(1 / (1 + values**2))


@dataclass
class Denoiser:
    """One of our models as a k-diffusion denoiser: ``denoiser(x, sigma, cond=labels) → x0``.

    ``sigmas`` are the trained levels of a discrete process, ascending (else None), ``sigma_min``
    and ``sigma_max`` the lowest and the highest one. A call reads ``sigma`` from the device, since
    our models take a level as a number on the host; an image of another level than its
    neighbours is evaluated apart. ``width`` is how many images the network sees at once, as in
    :func:`diffdescent.run`, whose images come out bit for bit.
    """

    model: Predictor
    width: int | None = None
    process: Process = field(init=False)
    sigmas: Tensor | None = field(init=False, default=None)
    sigma_min: Tensor = field(init=False)
    sigma_max: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.process = self.model.process
        if isinstance(self.process, VP):
            index = torch.arange(len(self.process.betas), dtype=torch.float64)
            self.sigmas = self.t_to_sigma(index).float()
        self.sigma_min, self.sigma_max = self.t_to_sigma(
            torch.tensor([self.process.t_min, self.process.t_max])
        ).float()

    def t_to_sigma(self, t: Tensor) -> Tensor:
        """The level at the process's times ``t``, of their shape."""
        space = Space(self.process)
        values = [
            space.sigma(self.process.point(v)) for v in t.detach().double().flatten().tolist()
        ]
        return torch.tensor(values, dtype=torch.float64, device=t.device).reshape(t.shape)

    def sigma_to_t(self, sigma: Tensor, quantize: bool = False) -> Tensor:
        """The time of a level; ``quantize`` rounds to a trained index."""
        space = Space(self.process)
        values = [space.point(v).t for v in sigma.detach().double().flatten().tolist()]
        t = torch.tensor(values, dtype=torch.float64, device=sigma.device).reshape(sigma.shape)
        return t.round() if quantize else t

    def get_sigmas(self, n: int, grid: str = "normal") -> Tensor:
        """See :func:`get_sigmas`."""
        return get_sigmas(n, grid, self.process).to(info(self.model).device)

    def at(self, query: Query, cond: Tensor | None = None) -> Prediction:
        """The model's own answer, in its own coordinates: what our functions ask, which know the
        level already."""
        return evaluate(
            self.model, query, cond, micro_batch_width(self.model, query.x.device, self.width)
        )

    def __call__(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        space = Space(self.process)
        levels = sigma.detach().double().expand(len(x)).tolist()
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        out = torch.empty_like(x)
        for level in dict.fromkeys(levels):
            rows = torch.tensor([i for i, v in enumerate(levels) if v == level], device=x.device)
            at = space.point(level)
            native = x[rows].to(dtype) * space.scale(at)
            labels = None if cond is None else cond[rows]
            out[rows] = self.at(Query(native, at, 0, 0), labels).to("x0", native).to(out.dtype)
        return out


def wrap(model: Predictor | str, width: int | None = None) -> Denoiser:
    """A model, or the model of a name or path, for k-diffusion's samplers and ours; see
    :class:`Denoiser`."""
    return Denoiser(resolve(model), width)


@dataclass
class Denoised:
    """A k-diffusion denoiser as one of our models, for :func:`diffdescent.run`.

    ``process``: :class:`VE` between the model's ``sigma_min`` and ``sigma_max``, unless another is
    given (such as :func:`discrete`). Labels are passed as the keyword ``label``; ``extra_args`` go
    to every call. Raises :class:`UserError` for labels without such a keyword.
    """

    model: KDenoiser
    process: Process
    shape: tuple[int, ...] | None = None
    label: str | None = None
    extra_args: Mapping[str, Any] = field(default_factory=dict)
    device: torch.device | str = "cpu"
    name: str = "k-diffusion denoiser"

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        space, extra = Space(self.process), dict(self.extra_args)
        if cond is not None:
            if self.label is None:
                raise UserError(
                    "This denoiser was given no name for its labels; say label='class_cond', or"
                    " what it is."
                )
            extra[self.label] = cond
        scale = space.scale(point)
        sigma = torch.full((len(x),), space.sigma(point), dtype=x.dtype, device=x.device)
        return Prediction(
            self.model(x if scale == 1 else x * (1 / scale), sigma, **extra),
            conversion("x0", point),
        )


def predictor(model: KDenoiser, process: Process | None = None, **options: Any) -> Denoised:
    """A k-diffusion denoiser as a :class:`Predictor`; options are those of :class:`Denoised`."""
    if process is None:
        known = [
            float(v)
            for v in (getattr(model, "sigma_min", 0.002), getattr(model, "sigma_max", 80.0))
        ]
        process = VE(*known)
    return Denoised(model, process, **options)
