"""What a restoration method is: frozen options, and what they make of a model and a measurement.

A new one is a frozen dataclass over :class:`Method`, made known to texts by :func:`method`; it then
joins the suite over every registered method.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar

from diffdescent.base.errors import UserError
from diffdescent.core.measurement import Measurement
from diffdescent.core.namespace import Namespace
from diffdescent.core.operators import Bound, Linear
from diffdescent.core.options import In, Options, check_frozen, positive
from diffdescent.core.predict import Predictor
from diffdescent.core.spectrum.power import Spectrum, parse_spectrum
from diffdescent.core.transforms.base import Transform

Weight = Annotated[float, In(0, ends="[)", hint="1 is the method, 0 the sampler alone")]
Spread = Annotated[float, positive("the standard deviation of the images; inf asks for none")]
Share = Annotated[float, In(0, 1, hint="0 draws no new noise, 1 all of it")]
Applied = tuple[Predictor, tuple[Transform, ...]]


def spectrum_of(text: str) -> Spectrum | None:
    """The power spectrum that a method is given; None for an empty text. Raises :class:`UserError`
    for one that cannot be read."""
    return parse_spectrum(text) if text else None


@dataclass(frozen=True)
class Method(Options, ABC):
    """A way to make a sampler answer for y = A(x0) + σ_n n.

    ``weight`` scales what the method changes; at 0 the images are the sampler's own, to the bit.
    Each class says which classical ``algorithm`` it is, its ``rule`` as one formula and its
    ``source``. ``takes_smooth``: a differentiable function serves in place of a linear operator;
    ``of_estimate``: it changes the estimate alone, and asks for no gradient of the network.
    """

    weight: Weight = 1.0
    name: ClassVar[str]
    algorithm: ClassVar[str]
    rule: ClassVar[str]
    source: ClassVar[str]
    needs_linear: ClassVar[bool] = True
    needs_svd: ClassVar[bool] = False
    needs_projection: ClassVar[bool] = False
    takes_smooth: ClassVar[bool] = False
    of_estimate: ClassVar[bool] = False

    @property
    def sampler(self) -> str:
        """The recipe that it comes with, where no other is asked for."""
        return "ddim"

    def check(self, operator: Bound, noise: float) -> None:
        """Raise :class:`UserError` for an operator that lacks what the method needs."""
        linear = isinstance(operator, Linear) or (self.takes_smooth and operator.smooth)
        if (self.needs_linear or self.needs_svd) and not linear:
            raise UserError(
                f"{self.name} needs a linear operator with an adjoint, and this one is not linear;"
                " use dps, which needs its gradient alone, or ddnm, which needs its projection."
            )
        if self.needs_svd and not (isinstance(operator, Linear) and operator.has_svd):
            raise UserError(
                f"{self.name} needs the operator's singular values, and this one has none; use"
                " diffpir, which solves by conjugate gradients, or dps."
            )
        if self.needs_projection and not operator.has_projection:
            raise UserError(
                f"{self.name} projects onto A(x) = y, and this operator has no projection; use dps."
            )

    @abstractmethod
    def apply(self, model: Predictor, measurement: Measurement) -> Applied:
        """The model and the transforms of a batch whose measurement this is."""


_NAMES = Namespace({})
METHODS: dict[str, type[Method]] = _NAMES.table("restoration method")
"""The restoration methods by name."""
M = TypeVar("M", bound=type[Any])


def method(name: str) -> Callable[[M], M]:
    """Make a restoration method known to texts by ``name``.

    Raises :class:`UserError` for a name that is taken, and for a class that is not a frozen
    dataclass or does not say which algorithm it is.
    """

    def add(cls: M) -> M:
        check_frozen(cls)
        for said in ("algorithm", "rule", "source"):
            if not hasattr(cls, said):
                raise UserError(
                    f"{cls.__name__} does not say its {said}, which explain prints; set {said} ="
                    ' "…" in the class.'
                )
        _NAMES.add("restoration method", name, cls)
        cls.name = name
        return cls

    return add
