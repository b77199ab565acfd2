"""Gradient estimation: a second-order estimate of the denoiser from the last two evaluations (arXiv
2306.04848).

ē_t = γ e_t + (1 − γ) e_{t+1} = e_t + (γ − 1)(e_t − e_{t+1}), then the step of the sampler beneath
with ē in place of e (algorithm 2 of the paper; the first step is plain). The history holds the raw
e, after thresholding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from diffdescent.base.errors import UserError
from diffdescent.core.options import Filled, finite
from diffdescent.core.plan import Output, Plan, Row
from diffdescent.core.predict import Basis

from .base import Rewrite, register

Gamma = Annotated[float, finite("the paper's is 2")]


@register("ge")
@dataclass(frozen=True)
class GradientEstimation(Rewrite):
    """Gradient estimation (arXiv 2306.04848): the new evaluation is corrected by the last one. It
    folds ē into the plan's coefficients.

    ``gamma`` is one number or one per step (the last one repeats); 1 is the sampler beneath, bit
    for bit. ``last``: ``"correct"`` corrects every later step (smalldiffusion, the paper),
    ``"plain"`` leaves the last one alone (ComfyUI, where it returns the denoised image).

    Needs rows with one evaluation, no history of their own and one commit; ``force`` applies it to
    the newest evaluation of multistep rows all the same.

    Raises:
        UserError: rows of another kind, without ``force``.
    """

    gamma: Gamma | Annotated[tuple[Gamma, ...], Filled("give one number, or one per step")] = 2.0
    last: Literal["correct", "plain"] = "correct"
    force: bool = False
    linear: ClassVar[bool] = True
    neutral: ClassVar = {"gamma": 1.0}

    def _gamma(self, step: int) -> float:
        return (
            self.gamma[min(step, len(self.gamma) - 1)]
            if isinstance(self.gamma, tuple)
            else self.gamma
        )

    def rewrite(self, plan: Plan) -> Plan:
        if plan.spectral is not None:
            raise UserError(
                f"{plan.name} weighs its past evaluations at every spatial frequency by itself, so"
                " there is nothing for ge to correct; leave ge out."
            )
        rows: list[Row] = []
        for i, row in enumerate(plan.rows):
            simple = (
                len(row.outputs) == 1 and row.outputs[0].commit and len(row.outputs[0].evals) <= 1
            )
            if not simple and not self.force:
                raise UserError(
                    "Gradient estimation replaces the estimate of a one-evaluation, history-free"
                    f" step, and {plan.name} has its own history or inner stages; use it on ddim,"
                    " ddpm, euler or mu, or force it with force=true."
                )
            if row.keep and row.keep[0] != 0:
                raise UserError(
                    f"{plan.name} does not keep its newest evaluation, which gradient estimation"
                    " needs; use ge on ddim, ddpm, euler or mu."
                )
            last = i == len(plan.rows) - 1
            plain = i == 0 or (last and self.last == "plain")
            previous = rows[-1].keep_basis if rows else None
            rows.append(
                _corrected(row, 1.0 if plain else self._gamma(row.step), previous, keep=not last)
            )
        return plan.with_rows(tuple(rows), f"{plan.name} | ge(gamma={self.gamma})")


def _corrected(row: Row, gamma: float, previous: Basis | None, keep: bool) -> Row:
    """The row with the corrected estimate in place of the newest; ``previous``: what the evaluation
    before is kept as.

    Rows without a history of their own keep ε, others (``force``) what they keep anyway, and that
    is corrected. Where the row reads the same: c·ē = cγ·e + c(1 − γ)·e_prev. A row that reads x0 =
    (x − σe)/α with ε kept: c·x̄0 = cγ·x0 + (c(1 − γ)/α)·x − (c(1 − γ)σ/α)·e_prev, with x the state
    that was evaluated; and likewise with α and σ exchanged.
    """

    def fold(out: Output) -> Output:
        if not out.evals or previous is None:
            return out
        newest, *older = out.evals
        older = older or [0.0]
        moved = newest * (1 - gamma)
        if row.basis == previous:
            older[0] += moved
            return replace(out, evals=(newest * gamma, *older))
        read, kept = (
            (row.at.alpha, row.at.sigma) if row.basis == "x0" else (row.at.sigma, row.at.alpha)
        )
        older[0] -= moved * kept / read
        return replace(out, current=out.current + moved / read, evals=(newest * gamma, *older))

    outputs = tuple(map(fold, row.outputs))
    if not keep:
        return replace(row, outputs=outputs)
    own = row.keep_basis or row.basis
    return replace(
        row, outputs=outputs, keep=row.keep or (0,), keep_basis=own if row.keep else "eps"
    )
