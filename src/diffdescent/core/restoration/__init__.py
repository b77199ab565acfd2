"""What a restoration method does to an estimate or to a step: projections, proximal steps,
splitting with multipliers, descent on a variational loss, the measurement's noise level by level.

They know the measurement, so no text of a recipe names them;
:mod:`diffdescent.guidance.restoration` does.
"""

from .gauss_newton import GaussNewton
from .line import Line, read
from .proximal import Penalty, Proximal
from .spectral import SpectralNoise
from .splitting import Splitting
from .variational import Variational

__all__ = [
    "GaussNewton",
    "Line",
    "Penalty",
    "Proximal",
    "SpectralNoise",
    "Splitting",
    "Variational",
    "read",
]
