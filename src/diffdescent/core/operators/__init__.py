"""Measurement operators y = A(x): what an inverse problem has measured of an image. Importing the
package registers them all."""

from .base import OPERATORS, Operator, register
from .bound import Bound, Linear
from .parse import parse_operator

# isort: split
# What an operator's file imports from here stands above; the operators follow.
from .adapter import DeepInv
from .blur import Blur, BoxBlur
from .colour import Gray, Mix, Mixed
from .compressed import CompressedSensing, Dense
from .downsample import Downsample
from .fourier import Circular, Fourier, Frequencies
from .function import Function
from .jpeg import Compressed, Jpeg
from .mask import Mask, Masked
from .motion import Convolution, MotionBlur, convolution
from .nonlinear import Cells, Clip, Clipped, Quantised, Quantize
from .separable import Separable

__all__ = [
    "OPERATORS",
    "Blur",
    "Bound",
    "BoxBlur",
    "Cells",
    "Circular",
    "Clip",
    "Clipped",
    "Compressed",
    "CompressedSensing",
    "Convolution",
    "DeepInv",
    "Dense",
    "Downsample",
    "Fourier",
    "Frequencies",
    "Function",
    "Gray",
    "Jpeg",
    "Linear",
    "Mask",
    "Masked",
    "Mix",
    "Mixed",
    "MotionBlur",
    "Operator",
    "Quantised",
    "Quantize",
    "Separable",
    "convolution",
    "parse_operator",
    "register",
]
