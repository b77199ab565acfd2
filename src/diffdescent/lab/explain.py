"""A sampler read as an optimizer: its estimate (E-step), its step size and displacement (PM-step),
its noise.

Every chain of the family is generalised expectation–maximisation (Jang et al., AAAI 2024, algorithm
1): an estimate of the gradient from the evaluations so far, then u ← u − Δu + noise. SGD is the
same with the loss of a mini-batch for the estimate. The numbers come from the plan and from the
executor, so they cannot disagree with what runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffdescent.base.errors import UserError
from diffdescent.core.executor import Executor
from diffdescent.core.grid import Grid, explicit_ratios
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.process import VE, Array, Point
from diffdescent.core.recipe import Recipe
from diffdescent.core.transforms import Displacement, Momentum, PositiveNegative
from diffdescent.core.weights import Weights, effective_weights

SGD: dict[str, str] = {
    "method": "SGD",
    "variable": "Θ, the weights",
    "estimate": "∇L on a mini-batch",
    "step": "η, the learning rate",
    "update": "Δ = η·∇L",
    "noise": "0 (it is in the mini-batch)",
}
SGD_MOMENTUM: dict[str, str] = {
    **SGD,
    "method": "SGD with momentum",
    "update": "m ← β·m + (1−β)·η·∇L;  Δ = m",
}


@dataclass(frozen=True)
class Step:
    """One evaluation and the state that follows.

    ``weights`` (newest first) are those of the evaluations in the estimate, summing to 1; ``basis``
    says of what (x0 or ε). ``size`` is β = 1 − σ̃_s/σ̃_t, the step size of gradient descent on
    ½dist²; ``noise`` the standard deviation of the fresh noise over that of the level, σ_s;
    ``inner`` marks a state that is only the place of the next evaluation.
    """

    step: int
    src: Point
    dst: Point
    basis: str
    weights: tuple[float, ...]
    size: float
    noise: float
    inner: bool

    @property
    def estimate(self) -> str:
        """``2 ε_t − ε_{t+1}``: the estimate as text."""
        letter = "x̂0" if self.basis == "x0" else "ε"
        parts: list[str] = []
        for k, w in enumerate(self.weights):
            if abs(w) < 5e-7:
                continue
            sign = "− " if w < 0 else ("+ " if parts else "")
            size = "" if abs(abs(w) - 1) < 5e-7 else f"{abs(w):.4g}·"
            parts.append(f"{sign}{size}{letter}" + ("" if k == 0 else f"[−{k}]"))
        return " ".join(parts) or "0"


@dataclass(frozen=True)
class Linear:
    """A chain as a linear multistep method on equal steps h of its own variable (σ̃, or λ for
    exponential integrators):

    x_{n+1} = x_n + h Σ_j b_j e_{n−j}. ``order`` p and ``constant`` C are those of its local error C
    h^{p+1} e^{(p)}; ``over_euler`` is C/½ where p = 1. ``impulse`` are the b_j, as many as matter.
    """

    variable: str
    impulse: Array
    order: int
    constant: float

    @property
    def over_euler(self) -> float | None:
        return 2 * self.constant if self.order == 1 else None


@dataclass(frozen=True)
class Explanation:
    """What :func:`explain` found: a row for the papers' tables, the steps, the effective weights,
    the linear method."""

    recipe: str
    grid: Grid
    summary: dict[str, str]
    steps: tuple[Step, ...]
    weights: Weights
    linear: Linear | None
    why_not_linear: str | None

    def record(self) -> dict[str, Any]:
        """JSON-safe."""
        linear = None
        if self.linear is not None:
            linear = {
                "variable": self.linear.variable,
                "order": self.linear.order,
                "constant": self.linear.constant,
                "over_euler": self.linear.over_euler,
                "impulse": self.linear.impulse.tolist(),
            }
        return {
            "recipe": self.recipe,
            "grid": {
                "name": self.grid.name,
                "t": self.grid.t.tolist(),
                "alpha": self.grid.alpha.tolist(),
                "sigma": self.grid.sigma.tolist(),
            },
            "methods": [SGD, SGD_MOMENTUM, self.summary],
            "steps": [
                {
                    "step": s.step,
                    "t": s.src.t,
                    "t_next": s.dst.t,
                    "basis": s.basis,
                    "weights": list(s.weights),
                    "step_size": s.size,
                    "noise": s.noise,
                    "inner": s.inner,
                }
                for s in self.steps
            ],
            "linear_method": linear,
            "why_not_linear": self.why_not_linear,
            "effective_weights": {
                "start": self.weights.start.tolist(),
                "evals": self.weights.evals.tolist(),
                "noise": self.weights.noise.tolist(),
            },
        }


def explain(recipe: Recipe, grid: Grid) -> Explanation:
    """Read ``recipe`` on ``grid`` as an optimizer.

    Raises :class:`UserError` for a chain that is not linear: what it does in a step depends on the
    image.
    """
    crooked = [t.name for t in recipe.transforms if not t.linear]
    if crooked:
        raise UserError(
            f"{crooked[0]!r} is not linear: what it does to a step depends on the image, so no"
            " table of weights tells it; leave it out to read the rest of the chain."
        )
    plan = recipe.plan(grid)
    weights = effective_weights(recipe, grid)
    steps = _steps(plan)
    linear, why = _linear(recipe)
    return Explanation(
        str(recipe), grid, _summary(recipe, plan, steps), steps, weights, linear, why
    )


def _steps(plan: Plan) -> tuple[Step, ...]:
    """Every state that the plan computes, inner ones too, with its evaluations written out: an
    inner state that a later stage starts from is replaced by the evaluations that it was made
    of."""
    steps: list[Step] = []
    base = plan.grid.points[0]
    history: list[int] = []
    current = np.zeros(plan.nfe)
    for index, row in enumerate(plan.rows):
        known = [index, *history]
        evaluated = current
        for out in row.outputs:
            made = out.current * evaluated
            made[known[: len(out.evals)]] += out.evals
            used = made[: index + 1][::-1]
            total = float(used.sum())
            shares = np.trim_zeros(used / total if abs(total) > 1e-300 else used, "b")
            size = 1 - out.point.ratio / base.ratio if math.isfinite(base.ratio) else 1.0
            spread = out.noise / out.point.sigma if out.point.sigma else 0.0
            weights = tuple(float(w) for w in shares)
            steps.append(
                Step(row.step, base, out.point, row.basis, weights, size, spread, not out.commit)
            )
            current = np.zeros(plan.nfe) if out.commit else made
            base = out.point if out.commit else base
        history = [known[k] for k in row.keep]
    return tuple(steps)


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def _rule(transform: Displacement) -> str:
    """What a displacement transform does with r, the step's own displacement, as a formula."""
    if isinstance(transform, Momentum):
        beta = transform.beta[0] if isinstance(transform.beta, tuple) else transform.beta
        more = (
            " (β varies by step)"
            if isinstance(transform.beta, tuple) and len(set(transform.beta)) > 1
            else ""
        )
        return f"m ← {_number(beta)}·m + {_number(1 - beta)}·r;  Δ = m{more}"
    if isinstance(transform, PositiveNegative):
        b = abs(transform.beta)
        gain = ", over its gain" if transform.normalise else ""
        return (
            f"Δ = {_number(1 + b)}·m_same − {_number(b)}·m_other (odd and even steps apart{gain})"
        )
    return f"Δ = {transform.name}(r)"


def _summary(recipe: Recipe, plan: Plan, steps: tuple[Step, ...]) -> dict[str, str]:
    """The recipe's row of the papers' tables, told at a step of its interior."""
    outer = [s for s in steps if not s.inner]
    middle = outer[len(outer) // 2]
    stages = sum(row.step == middle.step for row in plan.rows)
    rules = [_rule(t) for t in recipe.displacements]
    noise = "fresh noise, " + _number(middle.noise) + " of σ_s" if middle.noise else "0"
    return {
        "method": str(recipe),
        "variable": "x_t, the image",
        "estimate": middle.estimate + (f" ({stages} evaluations a step)" if stages > 1 else ""),
        "step": f"β = 1 − σ_s/σ_t, here {_number(middle.size)}",
        "update": (
            "; then ".join(["r = x_t/n_t − S/n_s", *rules])
            if rules
            else "Δ = x_t − S, the step itself"
        ),
        "noise": noise,
    }


_TINY = 1e-7
"""The step of the test grids: so small against σ̃ = 1 that coordinates which differ at large noise
agree."""
_LONG = 240
"""Steps of the test grids: long enough for momentum of |β| = 0.9 to have forgotten its start."""


def _test_grid(variable: str) -> Grid:
    if variable == "lambda":
        return explicit_ratios(VE(), np.exp(-_TINY * np.arange(_LONG + 1)))
    return explicit_ratios(VE(), _TINY * np.arange(_LONG + 1, 0, -1.0))


def _linear(recipe: Recipe) -> tuple[Linear | None, str | None]:
    """The chain as a linear multistep method, or why it is none."""
    lam = recipe.solver.variable == "lambda"
    grid = _test_grid(recipe.solver.variable)
    plan = recipe.plan(grid)
    if not plan.single:
        return (
            None,
            (
                "its steps take inner evaluations or are committed twice, and its error depends on"
                " the problem"
            ),
        )
    if plan.stochastic:
        return None, "it adds noise, and its order is that of the variance"
    found = effective_weights(recipe, grid, basis="x0" if lam else "eps")
    rows = np.concatenate((np.zeros((1, found.evals.shape[1])), found.evals))
    scale = np.concatenate(([1.0], [p.ratio for p in found.points])) if lam else np.ones(len(rows))
    change = np.diff(rows / scale[:, None], axis=0)[
        -2
    ]  # not the last step: it may have a rule of its own
    impulse = change[: len(rows) - 2][::-1]
    impulse = impulse / impulse.sum()
    matter = np.abs(impulse) > 1e-6
    impulse = np.asarray(impulse[: int(matter.nonzero()[0].max()) + 1])
    age = -np.arange(len(impulse), dtype=np.float64)
    for p in range(1, 9):
        defect = 1 / (p + 1) - float(impulse @ age**p)
        if abs(defect) > 1e-4:
            variable = "λ = log(α/σ)" if lam else "σ̃ = σ/α"
            return Linear(variable, impulse, p, defect / math.factorial(p)), None
    return None, "its local error is below what is looked for (order 9)"


def growth(recipe: Recipe, z: Array, steps: int = 64) -> Array:
    """By which factor a linear problem de/dx = λ grows in a step of the chain, for each complex
    ``z`` = hλ.

    The chain runs on ẋ = λx in −σ̃ with equal steps h, complex numbers as pairs of reals; the
    factor is (|x_N|/|x_{N/2}|)^{2/N}. Below 1 the chain is stable; the exact solution is where Re z
    < 0. ``noise`` is left out.
    """
    grid = explicit_ratios(VE(), _TINY * np.arange(steps + 1, 0, -1.0))
    real, imaginary = (
        torch.from_numpy(np.ascontiguousarray(part.ravel())) for part in (z.real, z.imag)
    )
    x = torch.zeros(z.size, 2, dtype=torch.float64)
    x[:, 0] = 1.0
    chain = Executor(
        recipe.plan(grid),
        x,
        noise=_Quiet(),
        displacements=recipe.displacements,
        dtype=torch.float64,
    )
    half = x
    while not chain.done:
        query = chain.ask()
        if chain.committed == steps // 2:
            half = chain.x
        # dx̃/dσ̃ = ε, and σ̃ falls: ẋ in −σ̃ is −ε.
        a, b = -real / _TINY, -imaginary / _TINY
        eps = torch.stack(
            (a * query.x[:, 0] - b * query.x[:, 1], b * query.x[:, 0] + a * query.x[:, 1]), dim=1
        )
        chain.tell(Prediction(eps, conversion("eps", query.at)))
    # A state that became exactly 0 has not grown.
    ratio = chain.x.norm(dim=1) / half.norm(dim=1).clamp(min=1e-300)
    return np.asarray(ratio.pow(2 / steps).numpy()).reshape(z.shape)


class _Quiet:
    """Noise that is none: stability is that of the mean."""

    def initial(self, shape: Any) -> torch.Tensor:
        return torch.zeros(tuple(shape))

    def __call__(
        self, x: torch.Tensor, step: int, draw: int, src: Point, dst: Point
    ) -> torch.Tensor:
        return torch.zeros_like(x)


def draw_stability(explanation: Explanation, recipe: Recipe, path: Path) -> None:
    """The region of hλ in which the chain damps, beside that of Euler's method, which is DDIM in
    σ̃."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from diffdescent.base.images import save_figure

    real, imaginary = np.linspace(-4, 1.5, 111), np.linspace(-3, 3, 121)
    z = real[None, :] + 1j * imaginary[:, None]
    factor = growth(recipe, z)
    figure, axes = plt.subplots(figsize=(6.2, 4.6), layout="constrained")
    mesh = axes.pcolormesh(
        real, imaginary, np.clip(factor, 0, 2), cmap="RdBu_r", vmin=0, vmax=2, rasterized=True
    )
    axes.contour(real, imaginary, factor, levels=[1.0], colors="k", linewidths=1.6)
    circle = np.exp(1j * np.linspace(0, 2 * np.pi, 200)) - 1
    axes.plot(circle.real, circle.imag, "k--", lw=1, label="Euler's (plain DDIM)")
    axes.plot([], [], "k-", lw=1.6, label="this chain: damped inside")
    axes.axvline(0, color="0.4", lw=0.8, ls=":")
    axes.set(
        xlabel="Re hλ",
        ylabel="Im hλ",
        title=f"{explanation.recipe}: growth in a step of ẋ = λx",
        aspect="equal",
    )
    axes.legend(fontsize=8, loc="upper left")
    figure.colorbar(mesh, label="growth factor (blue: damped, red: amplified)")
    save_figure(figure, path, 110)
    plt.close(figure)
