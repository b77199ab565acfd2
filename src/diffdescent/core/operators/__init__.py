"""Measurement operators y = A(x): what an inverse problem has measured of an image. Importing the
package registers them all."""

from .base import OPERATORS, Operator, register
from .bound import Bound, Linear
from .parse import parse_operator

# isort: split
# What an operator's file imports from here stands above; the operators follow.
from .blur import Blur, BoxBlur
from .downsample import Downsample
from .mask import Mask, Masked
from .separable import Separable

__all__ = [
    "OPERATORS",
    "Blur",
    "Bound",
    "BoxBlur",
    "Downsample",
    "Linear",
    "Mask",
    "Masked",
    "Operator",
    "Separable",
    "parse_operator",
    "register",
]
