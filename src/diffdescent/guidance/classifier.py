"""Guidance by the gradient of a log-probability (Dhariwal and Nichol 2021, algorithms 1 and 2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError, unknown
from ..predict import Prediction
from ..process import Point
from .wrapper import Wrapper

Shift = Literal["mean", "score"]


class Guide(Protocol):
    """A gradient: (x, point, labels) ↦ ∇_x log p(y | x), of x's shape, in float32 or better."""

    def __call__(self, x: Tensor, point: Point, labels: Tensor | None) -> Tensor: ...


def log_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """log softmax(logits)[label], (B, classes) and (B,) → (B,); 0 for the label −1.

    Written as −log(1 + exp(u)) with u = logsumexp_{j≠y}(l_j) − l_y: the gradient of a sure classifier is then small
    and still right in every digit, where 1 − p_y would round to zero. A projection looks at its direction alone.
    """
    index = labels.clamp(min=0)[:, None]
    others = logits.scatter(1, index, -math.inf).logsumexp(1)
    value = F.logsigmoid(logits.gather(1, index)[:, 0] - others)
    return torch.where(labels >= 0, value, 0.0)


@dataclass(frozen=True)
class Classifier:
    """A noise-aware classifier as a :class:`Guide`.

    ``logits(x, point)`` are (B, classes), differentiable in x; they are divided by ``temperature``. x is handed over in
    ``dtype`` (None: its own). ``label_count`` is the number of classes, where labels should be checked before a run.
    Raises :class:`UserError` without labels, for fewer than two classes, and for logits that x has no part in.
    """

    logits: Callable[[Tensor, Point], Tensor]
    temperature: float = 1.0
    dtype: torch.dtype | None = None
    label_count: int | None = None

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise UserError(f"The classifier's temperature must be positive, not {self.temperature}; 1 leaves it be.")

    def __call__(self, x: Tensor, point: Point, labels: Tensor | None) -> Tensor:
        if labels is None:
            raise UserError("Classifier guidance needs to know the class; give labels, one for each sample.")
        with torch.enable_grad():
            leaf = x.detach().to(self.dtype or x.dtype).requires_grad_()
            logits = self.logits(leaf, point)
            if logits.ndim != 2 or logits.shape[1] < 2:
                raise UserError(f"A classifier returns (samples, classes ≥ 2), not {tuple(logits.shape)}.")
            total = log_probability(logits / self.temperature, labels).sum()
            gradient = torch.autograd.grad(total, leaf, allow_unused=True)[0] if total.requires_grad else None
        if gradient is None:
            raise UserError("The classifier has no gradient in its image; let it compute without no_grad or detach.")
        return gradient.to(torch.promote_types(gradient.dtype, torch.float32))


@dataclass
class Guided(Wrapper):
    """``model`` with the gradient scale·∇log p(y | x_t) beside each evaluation, which the executor adds to the step.

    ``shift``: ``"mean"`` moves the mean of a stochastic step by its variance times the gradient; ``"score"`` adds the
    gradient to the score, ε −= σ·gradient, and serves deterministic steps too. Either way the evaluation itself, what
    thresholds see and what multistep methods remember stay unguided. ``conditional`` hands the labels to the model
    too. Guided models nest: gradients of one shift add up. Raises :class:`UserError` for a scale that is not finite.
    """

    guide: Guide
    scale: float = 1.0
    shift: Shift = "mean"
    conditional: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale):
            raise UserError(f"The guidance scale must be a finite number, not {self.scale}; 1 is the true posterior.")
        if self.shift not in get_args(Shift):
            raise unknown("shift", self.shift, get_args(Shift))
        super().__post_init__()
        self.label_count = getattr(self.guide, "label_count", None) or self.label_count

    @property
    def label(self) -> str:
        return f"guided(scale={self.scale:g}, shift={self.shift})"

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        # A guided model inside needs the labels for its own guide.
        inside = cond if self.conditional or isinstance(self.model, Wrapper) else None
        prediction = self.model(x, point, inside)
        gradient = self.guide(x, point, cond) * self.scale
        if self.shift in prediction.parts:
            gradient = prediction.parts[self.shift] + gradient
        return replace(prediction, parts={**prediction.parts, self.shift: gradient})
