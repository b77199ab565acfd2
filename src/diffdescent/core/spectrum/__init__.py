"""Spatial frequency: the domain in which a row's coefficients may differ from one frequency to
another.

A state is written in the orthonormal discrete cosine transform over height and width
(:mod:`.cosine`) of orthonormal channel axes (:mod:`.axes`); a coefficient is then a curve over the
radial frequency for each group of axes (:mod:`.bands`), and a row applies such curves
(:mod:`.rows`).
"""

from .axes import Axes, named_axes
from .bands import Bands
from .cosine import from_cosines, to_cosines
from .rows import Curves, Spectral, SpectralRunner, from_axes, to_axes

__all__ = [
    "Axes",
    "Bands",
    "Curves",
    "Spectral",
    "SpectralRunner",
    "from_axes",
    "from_cosines",
    "named_axes",
    "to_axes",
    "to_cosines",
]
