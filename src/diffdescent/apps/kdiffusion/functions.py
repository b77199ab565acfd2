"""``sample_*`` functions: any recipe with k-diffusion's interface."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.executor import Executor
from diffdescent.core.grid import Grid
from diffdescent.core.noise import NoiseSource
from diffdescent.core.options import options_of
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.process import VE, Process
from diffdescent.core.recipe import ALIASES, Recipe, parse
from diffdescent.core.solvers import SOLVERS
from diffdescent.core.transforms import GradientEstimation

from .denoisers import Denoiser, KDenoiser
from .noise import GivenNoise, NoiseSampler, ScaledNoise, keyed
from .sigmas import Space, read_levels

_KEYWORDS = {"s_tmin": "s_min", "s_tmax": "s_max", "solver_type": "variant"}
"""What k-diffusion calls our options."""

_TRANSFORMED = ("ge", "momentum", "pnm")
"""Chains on ``ddim`` that have a ``sample_*`` name of their own."""


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

    Nothing in the loop waits for the device.

    Raises:
        UserError: a list of levels that is not strictly monotone, options that the recipe does not
            have, and NaN or Inf from the model.
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
        levels, extra = read_levels(sigmas), extra_args or {}
        space = Space(self.process or (model.process if isinstance(model, Denoiser) else VE()))
        grid = space.grid(levels)
        source: NoiseSource
        if noise_sampler is not None:
            source = GivenNoise(noise_sampler, space, dict(zip(grid.points, levels, strict=True)))
        else:
            source = keyed(noise, extra.get("seed") if seed is None else seed, samples, x)
        used, scaled = _with_options(self.recipe, options), ScaledNoise(source, s_noise)
        with torch.no_grad():
            return _run(used, grid, space, model, x, levels, extra, callback, disable, scaled)


def sampler(recipe: Recipe | str, *, process: Process | None = None) -> SampleFunction:
    """``recipe`` as a k-diffusion function; see :class:`SampleFunction`.

    Args:
        recipe: a recipe or its text.
        process: the model's; None is that of a model made by :func:`wrap`, else VE, where σ is the
            time.

    Returns:
        ``(model, x, sigmas, extra_args=None, callback=None, disable=None, …) → images``.
    """
    return SampleFunction(parse(recipe) if isinstance(recipe, str) else recipe, process)


def names() -> list[str]:
    """Every ``sample_*`` of this module.

    Returns:
        The names.
    """
    return sorted({f"sample_{name}" for name in (*SOLVERS, *ALIASES, *_TRANSFORMED)})


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
