"""Distance functions: how far a point is from a set K, and which point of K is nearest.

With dist(x) = min {‖x − y‖ : y ∈ K} and f = ½dist², ∇f(x) = x − proj(x) wherever the projection is
unique (arXiv 2306.04848, proposition 3.1). Everything is in the coordinates of σ̃, x/α, and in
float64.

The smoothed squared distance at σ is −σ² log Σ exp(−‖x − y‖²/2σ²) over the points y of K, an
integral over its surface measure where K is not a finite set. Its gradient is x − x̂0 = σε of the
exact denoiser of K, and as σ → 0 it tends to x − proj(x).
"""

from .base import Projection, Set, Smoothed, flat_rows, gradient, identity, smoothed
from .mahalanobis import Mahalanobis, transformed
from .points import Points
from .sphere import Sphere
from .subspace import Subspace
from .support import SHARE, support
from .union import Union

__all__ = [
    "SHARE",
    "Mahalanobis",
    "Points",
    "Projection",
    "Set",
    "Smoothed",
    "Sphere",
    "Subspace",
    "Union",
    "flat_rows",
    "gradient",
    "identity",
    "smoothed",
    "support",
    "transformed",
]
