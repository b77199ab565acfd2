"""The ask/tell machine that runs a plan.

``ask()`` says what to evaluate next, ``tell(prediction)`` advances. Plain sampling loops over the
two; a diffusers scheduler makes one ``tell`` per ``step``; a k-diffusion function wraps them.
Nothing in here waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.linear import combine
from diffdescent.core.noise import NoiseSource
from diffdescent.core.plan import Output, Plan, Row
from diffdescent.core.predict import Affine, Basis, Prediction
from diffdescent.core.process import Point
from diffdescent.core.transforms.base import Commit, Displacement, Estimate, Evaluation

from .parts import Evaluated, Ingredients, Terms, gradients, per_x0

DIVERGED = 100.0
"""A guided state of this many times its usual size is no image any more."""


@dataclass(slots=True)
class Query:
    """What to evaluate: the state ``x`` at noise level ``at``; ``index`` counts evaluations,
    ``step`` steps."""

    x: Tensor
    at: Point
    index: int
    step: int


class Executor:
    """Runs one plan on one batch.

    ``x`` is the initial state, (B, …), in the coordinates of the grid's first level, float32 or
    float64 (it is converted to ``dtype``). ``estimates`` act on each evaluation, ``displacements``
    on each committed step, in order. ``noise`` is needed by stochastic plans alone. ``history``
    (newest first) and ``first_row`` start in the middle of a plan with evaluations from elsewhere;
    ``base`` is then the last committed state, where ``x`` is only the place of the next evaluation.

    ``norms`` holds ‖raw‖₂ of every evaluation and sample, (evaluations, B), on the device;
    :meth:`check` reads it. Without ``record`` there are none, which saves a pass over memory at
    each evaluation, and only the state is checked. Raises :class:`UserError` when a stochastic plan
    gets no noise.
    """

    def __init__(
        self,
        plan: Plan,
        x: Tensor,
        *,
        noise: NoiseSource | None = None,
        estimates: Sequence[Estimate] = (),
        displacements: Sequence[Displacement] = (),
        dtype: torch.dtype = torch.float32,
        history: Sequence[Tensor] = (),
        first_row: int = 0,
        base: Tensor | None = None,
        record: bool = True,
    ) -> None:
        if plan.stochastic and noise is None:
            raise UserError(
                f"{plan.name} adds noise at every step; give it a noise source (a seed)."
            )
        self.plan = plan
        self.noise = noise
        self.dtype = dtype
        self._estimates = [
            (e, bool(getattr(e, "keeps_eps", False)), dict[str, Tensor]()) for e in estimates
        ]
        if any(keeps for _, keeps, _ in self._estimates):
            self._require_single_use("give eps=recompute")
        self._displacements = [(d, d.init(plan)) for d in displacements]
        self._wanted = _wanted_parts(displacements)
        self._current = x.to(dtype)
        self._base = self._current if base is None else base.to(dtype)
        commits = [o.point for r in plan.rows[:first_row] for o in r.outputs if o.commit]
        self._base_point = commits[-1] if commits else plan.grid.points[0]
        self._history: list[Tensor] = list(history)
        self._known = _from_elsewhere(plan, self._history, first_row, self._wanted)
        self._inside: Ingredients | None = None
        self._index = first_row
        self._committed = len(commits)
        norm_type = torch.float32 if dtype != torch.float64 else dtype
        self._record = record
        self.norms = torch.zeros(
            len(plan.rows) if record else 0, len(x), dtype=norm_type, device=x.device
        )
        self._norm_rows = self.norms.unbind(0)
        self._guided_norms = torch.zeros_like(self.norms)
        self._guided_norm_rows = self._guided_norms.unbind(0)
        self._guided = False
        self._pixels = tuple(range(1, x.ndim))
        for out in plan.start if not first_row else ():
            self._advance(out, plan.rows[0].step, None, None)

    @property
    def done(self) -> bool:
        """Whether every row has been run."""
        return self._index == len(self.plan.rows)

    @property
    def x(self) -> Tensor:
        """The last committed state."""
        return self._base

    @property
    def current(self) -> Tensor:
        """The state to evaluate next (``ask().x``); :attr:`x` between steps and once
        :attr:`done`."""
        return self._current

    @property
    def point(self) -> Point:
        """The noise level of :attr:`x`."""
        return self._base_point

    @property
    def committed(self) -> int:
        """How many steps have been committed."""
        return self._committed

    def ask(self) -> Query:
        """What to evaluate next; a mistake once :attr:`done`."""
        row = self.plan.rows[self._index]
        return Query(self._current, row.at, self._index, row.step)

    def edit(self, sample: Tensor) -> None:
        """Replace the current state (inpainting). The base of an unfinished step is shifted by the
        same change."""
        sample = sample.to(self.dtype)
        self._base = (
            sample if self._base is self._current else self._base + (sample - self._current)
        )
        self._current = sample

    def tell(self, prediction: Prediction, sample: Tensor | None = None) -> None:
        """Advance by one row. ``sample``, when given, is the (edited) state that was really
        evaluated."""
        if sample is not None and sample is not self._current:
            self.edit(sample)
        row = self.plan.rows[self._index]
        raw = prediction.raw
        if raw.dtype != self.dtype:
            raw = raw.to(self.dtype)
        if self._record:
            torch.linalg.vector_norm(raw, dim=self._pixels, out=self._norm_rows[self._index])
        told = _Told(row, self._current, raw, prediction)
        if prediction.guidance:
            self._guided = True
            if self._record:
                torch.linalg.vector_norm(
                    self._current, dim=self._pixels, out=self._guided_norm_rows[self._index]
                )
            told.x0_alone = self._x0_part(prediction)
        if self._estimates:
            self._correct(told)
        if prediction.guidance or self._wanted:
            told.guided = told.evaluated(self._wanted, self._inside)
        for out in row.outputs:
            self._advance(out, row.step, told, prediction)
        if row.keep or self._history:
            self._history = [told.kept() if k == 0 else self._history[k - 1] for k in row.keep]
            self._known = [told.guided if k == 0 else self._known[k - 1] for k in row.keep]
            if told.guided is not None and 0 in row.keep:
                newest = self._history[row.keep.index(0)]
                told.guided.store(row.keep_basis or row.basis, newest, self._wanted)
        self._index += 1

    def _x0_part(self, prediction: Prediction) -> Tensor | None:
        """What guidance adds to x0 alone (CFG++)."""
        part = prediction.guidance.x0
        if part is None:
            return None
        self._require_single_use("CFG++ renoises in samplers such as ddim and ddpm")
        return part.to(self.dtype)

    def _require_single_use(self, instead: str) -> None:
        """Where ε does not follow x0, an evaluation may enter one step alone."""
        if any(sum(bool(o.evals) for o in r.outputs) > 1 for r in self.plan.rows):
            raise UserError(
                f"{self.plan.name} uses an evaluation in two steps, so ε must follow x0; {instead}."
            )

    def _correct(self, told: _Told) -> None:
        """Let the estimate transforms change x0. What they change is carried beside the evaluation:
        as a correction that ε follows, or as one of x0 alone."""
        row, x = told.row, told.x
        x0 = told.prediction.to("x0", x)
        direction = told.direction()
        for transform, keeps_eps, memory in self._estimates:
            delta = transform.correct(
                Evaluation(x0, x, row.at, row.step, self._index, direction, memory)
            )
            if delta is None:
                continue
            x0 = x0 + delta
            if direction is not None and getattr(transform, "of_direction", False):
                told.turned = direction = direction + delta
            if keeps_eps:
                told.x0_alone = delta if told.x0_alone is None else told.x0_alone + delta
            elif row.at.sigma > 0:  # at σ = 0 the state is x0: there is no estimate to change
                told.correction = delta if told.correction is None else told.correction + delta

    def _advance(
        self, out: Output, step: int, told: _Told | None, prediction: Prediction | None
    ) -> None:
        """Compute one output and make it the current state, or commit it."""
        base = self._base
        terms: list[tuple[float, Tensor]] = []
        on_base = out.base
        if told is not None:
            e0 = out.evals[0] if out.evals else 0.0
            at_x = out.current + e0 * told.p
            if told.x is base:
                on_base += at_x
            elif at_x:
                terms.append((at_x, told.x))
            if e0:
                terms.append((e0 * told.q, told.raw))
                if told.correction is not None:
                    terms.append((e0 * told.per_x0(told.row.basis), told.correction))
            if told.x0_alone is not None and out.evals:
                terms.append((out.point.alpha, told.x0_alone))
            terms += [(c, h) for c, h in zip(out.evals[1:], self._history, strict=False) if c]
        if on_base or not terms:
            terms.insert(0, (on_base, base))
        noise = self._noise_term(out, step, prediction) if out.noise or out.log_var else None
        if noise is not None:
            terms.append(noise)
        guidance = (
            self._guidance_terms(out, told) if told is not None and told.guided is not None else []
        )
        terms += guidance
        new = combine(terms)
        made = self._ingredients(out, told, noise, guidance) if self._wanted else None
        if out.commit:
            kick = noise[1] * noise[0] if noise is not None and self._displacements else None
            # Made only for who asks: the denoising part costs passes over memory.
            parts = (
                made.parts(new)
                if made is not None and prediction is not None and prediction.guidance
                else None
            )
            for i, (transform, state) in enumerate(self._displacements):
                commit = Commit(step, base, self._base_point, new, out.point, kick, parts)
                new, state = transform.update(state, commit)
                self._displacements[i] = transform, state
            self._base, self._base_point = new, out.point
            self._committed += 1
            self._forget(out.point, told)
        self._current, self._inside = new, None if out.commit else made

    def _forget(self, point: Point, told: _Told | None) -> None:
        """A step has ended at ``point``: its evaluations are now those of an earlier one, but for
        one taken there."""
        for one in self._known:
            if one is not None:
                one.forget(keep_guidance=False)
        if told is not None and told.guided is not None:
            told.guided.forget(keep_guidance=told.row.at == point)

    def _ingredients(
        self, out: Output, told: _Told | None, noise: tuple[float, Tensor] | None, guidance: Terms
    ) -> Ingredients:
        """What the new state consists of, beside what it takes from the step's start."""
        assert self._wanted is not None
        made = Ingredients(guidance=list(guidance), diversity=[noise] if noise is not None else [])
        if told is None or told.guided is None:
            return made
        made.add(out.current, told.guided.inside)
        for c, one in zip(out.evals, [told.guided, *self._known], strict=False):
            if one is not None and c:
                one.contribute(c, self._wanted, made)
        if told.x0_alone is not None and out.evals:
            made.denoise.append((out.point.alpha, told.x0_alone))
            aside = told.prediction.guidance.x0
            if aside is not None:
                made.move_to_guidance(out.point.alpha, aside.to(self.dtype))
        return made

    def _noise_term(
        self, out: Output, step: int, prediction: Prediction | None
    ) -> tuple[float, Tensor]:
        assert self.noise is not None
        z = self.noise(self._base, step, out.draw, self._base_point, out.point)
        if out.log_var is None:
            return out.noise, z
        return 1.0, z * self._learned_sigma(out.log_var, prediction)

    def _learned_sigma(self, log_var: tuple[float, float], prediction: Prediction | None) -> Tensor:
        """The standard deviation between the two of ``log_var``, as the network says pixel by
        pixel."""
        if prediction is None or prediction.variance is None:
            raise UserError(
                "This sampler uses a learned variance, but the model predicts none; choose another"
                " one."
            )
        low, high = log_var
        fraction = (prediction.variance.to(self.dtype) + 1) / 2
        return torch.exp(
            0.5
            * torch.lerp(torch.full_like(fraction, low), torch.full_like(fraction, high), fraction)
        )

    def _guidance_terms(self, out: Output, told: _Told) -> Terms:
        """The gradients of log p(y | x) that the step's own evaluations carry, scaled for one
        state: s²·∇ on the mean of a step of variance s², and through the estimates, x0 += σ²/α·∇ or
        ε −= σ·∇, on the score.
        """
        terms: Terms = []
        mean = told.prediction.guidance.mean
        if mean is not None:
            if not self.plan.stochastic:
                raise UserError(
                    f"{self.plan.name} has no noise by whose variance its mean could be moved; give"
                    " the guidance shift='score', or use ddpm or ddim(eta=1)."
                )
            if not self.plan.single:
                raise UserError(
                    f"{self.plan.name} has inner states in its steps, which are then no Gaussians"
                    " with a mean to move; give the guidance shift='score', or use ddpm or"
                    " ddim(eta=1)."
                )
            mean = mean.to(self.dtype)
            if out.log_var is not None:
                terms.append(
                    (1.0, mean * self._learned_sigma(out.log_var, told.prediction).square())
                )
            else:
                terms.append(((out.noise if out.spread is None else out.spread) ** 2, mean))
        return terms + gradients(out.evals, [told.guided, *self._known])

    def check(self, samples: Sequence[int] | None = None) -> None:
        """Raise :class:`UserError` if an evaluation so far, or the state, held NaN, Inf or numbers
        near overflow, or if guidance has driven a state to :data:`DIVERGED` times the size that
        data of unit variance has there.

        The message names the first bad evaluation, its level and samples (``samples`` translates
        the batch's rows). This is the one place that reads from the device; call it after the loop.
        """
        last = torch.linalg.vector_norm(self._base, dim=self._pixels)[None].to(self.norms.dtype)
        if not self._record:
            self._check_state(last[0].cpu(), samples)
            return
        raw = torch.cat([self.norms[: self._index], last]).cpu()
        bad = ~torch.isfinite(raw)
        states = torch.cat([self._guided_norms[: self._index], last]).cpu()
        usual = torch.tensor(
            [r.at.norm for r in self.plan.rows[: self._index]] + [self._base_point.norm]
        )
        usual = usual[:, None] * math.sqrt(self._base[0].numel())
        diverged = ~(states <= DIVERGED * usual) & self._guided
        if not bool((bad | diverged).any()):
            return
        index = int((bad | diverged).any(dim=1).nonzero()[0, 0])
        here = diverged[index] if bool(diverged[index].any()) else bad[index]
        which = [int(i) if samples is None else samples[int(i)] for i in here.nonzero()[:, 0]]
        shown = ", ".join(map(str, which[:8])) + (", …" if len(which) > 8 else "")
        who = f"for {len(which)} of {len(here)} samples ({shown})"
        done = index == self._index
        row = self.plan.rows[min(index, self._index - 1)]
        at = self._base_point if done else row.at
        where = f"t = {at.t:.6g}, σ/α = {at.ratio:.4g}"
        if bool(diverged[index].any()):
            when = f"after step {row.step}" if done else f"at step {row.step}"
            raise UserError(
                f"Guidance made the images diverge: {when} ({where}) the state has the norm"
                f" {float(states[index][here].max()):.3g}, where about {float(usual[index]):.3g} is"
                f" usual, {who}; lower the guidance scale, or guide in an interval of noise levels."
            )
        if done:
            raise UserError(
                f"The sampler's own update left NaN or Inf {who}; lower the guidance scale or"
                " |beta|."
            )
        raise UserError(
            f"The model returned NaN, Inf or values beyond 1e17 at evaluation {index} (step"
            f" {row.step}, {where}) {who}; check the model's dtype (fp16 overflows), its prediction"
            " type, or lower the guidance scale."
        )

    def _check_state(self, norms: Tensor, samples: Sequence[int] | None) -> None:
        """:meth:`check` where no evaluation was recorded."""
        bad = ~torch.isfinite(norms)
        if not bool(bad.any()):
            return
        which = [int(i) if samples is None else samples[int(i)] for i in bad.nonzero()[:, 0]]
        shown = ", ".join(map(str, which[:8])) + (", …" if len(which) > 8 else "")
        raise UserError(
            f"The state holds NaN or Inf after step {self._committed - 1} for {len(which)} of"
            f" {len(bad)} samples ({shown}); check the model's dtype and its prediction type."
        )


class _Told:
    """One evaluation while its row runs: the newest value is h0 = p·x + q·raw, plus what a
    correction of x0 adds."""

    __slots__ = (
        "correction",
        "guided",
        "p",
        "prediction",
        "q",
        "raw",
        "row",
        "turned",
        "x",
        "x0_alone",
    )

    def __init__(self, row: Row, x: Tensor, raw: Tensor, prediction: Prediction) -> None:
        self.row, self.x, self.raw, self.prediction = row, x, raw, prediction
        self.p, self.q = self._affine(row.basis)
        self.correction: Tensor | None = None
        self.x0_alone: Tensor | None = None
        self.turned: Tensor | None = None
        self.guided: Evaluated | None = None

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

    def per_x0(self, basis: Basis) -> float:
        """How a change of x0 changes the evaluation."""
        return per_x0(self.row.at, basis)

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

    def evaluated(self, wanted: Basis | None, inside: Ingredients | None) -> Evaluated:
        """The evaluation beside its guidance, and as ``wanted`` where the parts of steps are asked
        for."""
        row, score = self.row, self.prediction.guidance.score
        score = None if score is None else score.to(self.raw.dtype)
        if wanted is None or (wanted == "eps" and not row.at.sigma):
            return Evaluated(row.at, row.basis, score)
        p, q = self._affine(wanted)
        estimate = [(p, self.x), (q, self.raw)]
        if self.correction is not None:
            estimate.append((per_x0(row.at, wanted), self.correction))
        return Evaluated(row.at, row.basis, score, self.direction(), estimate, inside)

    def kept(self) -> Tensor:
        """h0 as a tensor of its own, for the history."""
        basis = self.row.keep_basis or self.row.basis
        p, q = self._affine(basis)
        value = self.raw
        if p or q != 1:
            value = combine([(p, self.x), (q, self.raw)]) if p else self.raw * q
        return (
            value
            if self.correction is None
            else value.add(self.correction, alpha=self.per_x0(basis))
        )


def _wanted_parts(displacements: Sequence[Displacement]) -> Basis | None:
    """The basis in which a transform wants to see the denoising part of a step, if one does."""
    wanted: set[Basis] = {
        basis for d in displacements if (basis := getattr(d, "wants_parts", None))
    }
    if len(wanted) > 1:
        raise UserError(
            "Two transforms of one chain define the denoising gradient differently; give both one"
            " definition."
        )
    return next(iter(wanted), None)


def _from_elsewhere(
    plan: Plan, history: Sequence[Tensor], first_row: int, wanted: Basis | None
) -> list[Evaluated | None]:
    """Evaluations that a run starts with. What they were taken from is unknown, so they cannot be
    read otherwise."""
    if not history or wanted is None:
        return [None] * len(history)
    before = plan.rows[first_row - 1]
    basis = before.keep_basis or before.basis
    if basis != wanted:
        raise UserError(
            f"{plan.name} was given its history as {basis}, from which the parts of its first steps"
            " cannot be told; start it without a history."
        )
    return [Evaluated(before.at, basis, estimate=[(1.0, h)]) for h in history]
