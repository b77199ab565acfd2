"""Guidance by the gradient of a log-probability (Dhariwal and Nichol 2021, algorithms 1 and 2).

A :class:`Guide` is a gradient in an image; :class:`Guided` puts it beside a model's evaluations.
The image is x_t, for guides that know noise, or the estimate x̂0, for guides trained on clean
images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Protocol, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.guidance_terms import GuidanceTerms, Shift
from diffdescent.core.model_info import ModelInfo, info
from diffdescent.core.options import check_option, finite
from diffdescent.core.predict import Prediction
from diffdescent.core.process import Point

from .wrapper import Wrapper

Sight = Literal["x", "x0", "x0_frozen"]
GradientScale = Annotated[float, finite("1 is the true posterior, 0 no guidance")]


class Guide(Protocol):
    """A gradient: (image, point, labels) ↦ ∇ log p(y | image), of the image's shape, in float32 or
    better.

    ``point`` is the image's noise level, with σ = 0 for an estimate of x0. A guide may say what its
    labels mean by attributes ``label_count`` and ``classes``, and which weights it has by
    ``fingerprint``.
    """

    def __call__(self, x: Tensor, point: Point, labels: Tensor | None) -> Tensor: ...


def gradient_of(
    value: Callable[[Tensor], Tensor], x: Tensor, dtype: torch.dtype | None, what: str
) -> Tensor:
    """∇_x Σ_i value(x)_i in float32 or better, x handed over in ``dtype`` (None: its own), the
    graph freed at once.

    Each sample's value depends on its own x alone, so that the sum's gradient is every sample's
    own. ``what`` is what the message calls the function. Raises :class:`UserError` for values that
    are not one number a sample, and for ones that x has no part in.
    """
    with torch.enable_grad():
        leaf = x.detach().to(dtype or x.dtype).requires_grad_()
        values = value(leaf)
        if values.shape != x.shape[:1]:
            raise UserError(
                f"{what} must give one number a sample, shape ({len(x)},), not"
                f" {tuple(values.shape)}."
            )
        gradient = (
            torch.autograd.grad(values.sum(), leaf, allow_unused=True)[0]
            if values.requires_grad
            else None
        )
    if gradient is None:
        raise UserError(
            f"{what} has no gradient: its output does not depend on x; let it compute without"
            " no_grad, detach or integers."
        )
    return gradient.to(torch.promote_types(gradient.dtype, torch.float32))


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
    the weights in its record. Raises :class:`UserError` without labels, for fewer than two classes,
    and for logits that x has no part in.
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


@dataclass
class Guided(Wrapper):
    """``model`` with the gradient scale·∇log p(y | x_t) beside each evaluation, which the executor
    adds to the step.

    ``shift``: ``"mean"`` moves the mean of a stochastic step by its variance times the gradient;
    ``"score"`` adds the gradient to the score, ε −= σ·gradient, and serves deterministic steps too.
    Either way the evaluation itself, what thresholds see and what multistep methods remember stay
    unguided. ``conditional`` hands the labels to the model too. Guided models nest: gradients of
    one shift add up.

    ``on`` is the image that the guide sees:

    * ``"x"``: x_t; the guide knows noise (Dhariwal and Nichol; GLIDE's noised CLIP).
    * ``"x0"``: the model's estimate x̂0(x_t), and the gradient goes through the network,
      (∂x̂0/∂x_t)ᵀ ∇log p(y | x̂0) (diffusion posterior sampling, Chung et al. 2023; universal
      guidance, Bansal et al. 2023). It shares the model's own evaluation and adds one backward
      pass, about twice its cost, and its activations for one micro-batch.
    * ``"x0_frozen"``: x̂0 with ε̂ held fixed, so that ∂x̂0/∂x_t = 1/α: no pass through the network,
      and a cruder gradient that is too long where noise is high.

    Raises :class:`UserError` for a scale that is not finite, unknown options, and a network that
    needs labels and gets none.
    """

    guide: Guide
    scale: float = 1.0
    shift: Shift = "mean"
    conditional: bool = False
    on: Sight = "x"

    def __post_init__(self) -> None:
        check_option("Guided", "scale", self.scale, GradientScale)
        if self.shift not in get_args(Shift):
            raise unknown("shift", self.shift, get_args(Shift))
        if self.on not in get_args(Sight):
            raise unknown("image for the guide", self.on, get_args(Sight))
        super().__post_init__()
        if self.info.needs_label and not self.conditional and not isinstance(self.model, Wrapper):
            raise UserError(
                f"The network {info(self.model).name!r} needs a label itself (it has no"
                " null class), beside the guide; say conditional=True, which hands the labels to"
                " both."
            )

    @property
    def info(self) -> ModelInfo:
        """The model's, with the labels that the guide knows in the first place."""
        own, guide = super().info, info(self.guide)
        return replace(
            own,
            label_count=guide.label_count or own.label_count,
            classes=guide.classes or own.classes,
        )

    @property
    def label(self) -> str:
        seen = "" if self.on == "x" else f", on={self.on}"
        return f"guided(scale={self.scale:g}, shift={self.shift}{seen})"

    def terms(self, value: Tensor) -> GuidanceTerms:
        return GuidanceTerms.gradient(self.shift, value)

    @property
    def sources(self) -> tuple[object, ...]:
        return (self.guide,)

    def unguided(self, x: Tensor, point: Point, cond: Tensor | None) -> Prediction:
        # A guided model inside needs the labels for its own guide.
        return self.model(
            x, point, cond if self.conditional or isinstance(self.model, Wrapper) else None
        )

    def guided(self, x: Tensor, point: Point, cond: Tensor | None) -> Prediction:
        if self.on == "x":
            prediction = self.unguided(x, point, cond)
            gradient = self.guide(x, point, cond)
        elif self.on == "x0_frozen":
            prediction = self.unguided(x, point, cond)
            slope = 1 / point.alpha if point.alpha else 0.0
            gradient = self._on_estimate(prediction.to("x0", x), point, cond) * slope
        else:
            prediction, gradient = self._through_network(x, point, cond)
        return replace(prediction, guidance=prediction.guidance + self.terms(gradient * self.scale))

    def _on_estimate(self, x0: Tensor, point: Point, cond: Tensor | None) -> Tensor:
        return self.guide(x0.detach(), Point(self.process.t_min, 1.0, 0.0), cond)

    def _through_network(
        self, x: Tensor, point: Point, cond: Tensor | None
    ) -> tuple[Prediction, Tensor]:
        """The evaluation, and (∂x̂0/∂x)ᵀ g with g the guide's gradient at x̂0. The guide's own
        graph is gone before the network's is walked."""
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            prediction = self.unguided(leaf, point, cond)
            if not prediction.raw.requires_grad:
                raise UserError(
                    "on='x0' takes the gradient through the network, and its output does not depend"
                    " on x; let it compute without no_grad or detach, or use on='x0_frozen'."
                )
            x0 = prediction.to("x0", leaf)
            upstream = self._on_estimate(x0, point, cond)
            (gradient,) = torch.autograd.grad(x0, leaf, upstream.to(x0.dtype))
        variance = None if prediction.variance is None else prediction.variance.detach()
        detached = Prediction(
            prediction.raw.detach(),
            prediction.conversion,
            variance,
            prediction.guidance.map(Tensor.detach),
        )
        return detached, gradient.to(torch.promote_types(gradient.dtype, torch.float32))
