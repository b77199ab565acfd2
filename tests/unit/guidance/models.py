"""Small exact models with classes, and one guided step: what the guidance suites run over."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.core.executor import Executor
from diffdescent.core.guidance_terms import Shift
from diffdescent.core.noise import Keyed
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Prediction
from diffdescent.core.process import Point
from diffdescent.core.transforms import Displacement, Estimate
from diffdescent.guidance import Classifier, Guided
from diffdescent.models.mixture import Mixture
from diffdescent.run import evaluate

VP = dd.VP.named("linear")
LABELS = torch.tensor([0, 1, 2, 1, 0])


def mixture() -> Mixture:
    """Three classes of one Gaussian each, (3, 6, 5), overlapping enough for gradients and conflicts
    at every level."""
    generator = torch.Generator().manual_seed(2)
    means = torch.randn(3, 3, 6, 5, generator=generator) * 0.4
    variances = torch.rand(3, 3, 6, 5, generator=generator) * 0.3 + 0.1
    return Mixture(torch.tensor([0.5, 0.3, 0.2]), means, variances, VP, labels=torch.arange(3))


def guided(scale: float = 1.0, shift: Shift = "mean") -> Guided:
    exact = mixture()
    return Guided(exact, Classifier(exact.class_log_prob, label_count=3), scale, shift)


def run(
    plan: Plan,
    model: dd.Predictor,
    samples: tuple[int, ...] = (0, 1, 2, 3, 4),
    *,
    displacements: tuple[Displacement, ...] = (),
    estimates: tuple[Estimate, ...] = (),
    silent: int | None = None,
    dtype: torch.dtype = torch.float64,
    width: int = 5,
) -> Tensor:
    """The result for samples 0 … 4 with their own labels and noise; ``silent`` is one without a
    gradient.

    The model sees ``width`` samples at a time: a matrix product rounds differently at another place
    in the batch.
    """
    index = torch.tensor(samples)
    noise = Keyed(4, index)
    x = noise.initial((3, 6, 5)).to(dtype)
    machine = Executor(
        plan, x, noise=noise, displacements=displacements, estimates=estimates, dtype=dtype
    )
    while not machine.done:
        query = machine.ask()
        prediction = evaluate(model, query, LABELS[index], width)
        machine.tell(prediction if silent is None else _silenced(prediction, silent))
    return machine.x


def _silenced(prediction: Prediction, which: int) -> Prediction:
    heard = torch.ones(len(prediction.raw), dtype=torch.bool)
    heard[which] = False

    def silenced(term: Tensor) -> Tensor:
        return torch.where(heard.view(-1, *[1] * (term.ndim - 1)), term, 0.0)

    return replace(prediction, guidance=prediction.guidance.map(silenced))


class NoGradient:
    """A predictor that gives ``inner``'s evaluations and nothing beside them."""

    def __init__(self, inner: dd.Predictor) -> None:
        self.inner, self.process, self.shape = inner, inner.process, inner.shape

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        return self.inner(x, point, None)
