"""One run of a pipeline: the engine, the noise that a pipeline draws, and what is handed back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.executor import Executor
from diffdescent.core.guidance_terms import UNGUIDED
from diffdescent.core.noise import Keyed
from diffdescent.core.predict import Conversion, Kind, Prediction, conversion
from diffdescent.core.process import Point
from diffdescent.core.transforms import Estimate, Evaluation

from .guidance import Guidance
from .laid_out import LaidOut, asked

Generators = torch.Generator | list[torch.Generator] | None


class Seen(Estimate):
    """An estimate transform that changes nothing and keeps x0: ``pred_original_sample``."""

    name: ClassVar[str] = "seen"
    linear: ClassVar[bool] = False
    x0: Tensor

    def correct(self, evaluation: Evaluation) -> None:
        self.x0 = evaluation.x0


class PipelineNoise:
    """Noise as diffusers draws it: from the generator (or the list of them) that a step is given,
    in the network's dtype, or the noise that it is given itself."""

    def __init__(self) -> None:
        self.generator: Generators = None
        self.given: Tensor | None = None
        self.dtype = torch.float32

    def initial(self, shape: Sequence[int]) -> Tensor:
        raise NotImplementedError("a pipeline draws its own latents")

    def __call__(self, x: Tensor, step: int, draw: int, src: Point, dst: Point) -> Tensor:
        if self.given is not None:
            return self.given.to(x.dtype)
        drawn: Tensor = randn_tensor(
            x.shape, generator=self.generator, device=x.device, dtype=self.dtype
        )
        return drawn.to(x.dtype)


@dataclass
class PipelineRun:
    """One run of a pipeline.

    ``index`` is the next timestep's, and ``begin`` where the run's first step begins: until then it
    waits. ``given`` is the state handed out last, with its version: it is the executor's own unless
    somebody has changed it. ``remembers``: transforms keep earlier states.
    """

    executor: Executor
    conversions: list[Conversion]
    seen: Seen | None
    noise: PipelineNoise | None
    begin: int
    index: int
    eta: float
    remembers: bool
    shape: torch.Size
    given: Tensor | None = None
    version: int = -1

    def tell(self, prediction: Prediction, sample: Tensor) -> Tensor:
        """Advance by one evaluation at ``sample``; the next state, in the sample's dtype."""
        if self.index < self.begin:
            self.index += 1
            return sample
        executor = self.executor
        executor.tell(prediction, None if self._unchanged(sample) else sample)
        given = executor.current
        # What a caller does to it in place must reach the engine as an edit, not as another base or
        # memory.
        shared = given is executor.x and not self.remembers
        if not shared or given.dtype != sample.dtype:
            given = given.to(sample.dtype, copy=not shared)
        self.given, self.version = given, -1 if given.is_inference() else given._version
        self.index += 1
        return given

    def prediction(self, output: Tensor, sample: Tensor, guidance: Guidance | None) -> Prediction:
        """The network's ``output`` at ``sample``; what is attached may replace it.

        Raises:
            UserError: shapes that do not fit.
        """
        if not isinstance(output, Tensor):
            raise UserError(
                f"model_output is a {type(output).__name__}, not a tensor; pass the network's"
                " .sample, or its [0]."
            )
        variance, shape, terms = None, sample.shape, UNGUIDED
        if shape != self.shape:
            raise UserError(
                f"The run began with a sample of shape {tuple(self.shape)}, and is given one of"
                f" shape {tuple(shape)}; call set_timesteps before another run."
            )
        if output.shape != shape:
            if output.ndim > 1 and output.shape[1] == 2 * shape[1]:
                output, variance = output.chunk(2, dim=1)
            if output.shape != shape:
                raise UserError(
                    f"model_output has the shape {tuple(output.shape)}, for a sample of shape"
                    f" {tuple(shape)}; they must be equal (twice the channels where the variance is"
                    " learned)."
                )
        if guidance is not None:
            output, terms = guidance.take(output)
        how = self.conversions[max(self.index - self.begin, 0)]
        return Prediction(output, how, variance, terms)

    def _unchanged(self, sample: Tensor) -> bool:
        return sample is self.given and self.version >= 0 and sample._version == self.version


@dataclass
class DescentSchedulerOutput(BaseOutput):  # type: ignore[misc]
    """What ``step`` returns: the next state, and the clean image that was estimated (after the
    recipe's thresholds)."""

    prev_sample: Tensor
    pred_original_sample: Tensor


def begin_run(
    laid: LaidOut,
    kind: Kind,
    first: int,
    sample: Tensor,
    *,
    eta: float,
    clipped: bool,
    half: bool,
    noise_seed: int | None,
    guidance: Guidance | None,
) -> PipelineRun:
    """A run from evaluation ``first`` on, its plan made for the levels that are left.

    ``guidance`` is what is attached. The evaluations of a float16 network
    (``half``) are recorded for :meth:`.DescentScheduler.check`.

    Raises:
        UserError: where no run can begin.
    """
    rows = laid.plan.rows
    if not 0 <= first < len(rows):
        raise UserError(
            f"There is no timestep {first} in a run of {len(rows)}; call set_timesteps before"
            " another run."
        )
    begin = laid.step_from(first)
    recipe = asked(laid.recipe, eta, clipped)
    plan = laid.tail(recipe, begin)
    if plan.start and plan.spectral is not None:
        raise UserError(
            f"{plan.name} scales the noise before the first evaluation, which a pipeline has"
            " already made; calibrate it with --plain-start."
        )
    if plan.start:
        raise UserError(
            f"{plan.name} raises the noise before the first evaluation, which a pipeline has"
            f" already made; set its s_max below σ/α = {plan.grid.ratio[0]:.4g}."
        )
    drawn = PipelineNoise() if noise_seed is None else None
    before, after = ((), ()) if guidance is None else guidance.around(sample)
    estimates = (*before, *recipe.estimates, *after)
    seen = Seen() if estimates else None  # else x0 is the network's own
    executor = Executor(
        plan,
        sample,
        noise=drawn or Keyed(int(noise_seed or 0), torch.arange(len(sample), device=sample.device)),
        estimates=(*estimates, seen) if seen is not None else (),
        displacements=recipe.displacements,
        dtype=torch.float64 if sample.dtype == torch.float64 else torch.float32,
        record=half,
    )
    return PipelineRun(
        executor,
        [conversion(kind, row.at) for row in rows[begin:]],
        seen,
        drawn,
        begin,
        first,
        eta,
        bool(recipe.displacements),
        sample.shape,
    )
