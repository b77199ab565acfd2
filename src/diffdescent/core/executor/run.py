"""The ask/tell machine that runs a plan.

``ask()`` says what to evaluate next, ``tell(prediction)`` advances. Plain sampling loops over the
two; a diffusers scheduler makes one ``tell`` per ``step``; a k-diffusion function wraps them.
Nothing in here waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.calls import check_call
from diffdescent.core.linear import combine
from diffdescent.core.noise import NoiseSource
from diffdescent.core.plan import Output, Plan
from diffdescent.core.predict import Prediction
from diffdescent.core.process import Point
from diffdescent.core.transforms.base import Commit, Displacement, Estimate, Evaluation

from .answer import Answer
from .guidance import guidance_terms, learned_sigma, require_guidable, require_single_use
from .health import Health
from .parts import Evaluated, Ingredients, Terms, from_elsewhere, wanted_parts
from .spectral import spectral_runner, spectral_state


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

    Without ``record`` the sizes of evaluations are not remembered, which saves a pass over memory
    at each, and :meth:`check` looks at the state alone.

    Raises:
        UserError: when a stochastic plan gets no noise.
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
        check_call(type(self), locals())
        if plan.stochastic and noise is None:
            raise UserError(
                f"{plan.name} adds noise at every step; give it a noise source (a seed)."
            )
        self.plan = plan
        self.noise = noise
        self.dtype = dtype
        self._estimates = [(e, dict[str, Tensor]()) for e in estimates]
        if any(e.keeps_eps for e in estimates):
            require_single_use(plan, "give eps=recompute")
        self._displacements = [(d, d.init(plan)) for d in displacements]
        self._wanted = wanted_parts(displacements)
        self._current = x.to(dtype)
        self._spectral = spectral_runner(plan, self._current, self._wanted)
        self._base = self._current if base is None else base.to(dtype)
        commits = [o.point for r in plan.rows[:first_row] for o in r.outputs if o.commit]
        self._base_point = commits[-1] if commits else plan.grid.points[0]
        self._history: list[Tensor] = list(history)
        self._known = from_elsewhere(plan, self._history, first_row, self._wanted)
        self._inside: Ingredients | None = None
        self._index = first_row
        self._committed = len(commits)
        self._health = Health(plan, self._current, record)
        for out in plan.start if not first_row else ():
            self._advance(out, plan.rows[0].step, None)

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

    @property
    def norms(self) -> Tensor:
        """‖raw‖₂ of every evaluation and sample, (evaluations, B), on the device; none without
        ``record``."""
        return self._health.norms

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
        answer = Answer(row, self._current, raw, prediction)
        self._health.remember(self._index, raw, self._current if answer.guided else None)
        if answer.guided:
            require_guidable(self.plan, prediction.guidance)
        if self._estimates:
            self._correct(answer)
        if answer.guided or self._wanted:
            answer.take_apart(self._wanted, self._inside)
        for out in row.outputs:
            self._advance(out, row.step, answer)
        if row.keep or self._history:
            self._remember(answer)
        self._index += 1

    def check(self, samples: Sequence[int] | None = None) -> None:
        """Raise :class:`UserError` if an evaluation so far, or the state, held NaN, Inf or numbers
        near overflow, or if guidance has driven a state to 100 times the size that data of unit
        variance has there.

        The message names the first bad evaluation, its level and samples (``samples`` translates
        the batch's rows). This is the one place that reads from the device; call it after the loop.
        """
        self._health.check(self._base, self._base_point, self._index, self._committed, samples)

    def _correct(self, answer: Answer) -> None:
        """Let the estimate transforms change x0. What they change is carried with the evaluation:
        as a correction that ε follows, or as one of x0 alone."""
        row, x = answer.row, answer.x
        x0 = answer.prediction.to("x0", x)
        direction = answer.direction()
        for transform, memory in self._estimates:
            delta = transform.correct(
                Evaluation(x0, x, row.at, row.step, self._index, direction, memory)
            )
            if delta is None:
                continue
            x0 = x0 + delta
            if direction is not None and transform.of_direction:
                answer.turned = direction = direction + delta
            answer.correct(delta, transform.keeps_eps)

    def _advance(self, out: Output, step: int, answer: Answer | None) -> None:
        """Compute one output and make it the current state, or commit it."""
        base = self._base
        terms = [(out.base, base)] if answer is None else answer.terms(out, base, self._history)
        noise = self._noise_term(out, step, answer) if out.noise or out.log_var else None
        if noise is not None:
            terms.append(noise)
        guidance: Terms = []
        if answer is not None and answer.evaluated is not None:
            guidance = guidance_terms(self.plan, out, answer, self._known)
            terms += guidance
        if self._spectral is None or out.spectral is None:
            new = combine(terms)
        else:
            new = spectral_state(self._spectral, out.spectral, answer, base, self._history)
        made = self._ingredients(out, answer, noise, guidance)
        if out.commit:
            new = self._commit(out, step, new, noise, made, answer)
        self._current, self._inside = new, None if out.commit else made

    def _noise_term(self, out: Output, step: int, answer: Answer | None) -> tuple[float, Tensor]:
        assert self.noise is not None
        z = self.noise(self._base, step, out.draw, self._base_point, out.point)
        if out.log_var is None:
            return out.noise, z
        return 1.0, z * learned_sigma(out.log_var, answer)

    def _ingredients(
        self,
        out: Output,
        answer: Answer | None,
        noise: tuple[float, Tensor] | None,
        guidance: Terms,
    ) -> Ingredients | None:
        """What the new state consists of, besides what it takes from the step's start; None where
        nobody asks."""
        if self._wanted is None:
            return None
        made = Ingredients(guidance=list(guidance), diversity=[noise] if noise is not None else [])
        if answer is not None:
            answer.ingredients(out, self._known, self._wanted, made)
        return made

    def _commit(
        self,
        out: Output,
        step: int,
        new: Tensor,
        noise: tuple[float, Tensor] | None,
        made: Ingredients | None,
        answer: Answer | None,
    ) -> Tensor:
        """End a step: the state that the displacement transforms make of the proposal ``new``."""
        kick = noise[1] * noise[0] if noise is not None and self._displacements else None
        # Made only for who asks: the denoising part costs passes over memory.
        guided = answer is not None and answer.guided
        parts = made.parts(new) if made is not None and guided else None
        for i, (transform, state) in enumerate(self._displacements):
            commit = Commit(
                step, self._base, self._base_point, new, out.point, kick, parts, out.noise or None
            )
            new, state = transform.update(state, commit)
            self._displacements[i] = transform, state
        self._base, self._base_point = new, out.point
        self._committed += 1
        self._end_step(out.point, answer)
        return new

    def _end_step(self, point: Point, answer: Answer | None) -> None:
        """A step has ended at ``point``: its evaluations are now those of an earlier one, but for
        one taken there."""
        for one in self._known:
            if one is not None:
                one.forget(keep_guidance=False)
        if answer is not None and answer.evaluated is not None:
            answer.evaluated.forget(keep_guidance=answer.row.at == point)

    def _remember(self, answer: Answer) -> None:
        """Bring the history to what the row keeps: 0 is this evaluation, k the k-th newest."""
        row = answer.row
        self._history = [answer.kept() if k == 0 else self._history[k - 1] for k in row.keep]
        newest: Evaluated | None = answer.evaluated
        self._known = [newest if k == 0 else self._known[k - 1] for k in row.keep]
        if newest is not None and 0 in row.keep:
            value = self._history[row.keep.index(0)]
            newest.store(row.keep_basis or row.basis, value, self._wanted)
