"""Classifier-free guidance (Ho and Salimans 2022), D̃ = D_c + w(D_c − D_∅) with w = scale − 1, and
CFG++.

D_c and D_∅ are the estimates of x0 with and without the label. An interval of noise levels is every
wrapper's option. What acts on the direction w(D_c − D_∅) afterwards are transforms: APG, rescale
and PxP.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.guidance_terms import GuidanceTerms
from diffdescent.core.model_info import info
from diffdescent.core.options import In, check_option, finite, positive
from diffdescent.core.predict import Prediction, Predictor, conversion
from diffdescent.core.process import Point

from .wrapper import Wrapper

PlusScale = Annotated[float, In(0, 1, hint="CFG++ goes from no label to the label, not beyond")]
FreeScale = Annotated[float, finite("1 means no guidance")]
Clip = Annotated[float, positive("images in [−1, 1] want 1")]


@dataclass(repr=False)
class ClassifierFree(Wrapper):
    """``model`` with labels, pushed away from itself without (label −1), or from another
    ``unconditional`` model.

    ``scale`` 1 is the conditional model, 0 the unconditional one. ``clip`` clamps both estimates of
    x0 to [−clip, clip] before they are combined (the PixelAsParam code). ``together`` asks both
    questions in one batch; a convolution rounds differently at twice the width, so
    ``together=False`` is what makes scale 1 bit-identical to the conditional model. The direction
    w(D_c − D_u) stays known, as the ``direction`` of the prediction's guidance.

    Raises:
        UserError: without labels, for a scale that is not finite, for a model that was trained with
            labels alone, for an unconditional model of another process or shape, and around a model
            that is guided by a gradient.
    """

    scale: float = 1.5
    unconditional: Predictor | None = None
    clip: float | None = None
    together: bool = True
    allowed: ClassVar[Any] = FreeScale
    """What ``scale`` may be."""

    def __post_init__(self) -> None:
        check_option(type(self).__name__, "scale", self.scale, self.allowed)
        check_option("ClassifierFree", "clip", self.clip, Clip | None)
        super().__post_init__()
        if isinstance(self.model, Wrapper):
            raise UserError(
                "Classifier-free guidance goes around the network itself; put other guidance around"
                " it, as in Guided(ClassifierFree(model), …) or 'cfg(2) | classifier(1)'."
            )
        if self.unconditional is not None:
            self._check_fits(self.unconditional)
        if self.info.needs_label and self.unconditional is None:
            raise UserError(
                "Classifier-free guidance asks the model without a label too, and"
                f" {info(self.model).name!r} was trained with labels alone (it has no"
                " null class); give unconditional=, another model."
            )

    def _check_fits(self, other: Predictor) -> None:
        name = info(other).name
        if None not in (other.shape, self.shape) and tuple(other.shape or ()) != tuple(
            self.shape or ()
        ):
            raise UserError(
                f"{name!r} makes images of shape {other.shape}, the guided model of {self.shape}."
            )
        times = np.linspace(self.process.t_min, self.process.t_max, 9)
        ours, theirs = self.process.alpha_sigma(times), other.process.alpha_sigma(times)
        if not np.allclose(ours, theirs, rtol=1e-4):
            raise UserError(
                f"{name!r} has another process than the guided model (α and σ differ at the same"
                " time), so it cannot be asked about the same images; choose one that was trained"
                " on the same schedule."
            )

    @property
    def label(self) -> str:
        return f"cfg(scale={self.scale:g})"

    def terms(self, value: Tensor) -> GuidanceTerms:
        return GuidanceTerms(direction=value)

    @property
    def calls(self) -> int:
        return info(self.model).calls + info(self.unconditional or self.model).calls

    @property
    def sources(self) -> tuple[object, ...]:
        return () if self.unconditional is None else (self.unconditional,)

    def guided(self, x: Tensor, point: Point, cond: Tensor | None) -> Prediction:
        with_label, without = self._both(x, point, cond)
        direction = (with_label.raw - without.raw) * (self.scale - 1)
        raw = with_label.raw + direction
        return Prediction(raw, with_label.conversion, with_label.variance, self.terms(direction))

    def _both(self, x: Tensor, point: Point, cond: Tensor | None) -> tuple[Prediction, Prediction]:
        """The predictions with and without the label, in one parameterisation and in float32 or
        better: guidance magnifies their difference."""
        if cond is None:
            raise UserError(
                "Classifier-free guidance needs to know the class; give labels, one for each"
                " sample."
            )
        with_label, without = pair = tuple(_widened(p) for p in self._asked(x, point, cond))
        if self.clip is None and with_label.conversion == without.conversion:
            return with_label, without
        how = conversion("x0", point)
        with_label, without = (Prediction(self._x0(p, x), how, p.variance) for p in pair)
        return with_label, without

    def _x0(self, prediction: Prediction, x: Tensor) -> Tensor:
        x0 = prediction.to("x0", x)
        return x0 if self.clip is None else x0.clamp(-self.clip, self.clip)

    def _asked(self, x: Tensor, point: Point, cond: Tensor) -> tuple[Prediction, Prediction]:
        none = torch.full_like(cond, -1)
        if self.unconditional is not None:
            return self.model(x, point, cond), self.unconditional(x, point, None)
        if not self.together:
            return self.model(x, point, cond), self.model(x, point, none)
        both = self.model(torch.cat([x, x]), point, torch.cat([cond, none]))
        raw, other = both.raw.chunk(2)
        variance = None if both.variance is None else both.variance.chunk(2)[0]
        return Prediction(raw, both.conversion, variance), Prediction(other, both.conversion)


@dataclass(repr=False)
class ClassifierFreePlus(ClassifierFree):
    """CFG++ (Chung et al. 2024, algorithm 2): guidance in x0, renoised with the unconditional ε.

    A step of DDIM becomes x_s = α_s (D_∅ + λ(D_c − D_∅)) + σ_s ε_∅, with λ = ``scale`` in
    [0, 1]. The evaluation is the unconditional one, and λ(D_c − D_∅) the ``x0`` of its guidance,
    which the executor adds to x0 alone: ε does not follow. Any other sampler takes its own step
    from D_∅ (a multistep one remembers D_∅) and adds α_s λ(D_c − D_∅); one evaluation that makes
    two states (UniPC) is refused. ``scale`` 0 is the unconditional model.

    Raises:
        UserError: as :class:`ClassifierFree` does.
    """

    scale: float = 0.6
    allowed: ClassVar[Any] = PlusScale

    @property
    def label(self) -> str:
        return f"cfgpp(scale={self.scale:g})"

    def terms(self, value: Tensor) -> GuidanceTerms:
        return GuidanceTerms(x0=value)

    def guided(self, x: Tensor, point: Point, cond: Tensor | None) -> Prediction:
        with_label, without = self._both(x, point, cond)
        per_raw = without.conversion.x0.raw
        aside = (with_label.raw - without.raw) * (self.scale * per_raw)
        return Prediction(without.raw, without.conversion, with_label.variance, self.terms(aside))


def _widened(prediction: Prediction) -> Prediction:
    raw = prediction.raw
    return replace(prediction, raw=raw.to(torch.promote_types(raw.dtype, torch.float32)))
