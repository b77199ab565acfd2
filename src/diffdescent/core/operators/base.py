"""What a measurement operator is: frozen options, and a function that fits it to a size of image.

A new one is a frozen dataclass over :class:`Operator`, made known to texts by :func:`register`; it
then joins the suite over every registered operator with each of its ``variants``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import torch

from diffdescent.base.errors import UserError
from diffdescent.core.grammar import print_element
from diffdescent.core.namespace import OPERATOR_NAMES
from diffdescent.core.options import Options

from .bound import Bound, Shape


class Operator(Options, ABC):
    """A measurement y = A(x) of images of any size; :meth:`bind` fits it to one.

    ``variants`` are the sets of options with which it joins the tests, ``({},)`` by default.
    """

    name: ClassVar[str]
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)

    def bind(
        self,
        shape: Shape,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Bound:
        """The operator on images of ``shape`` (C, H, W); a linear one is a
        :class:`~diffdescent.core.operators.Linear`.

        ``seed`` draws what is random in it: the same numbers on every device. Its numbers are
        computed in float64 and kept in ``dtype``, float32 or float64.

        Raises:
            UserError: a size that does not fit.
        """
        if len(shape) != 3 or min(shape) < 1:
            raise UserError(
                f"{self.name} measures images of shape (channels, height, width), not"
                f" {tuple(shape)}."
            )
        if dtype not in (torch.float32, torch.float64):
            raise UserError(f"{self.name} computes in float32 or float64, not {dtype}.")
        return self.fit(tuple(shape), seed, dtype, torch.device(device))

    @property
    def files(self) -> tuple[str, ...]:
        """The files that it reads: a ``file``, where it has that option."""
        file = getattr(self, "file", "")
        return (file,) if file else ()

    @abstractmethod
    def fit(self, shape: Shape, seed: int, dtype: torch.dtype, device: torch.device) -> Bound:
        """As :meth:`bind`, with arguments that are checked."""

    def __str__(self) -> str:
        return print_element(self)


OPERATORS: dict[str, type[Operator]] = OPERATOR_NAMES.table("operator")
"""The operators that a text can name."""
T = TypeVar("T", bound=type[Operator])


def register(name: str) -> Callable[[T], T]:
    """Make an operator known by ``name`` to texts and to the suite over all of them.

    Args:
        name: a word in lower case.

    Returns:
        What decorates the class, a frozen dataclass.

    Raises:
        UserError: a name that is taken and a class that is not a frozen dataclass.
    """

    return OPERATOR_NAMES.frozen("operator", name)
