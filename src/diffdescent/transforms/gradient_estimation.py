"""Gradient estimation: a second-order estimate of the denoiser from the last two evaluations (arXiv 2306.04848).

ē_t = γ e_t + (1 − γ) e_{t+1} = e_t + (γ − 1)(e_t − e_{t+1}), then the step of the sampler beneath with ē in place of
e (algorithm 2 of the paper; the first step is plain). The history holds the raw e, after thresholding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from ..errors import UserError, unknown
from ..plan import Output, Plan, Row, euler_row


@dataclass(frozen=True)
class GradientEstimation:
    """Folds ē into the plan's coefficients.

    ``gamma`` is one number or one per step (the last one repeats); 1 is the sampler beneath, bit for bit. ``last``:
    ``"correct"`` corrects every later step (smalldiffusion, the paper), ``"plain"`` leaves the last one alone
    (ComfyUI, where it returns the denoised image).

    Needs rows with one evaluation, no history of their own and one commit; ``force`` applies it to the newest
    evaluation of multistep rows all the same. Raises :class:`UserError` otherwise.
    """

    gamma: float | tuple[float, ...] = 2.0
    last: Literal["correct", "plain"] = "correct"
    force: bool = False
    name: ClassVar[str] = "ge"
    linear: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.gamma, Sequence):
            object.__setattr__(self, "gamma", tuple(self.gamma))
            if not self.gamma:
                raise UserError("ge's gamma is an empty list; give one number, or one per step.")
        if self.last not in ("correct", "plain"):
            raise unknown("last-step rule", self.last, ("correct", "plain"))

    def _gamma(self, step: int) -> float:
        return self.gamma[min(step, len(self.gamma) - 1)] if isinstance(self.gamma, tuple) else float(self.gamma)

    def rewrite(self, plan: Plan) -> Plan:
        rows = []
        for i, row in enumerate(plan.rows):
            simple = len(row.outputs) == 1 and row.outputs[0].commit and len(row.outputs[0].evals) <= 1
            if not simple and not self.force:
                raise UserError(
                    f"Gradient estimation replaces the estimate of a one-evaluation, history-free step, and {plan.name} "
                    "has its own history or inner stages; use it on ddim, ddpm, euler or mu, or force it with force=true."
                )
            last = i == len(plan.rows) - 1
            plain = i == 0 or (last and self.last == "plain")
            rows.append(_corrected(row, 1.0 if plain else self._gamma(row.step), has_previous=i > 0, keep=not last))
        return plan.with_rows(tuple(rows), f"{plan.name} | ge(gamma={self.gamma})")


def _corrected(row: Row, gamma: float, has_previous: bool, keep: bool) -> Row:
    """The row with ē in place of e. The history is in ε whatever the row reads.

    ε-form: c·ē = cγ·e + c(1 − γ)·e_prev. x0-form: x0 is (x − σe)/α, so c·x̄0 = cγ·x0 + (c(1 − γ)/α)·x −
    (c(1 − γ)σ/α)·e_prev, with x the state that was evaluated.
    """

    def fold(out: Output) -> Output:
        if not out.evals or not has_previous:
            return out
        newest, *older = out.evals
        older = older or [0.0]
        moved = newest * (1 - gamma)
        if row.basis == "eps":
            older[0] += moved
            return replace(out, evals=(newest * gamma, *older))
        older[0] -= moved * row.at.sigma / row.at.alpha
        return replace(out, current=out.current + moved / row.at.alpha, evals=(newest * gamma, *older))

    kept = row.keep if row.keep and row.keep[0] == 0 else (0, *row.keep)
    outputs = tuple(map(fold, row.outputs))
    return replace(row, outputs=outputs, keep=kept if keep else row.keep, keep_basis="eps" if keep else row.keep_basis)
