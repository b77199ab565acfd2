"""Guidance by the gradient of a log-probability (Dhariwal and Nichol 2021, algorithms 1 and 2).

A :class:`Guide` is a gradient in an image; :class:`Guided` leaves it with a model's evaluations.
The image is x_t, for guides that know noise, or the estimate x̂0, for guides trained on clean
images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, get_args

from torch import Tensor

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.guidance_terms import GuidanceTerms, Shift
from diffdescent.core.model_info import ModelInfo, info
from diffdescent.core.options import check_option, finite
from diffdescent.core.predict import Prediction
from diffdescent.core.process import Point

from .guide import Guide, check_gradient, for_places
from .through import trace
from .wrapper import Wrapper

Sight = Literal["x", "x0", "x0_frozen"]
GradientScale = Annotated[float, finite("1 is the true posterior, 0 no guidance")]


@dataclass(repr=False)
class Guided(Wrapper):
    """``model`` with the gradient scale·∇log p(y | x_t) left with each evaluation, which the
    executor adds to the step.

    ``shift``: ``"mean"`` moves the mean of a stochastic step by its variance times the gradient;
    ``"score"`` adds the gradient to the score, ε −= σ·gradient, and serves deterministic steps too.
    Either way the evaluation itself, what thresholds see and what multistep methods remember stay
    unguided. It is asked for here, before the sampler is known, so there is no ``"auto"`` as in
    texts. ``conditional`` hands the labels to the model too. Guided models nest: gradients of one
    shift add up.

    ``on`` is the image that the guide sees:

    * ``"x"``: x_t; the guide knows noise (Dhariwal and Nichol; GLIDE's noised CLIP).
    * ``"x0"``: the model's estimate x̂0(x_t), and the gradient goes through the network,
      (∂x̂0/∂x_t)ᵀ ∇log p(y | x̂0) (diffusion posterior sampling, Chung et al. 2023; universal
      guidance, Bansal et al. 2023). It shares the model's own evaluation and adds one backward
      pass, about twice its cost, and its activations for one micro-batch.
    * ``"x0_frozen"``: x̂0 with ε̂ held fixed, so that ∂x̂0/∂x_t = 1/α: no pass through the network,
      and a cruder gradient that is too long where noise is high.

    Raises:
        UserError: a scale that is not finite, unknown options, a network that needs labels and gets
            none, and, when it is asked, a guide that gives no gradient of the image's shape in
            float32 or better.
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
                " null class), like the guide; say conditional=True, which hands the labels to"
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

    def for_places(self, places: Sequence[int]) -> Wrapper:
        inside, own = super().for_places(places), for_places(self.guide, places)
        return inside if own is self.guide else replace(inside, guide=own)  # type: ignore[call-arg]

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
            gradient = check_gradient(self.guide(x, point, cond), x)
        elif self.on == "x0_frozen":
            prediction = self.unguided(x, point, cond)
            slope = 1 / point.alpha if point.alpha else 0.0
            gradient = self._on_estimate(prediction.to("x0", x), point, cond) * slope
        else:
            prediction, gradient = self._through_network(x, point, cond)
        return replace(prediction, guidance=prediction.guidance + self.terms(gradient * self.scale))

    def _on_estimate(self, x0: Tensor, point: Point, cond: Tensor | None) -> Tensor:
        clean = Point(self.process.t_min, 1.0, 0.0)
        return check_gradient(self.guide(x0.detach(), clean, cond), x0)

    def _through_network(
        self, x: Tensor, point: Point, cond: Tensor | None
    ) -> tuple[Prediction, Tensor]:
        """The evaluation, and (∂x̂0/∂x)ᵀ g with g the guide's gradient at x̂0. The guide's own
        graph is gone before the network's is walked."""
        traced = trace(
            lambda leaf: self.unguided(leaf, point, cond), x, "on='x0'", ", or use on='x0_frozen'"
        )
        return traced.prediction, traced.pull(self._on_estimate(traced.x0, point, cond))
