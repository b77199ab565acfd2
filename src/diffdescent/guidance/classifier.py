"""Classifiers as guides (Dhariwal and Nichol 2021): the gradient of log p(y | x)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.process import Point

from .guide import gradient_of


def log_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """log softmax(logits)[label], (B, classes) and (B,) → (B,); 0 for the label −1.

    Written as −log(1 + exp(u)) with u = logsumexp_{j≠y}(l_j) − l_y: the gradient of a sure
    classifier is then small and still right in every digit, where 1 − p_y would round to zero. A
    projection looks at its direction alone.
    """
    index = labels.clamp(min=0)[:, None]
    others = logits.scatter(1, index, -math.inf).logsumexp(1)
    value = F.logsigmoid(logits.gather(1, index)[:, 0] - others)
    return torch.where(labels >= 0, value, 0.0)


@dataclass(frozen=True)
class Classifier:
    """A classifier as a :class:`Guide`.

    ``logits(x, point)`` are (B, classes), differentiable in x; they are divided by ``temperature``.
    x is handed over in ``dtype`` (None: its own). ``label_count`` is the number of classes and
    ``classes`` their names, where labels should be checked before a run; ``fingerprint`` identifies
    the weights in its record.

    Raises:
        UserError: without labels, for fewer than two classes, and logits that x has no part in.
    """

    logits: Callable[[Tensor, Point], Tensor]
    temperature: float = 1.0
    dtype: torch.dtype | None = None
    label_count: int | None = None
    classes: Sequence[str] | None = None
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise UserError(
                f"The classifier's temperature must be positive, not {self.temperature}; 1 leaves"
                " it be."
            )

    def __call__(self, x: Tensor, point: Point, labels: Tensor | None) -> Tensor:
        if labels is None:
            raise UserError(
                "Classifier guidance needs to know the class; give labels, one for each sample."
            )

        def value(leaf: Tensor) -> Tensor:
            logits = self.logits(leaf, point)
            if logits.ndim != 2 or logits.shape[1] < 2:
                raise UserError(
                    f"A classifier returns (samples, classes ≥ 2), not {tuple(logits.shape)}."
                )
            return log_probability(logits / self.temperature, labels)

        return gradient_of(value, x, self.dtype, "The classifier")
