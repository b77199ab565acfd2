"""What a constraint is: frozen options, and the set of images of one shape that keep it.

A new one is a frozen dataclass over :class:`Constraint`, made known to texts by :func:`register`;
it then joins the suite over every registered constraint with each of its ``variants``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.grammar import print_element
from diffdescent.core.linear import inner
from diffdescent.core.namespace import CONSTRAINT_NAMES
from diffdescent.core.options import Options

Shape = tuple[int, ...]


class ConstraintSet(ABC):
    """A closed set of images, given by its projection. Tensors have the batch first.

    ``convex`` and ``affine`` say what it is: Dykstra's corrections are for convex sets, and affine
    ones need none.
    """

    convex: bool = True
    affine: bool = False

    @abstractmethod
    def project(self, x: Tensor) -> Tensor:
        """The point of the set that is nearest to each sample of ``x`` (B, C, H, W); one of them
        where there are several. ``x`` stays as it is."""

    def distance(self, x: Tensor) -> Tensor:
        """‖x − P x‖ of each sample, (B,)."""
        apart = x - self.project(x)
        return inner(apart, apart).flatten().sqrt()


class Constraint(Options, ABC):
    """A condition on images of any size; :meth:`bind` makes the set of those of one.

    ``images`` and ``projection`` are for people: which images keep it, and what the nearest of them
    is. ``variants`` are the sets of options with which it joins the tests, ``({},)`` by default.
    """

    name: ClassVar[str]
    images: ClassVar[str] = "the images of this set"
    projection: ClassVar[str] = "the set's own projection"
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)

    def bind(
        self,
        shape: Shape,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> ConstraintSet:
        """The images of ``shape`` (C, H, W) that keep it.

        Raises:
            UserError: a size that does not fit.
        """
        if len(shape) != 3 or min(shape) < 1:
            raise UserError(
                f"The constraint {self.name!r} is one on images of shape (channels, height, width),"
                f" not {tuple(shape)}."
            )
        return self.fit(tuple(shape), dtype, torch.device(device))

    @property
    def files(self) -> tuple[str, ...]:
        """The files that it reads: an ``image``, where it has that option."""
        image = getattr(self, "image", "")
        return (image,) if image else ()

    @abstractmethod
    def fit(self, shape: Shape, dtype: torch.dtype, device: torch.device) -> ConstraintSet:
        """As :meth:`bind`, with arguments that are checked."""

    def __str__(self) -> str:
        return print_element(self)


CONSTRAINTS: dict[str, type[Constraint]] = CONSTRAINT_NAMES.table("constraint")
"""The constraints that a text can name."""
T = TypeVar("T", bound=type[Constraint])


def register(name: str) -> Callable[[T], T]:
    """Make a constraint known by ``name`` to texts and to the suite over all of them.

    Args:
        name: a word in lower case.

    Returns:
        What decorates the class, a frozen dataclass.

    Raises:
        UserError: a name that is taken and a class that is not a frozen dataclass.
    """

    return CONSTRAINT_NAMES.frozen("constraint", name)
