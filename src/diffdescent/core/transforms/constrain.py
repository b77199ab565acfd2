"""Constraints on the clean-image estimate: its projection on a set, or a proximal step towards
it."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from torch import Tensor

from diffdescent.base.reading import read_bytes
from diffdescent.core.constraints import ConstraintSet, bound_set, parse_constraints
from diffdescent.core.options import In

from .base import Estimate, Evaluation, register
from .threshold import EpsRule

Share = Annotated[float, In(0, 1, hint="0 changes nothing, 1 is the whole way")]
Relaxation = Annotated[
    float, In(0, 2, hint="0 changes nothing, 1 is the whole way, 2 the mirror image")
]
Tolerance = Annotated[float, In(0, ends="[)", hint="0 projects, else the deviation allowed")]


class Constraining(Estimate):
    """What :class:`Constrain` and :class:`Project` share: x0 ← x0 + share·k·(P x0 − x0), with P the
    projection on a set and

        k = σ̃²/(σ̃² + tolerance²),  σ̃ = σ/α.

    At tolerance 0 it is the projection (k = 1). Else it is the minimum of ‖z − x0‖²/2σ̃² +
    dist(z)²/2·tolerance², the proximal step for an estimate that is σ̃ wrong: the set holds while
    the noise is larger than the tolerance, and the estimate is free below. ``eps`` as in
    :class:`~diffdescent.core.transforms.Threshold`.
    """

    share: Relaxation
    tolerance: Tolerance
    eps: EpsRule
    linear: ClassVar[bool] = False

    @property
    def keeps_eps(self) -> bool:
        return self.eps == "keep"

    @abstractmethod
    def allowed(self, x0: Tensor) -> ConstraintSet | None:
        """The set for images such as ``x0``; None where everything is allowed."""

    def correct(self, evaluation: Evaluation) -> Tensor | None:
        x0, at = evaluation.x0, evaluation.at
        allowed = self.allowed(x0)
        if allowed is None:
            return None
        k = at.sigma**2 / (at.sigma**2 + (self.tolerance * at.alpha) ** 2) if self.tolerance else 1
        return (allowed.project(x0) - x0) * (self.share * k)


@register("constrain")
@dataclass(frozen=True)
class Constrain(Constraining):
    """The estimate of the image keeps constraints: ``sets`` is their text, such as ``"box"`` or
    ``"symmetry(horizontal) & box"`` (:mod:`diffdescent.core.constraints`).

    Between several sets Dykstra's projections find the nearest image that is in all of them. Over
    DDIM, whose step is one of gradient descent on the distance to the data, this is projected
    gradient descent. Without sets, and at ``share`` 0, it is the sampler beneath to the bit.

    Raises:
        UserError: texts that cannot be read, and in a run for sizes that do not fit.
    """

    sets: str = ""
    share: Share = 1.0
    tolerance: Tolerance = 0.0
    eps: EpsRule = "recompute"
    neutral: ClassVar = {"sets": ""}

    def check_together(self) -> None:
        parse_constraints(self.sets)

    @property
    def contents(self) -> Mapping[str, str]:
        """Of the files that the sets name, as they are now: they are read when images come."""
        named = [file for one in parse_constraints(self.sets) for file in one.files]
        paths = {file: Path(file) for file in named if Path(file).is_file()}
        return {file: hashlib.sha256(read_bytes(p)).hexdigest()[:16] for file, p in paths.items()}

    def allowed(self, x0: Tensor) -> ConstraintSet | None:
        return bound_set(self.sets, tuple(x0.shape[1:]), x0.device, x0.dtype)


@dataclass(frozen=True, eq=False)
class Project(Constraining):
    """As :class:`Constrain` for a set of your own: a :class:`ConstraintSet`, which may have another
    condition for each sample of the batch."""

    allows: ConstraintSet
    share: Relaxation = 1.0
    tolerance: Tolerance = 0.0
    eps: EpsRule = "recompute"
    name: ClassVar[str] = "project"

    def allowed(self, x0: Tensor) -> ConstraintSet:
        return self.allows
