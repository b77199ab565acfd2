"""One evaluation while its row runs: what it puts into the states that are made of it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.linear import combine
from diffdescent.core.plan import Output, Row
from diffdescent.core.predict import Affine, Basis, Prediction

from .parts import Evaluated, Ingredients, Terms, per_x0


class Answer:
    """The newest value is h0 = p·x + q·raw, plus what a correction of x0 adds.

    ``correction`` is what estimate transforms add to x0 and ε follows; ``x0_alone`` is added to x0
    with ε as it was. ``guided`` says whether guidance left anything with it; ``evaluated`` is the
    evaluation as guidance and the parts of steps see it, where one of them is asked for
    (:meth:`take_apart`).
    """

    __slots__ = (
        "correction", "evaluated", "guided", "p", "prediction", "q", "raw", "row", "turned",
        "value", "x", "x0_alone",
    )  # fmt: skip

    def __init__(self, row: Row, x: Tensor, raw: Tensor, prediction: Prediction) -> None:
        self.row, self.x, self.raw, self.prediction = row, x, raw, prediction
        self.p, self.q = self._affine(row.basis)
        self.guided = bool(prediction.guidance)
        self.correction: Tensor | None = None
        self.x0_alone: Tensor | None = self._aside()
        self.turned: Tensor | None = None
        self.evaluated: Evaluated | None = None
        self.value: Tensor | None = None

    def _affine(self, basis: Basis) -> Affine:
        affine = self.prediction.conversion.to(basis)
        if affine.raw != affine.raw:
            at = self.row.at
            raise UserError(
                f"The model's prediction type leaves {basis} undetermined at α = {at.alpha:.4g}, σ"
                f" = {at.sigma:.4g}; start the grid below pure noise (and end its evaluations above"
                " σ = 0), or use a v- or flow-predicting model."
            )
        return affine

    def _aside(self) -> Tensor | None:
        """What guidance adds to x0 alone (CFG++)."""
        aside = self.prediction.guidance.x0
        return None if aside is None else aside.to(self.raw.dtype)

    def direction(self) -> Tensor | None:
        """What classifier-free guidance has added to x0, as the estimate transforms have left
        it."""
        if self.turned is not None:
            return self.turned
        direction = self.prediction.guidance.direction
        return (
            None
            if direction is None
            else direction.to(self.raw.dtype) * self.prediction.conversion.x0.raw
        )

    def correct(self, delta: Tensor, keeps_eps: bool) -> None:
        """Add ``delta`` to x0, with ε following or as it was."""
        if keeps_eps:
            self.x0_alone = delta if self.x0_alone is None else self.x0_alone + delta
        elif self.row.at.sigma > 0:  # at σ = 0 the state is x0: there is no estimate to change
            self.correction = delta if self.correction is None else self.correction + delta

    def take_apart(self, wanted: Basis | None, inside: Ingredients | None) -> None:
        """Make :attr:`evaluated`: the evaluation without its guidance, and as ``wanted`` where the
        parts of steps are asked for. ``inside`` is what the state consists of at which it was
        taken."""
        row, score = self.row, self.prediction.guidance.score
        score = None if score is None else score.to(self.raw.dtype)
        if wanted is None or (wanted == "eps" and not row.at.sigma):
            self.evaluated = Evaluated(row.at, row.basis, score)
            return
        p, q = self._affine(wanted)
        estimate = [(p, self.x), (q, self.raw)]
        if self.correction is not None:
            estimate.append((per_x0(row.at, wanted), self.correction))
        self.evaluated = Evaluated(row.at, row.basis, score, self.direction(), estimate, inside)

    def terms(self, out: Output, base: Tensor, history: Sequence[Tensor]) -> Terms:
        """What ``out`` is the sum of, less noise and guidance; ``base`` is the state where the step
        begins."""
        e0 = out.evals[0] if out.evals else 0.0
        on_base, at_x = out.base, out.current + e0 * self.p
        terms: Terms = []
        if self.x is base:
            on_base += at_x
        elif at_x:
            terms.append((at_x, self.x))
        if e0:
            terms.append((e0 * self.q, self.raw))
            if self.correction is not None:
                terms.append((e0 * per_x0(self.row.at, self.row.basis), self.correction))
        if self.x0_alone is not None and out.evals:
            terms.append((out.point.alpha, self.x0_alone))
        terms += [(c, h) for c, h in zip(out.evals[1:], history, strict=False) if c]
        if on_base or not terms:
            terms.insert(0, (on_base, base))
        return terms

    def ingredients(
        self, out: Output, known: Sequence[Evaluated | None], wanted: Basis, to: Ingredients
    ) -> None:
        """Add what ``out`` consists of, besides what it takes from the step's start, its noise and
        its guidance."""
        if self.evaluated is None:
            return
        to.add(out.current, self.evaluated.inside)
        for c, one in zip(out.evals, [self.evaluated, *known], strict=False):
            if one is not None and c:
                one.contribute(c, wanted, to)
        if self.x0_alone is not None and out.evals:
            to.denoise.append((out.point.alpha, self.x0_alone))
            aside = self._aside()
            if aside is not None:
                to.move_to_guidance(out.point.alpha, aside)

    def kept(self) -> Tensor:
        """h0 as a tensor of its own, for the history; the same one whenever it is asked for."""
        if self.value is None:
            self.value = self._kept()
        return self.value

    def _kept(self) -> Tensor:
        basis = self.row.keep_basis or self.row.basis
        p, q = self._affine(basis)
        value = self.raw
        if p or q != 1:
            value = combine([(p, self.x), (q, self.raw)]) if p else self.raw * q
        if self.correction is None:
            return value
        return value.add(self.correction, alpha=per_x0(self.row.at, basis))
