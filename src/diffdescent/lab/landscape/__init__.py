"""Landscapes and trajectories: what a sampler's path looks like among its noisy surroundings (Jang
et al., AAAI 2024, figures 2, 3 and 5).

Around every state x_t of a run, points x_t + n with n ~ N(0, I) are denoised; their colour is
log‖x̂0(x_t + n) − x_ref‖ with x_ref the end of a long ancestral run from the same initial noise.
Two principal components make a picture. Every piece (the reference, a path, the surroundings of one
state, one image of the strip) is a file in a cache named after what it depends on, written whole:
an interrupted run goes on, and a changed setting recomputes what it must.
"""

from .figure import draw_landscape
from .plane import Plane, plane
from .strip import COUNTS, draw_strip
from .surroundings import REFERENCE, Landscape, Path2D

__all__ = [
    "COUNTS",
    "REFERENCE",
    "Landscape",
    "Path2D",
    "Plane",
    "draw_landscape",
    "draw_strip",
    "plane",
]
