"""Distances of two sets of images as plain numbers: RMSE image by image, and the sliced Wasserstein
distance."""

from __future__ import annotations

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.noise import normals

_STEP = 0x7FFF0002
"""Keys the directions, apart from the images' noise."""


def rmse(images: Tensor, exact: Tensor) -> float:
    """√(mean of (images − exact)²) over everything, both (n, …): the same noise solved by a sampler
    and exactly.

    The exact solution is that of :func:`diffdescent.models.flowmap.exact_solution`.

    Args:
        images: (n, …), by a sampler.
        exact: (n, …), the exact solutions from the same noise.

    Returns:
        The error, in units of the pixels.

    Raises:
        UserError: different shapes.
    """
    return float(squared_errors(images, exact).mean().sqrt())


def squared_errors(images: Tensor, exact: Tensor) -> Tensor:
    """The mean squared error of each image, float64 (n,).

    Raises:
        UserError: different shapes.
    """
    if images.shape != exact.shape or not len(images):
        raise UserError(
            f"Images of shape {tuple(images.shape)} cannot be compared with exact ones of shape"
            f" {tuple(exact.shape)}; take both from the same noise."
        )
    return (images.double() - exact.double()).square().flatten(1).mean(1).cpu()


def sliced_wasserstein(
    x: Tensor, y: Tensor, *, directions: int = 256, seed: int = 0, p: int = 2
) -> float:
    """Sliced Wasserstein distance (Rabin et al. 2012; Bonneel et al. 2015) of two sets (n, …) and
    (m, …):

        SW_p = ( mean over directions θ of ∫₀¹ |F⁻¹(q) − G⁻¹(q)|^p dq )^{1/p}

    with F and G the distributions of ⟨x, θ⟩ and ⟨y, θ⟩. The integral is exact, also for n ≠ m. The
    ``directions`` are uniform on the sphere and keyed by (seed, index): more of them leave the
    first ones as they are. In units of the pixels. Zero for equal sets; above zero for two samples
    of one distribution, falling with their number.

    Args:
        x: one set, (n, …).
        y: the other, (m, …).
        directions: how many.
        seed: keys the directions.
        p: the exponent, ≥ 1.

    Returns:
        SW_p.

    Raises:
        UserError: empty sets, or samples of different shape.
    """
    f, g = projections(x, y, directions, seed)
    return distance_along(f, g, p)


def projections(x: Tensor, y: Tensor, directions: int, seed: int) -> tuple[Tensor, Tensor]:
    """⟨x, θ⟩ and ⟨y, θ⟩, float64 (n, directions) and (m, directions)."""
    if x.shape[1:] != y.shape[1:] or not len(x) or not len(y) or directions < 1:
        raise UserError(
            f"Cannot compare samples of shapes {tuple(x.shape)} and {tuple(y.shape)} along"
            f" {directions} directions; give two sets of at least one sample each, of one shape,"
            " and at least one direction."
        )
    a, b = x.flatten(1).double().cpu(), y.flatten(1).double().cpu()
    theta = normals(seed, torch.arange(directions), (a.shape[1],), _STEP, dtype=torch.float64)
    theta /= theta.norm(dim=1, keepdim=True)
    return a @ theta.T, b @ theta.T


def distance_along(f: Tensor, g: Tensor, p: int = 2) -> float:
    """The sliced distance of two sets of projections (n, directions) and (m, directions)."""
    f, g = f.sort(0).values, g.sort(0).values
    i, j, width = _constant_parts(len(f), len(g))
    return float(((f[i] - g[j]).abs() ** p * width[:, None]).sum(0).mean() ** (1 / p))


def _constant_parts(n: int, m: int) -> tuple[Tensor, Tensor, Tensor]:
    """The parts of [0, 1] on which both quantile functions are constant: indices into each, and
    widths.

    Jumps are at i/n and j/m; on the common scale n·m they are the integers i·m and j·n.
    """
    ends = torch.unique(torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]))
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    return starts // m, starts // n, (ends - starts).double() / (n * m)
