"""What is read off a sampler: its row in the papers' tables, steps, weights, linear method."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from diffdescent.core.grid import Grid
from diffdescent.core.process import Array, Point
from diffdescent.core.weight_table import Weights

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
class LinearMethod:
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
class Constrained:
    """A constraint on the estimate as the classical algorithm that it is. ``sets`` maps the text of
    each set to the images that are in it and how they are projected on."""

    method: str
    algorithm: str
    rule: str
    source: str
    sets: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Explanation:
    """What :func:`explain` found: a row for the papers' tables, the steps, the effective weights,
    the linear method; under a restoration method also its data term (the classical algorithm, its
    rule and where it is from), and the same of each constraint on the estimate, with its sets."""

    recipe: str
    grid: Grid
    summary: dict[str, str]
    steps: tuple[Step, ...]
    weights: Weights
    linear: LinearMethod | None
    why_not_linear: str | None
    data_term: dict[str, str] | None = None
    constraints: tuple[Constrained, ...] = ()

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
            "data_term": self.data_term,
            "constraints": [asdict(one) for one in self.constraints],
            "linear_method": linear,
            "why_not_linear": self.why_not_linear,
            "effective_weights": {
                "start": self.weights.start.tolist(),
                "evals": self.weights.evals.tolist(),
                "noise": self.weights.noise.tolist(),
            },
        }
