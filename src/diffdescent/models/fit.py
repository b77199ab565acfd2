"""Fitting a mixture to images by maximum likelihood."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.process import VP, Point, Process

from .coordinates import Coordinates, Cosine, Pixels
from .mixture import Mixture

Residual = Literal["isotropic", "diagonal"]

DATA = Point(math.nan, 1.0, 0.0)
"""The noise level of the data themselves."""
FLOOR = (2 / 255) ** 2 / 12
"""The variance of rounding [−1, 1] to 8 bits: what an integer image leaves undetermined. Added to
every variance."""
_SHRINK = 20.0
"""A component's covariance is that of its images and of this many images of its class at large."""
_FACTOR_ROUNDS = 20


def fit_mixture(
    images: Tensor,
    classes: Tensor | None,
    rank: int,
    *,
    residual: Residual = "isotropic",
    components: int = 1,
    support: int | None = None,
    coordinates: Literal["pixels", "cosine"] = "pixels",
    rounds: int = 12,
    process: Process | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
    name: str = "mixture",
) -> Mixture:
    """A mixture with ``components`` Gaussians a class, fitted to ``images`` (n, C, H, W).

    Args:
        images: uint8 (0 … 255 stands for −1 … 1) or floating in [−1, 1].
        classes: the class of each image (n,), int64 ≥ 0, or None: one class without a label.
        rank: r, the factors of each component. The first r eigenvectors of its covariance; r ≥ m is
            a full block.
        residual: what the factors leave: ``isotropic`` (probabilistic PCA, Tipping and Bishop 1999,
            eq. 7–8, in closed form) or ``diagonal`` (factor analysis: eigenvectors of the
            covariance whitened by the residual, and the residual from them, in turn).
        components: Gaussians a class; above 1 by ``rounds`` of expectation–maximisation from
            k-means.
        support: m, the factors act on the first m coordinates and the rest is diagonal; None for
            all.
        coordinates: ``pixels``, or ``cosine`` ordered by decreasing variance, where a support means
            something.
        process: linear VP of 1000 steps by default.
        names: of the classes.
        seed: of k-means' random start.

    Raises :class:`UserError` for options that do not fit, and a class with fewer than two images a
    component.
    """
    if images.ndim != 4 or len(images) == 0:
        raise UserError(
            f"fit_mixture needs images of shape (n, C, H, W), not {tuple(images.shape)}."
        )
    if residual not in ("isotropic", "diagonal"):
        raise unknown("residual", residual, ("isotropic", "diagonal"))
    if coordinates not in ("pixels", "cosine"):
        raise unknown("coordinates", coordinates, ("pixels", "cosine"))
    shape = tuple(images.shape[1:])
    size = math.prod(shape)
    m = size if support is None else support
    if rank < 0 or components < 1 or not 0 <= m <= size:
        raise UserError(
            f"fit_mixture needs rank ≥ 0, components ≥ 1 and 0 ≤ support ≤ {size}, not rank={rank},"
            f" components={components}, support={m}."
        )
    if classes is not None and classes.shape != images.shape[:1]:
        raise UserError(
            f"Classes must have shape ({len(images)},), one an image, not {tuple(classes.shape)}."
        )
    flat = images.flatten(1).float()
    flat = flat * (2 / 255) - 1 if images.dtype == torch.uint8 else flat
    frame: Coordinates = Pixels()
    if coordinates == "cosine":
        order = _encode(Cosine(shape), flat).var(0, correction=0).argsort(descending=True)
        frame = Cosine(shape, order)
    y = _encode(frame, flat)
    center = y.mean(0)
    y -= center  # so that squares less squared means lose no digits
    parts: list[Mixture] = []
    kinds = [-1] if classes is None else torch.unique(classes).tolist()
    generator = torch.Generator().manual_seed(seed)
    for kind in kinds:
        own = y if classes is None else y[classes == kind]
        if len(own) < 2 * components:
            raise UserError(
                f"Class {kind} has {len(own)} images, too few for {components} components; take"
                " fewer."
            )
        parts.append(_fit_class(own, components, m, rank, residual, rounds, generator))
    shares = torch.tensor(
        [len(y) if classes is None else int((classes == kind).sum()) for kind in kinds]
    )
    covariances = [c for part in parts for c in part.covariances]
    labels = torch.tensor([kind for kind in kinds for _ in range(components)])
    return Mixture(
        torch.cat([part.weights * share for part, share in zip(parts, shares, strict=True)]),
        torch.cat([part.means for part in parts]) + center,
        torch.stack([c.variances for c in covariances]),
        VP.named() if process is None else process,
        factors=torch.stack([c.factors() for c in covariances]),
        labels=None if classes is None else labels,
        classes=names,
        shape=shape,
        coordinates=frame,
        name=name,
    )


def _encode(frame: Coordinates, flat: Tensor) -> Tensor:
    """``flat`` (n, d) float32 in the coordinates of ``frame``, in float64 a few thousand rows at a
    time."""
    return torch.cat([frame.encode(rows.double()).float() for rows in torch.split(flat, 4096)])


def _fit_class(
    y: Tensor,
    components: int,
    m: int,
    rank: int,
    residual: Residual,
    rounds: int,
    generator: torch.Generator,
) -> Mixture:
    """The Gaussians of one class, in the coordinates of ``y`` (n, d)."""
    share = torch.ones(len(y), 1) if components == 1 else _cluster(y, components, generator)
    squares = y.square()
    _, (prior_spread,), (prior_block,) = _moments(y, squares, torch.ones(len(y), 1), m)
    process = VP.named()
    for last in range(1 if components == 1 else rounds):
        means, spreads, blocks = _moments(y, squares, share, m)
        count = share.sum(0).double()
        pull = _SHRINK if components > 1 else 0.0
        variances, factors = [], []
        for keep, own_spread, own_block in zip(
            count / (count + pull), spreads, blocks, strict=True
        ):
            spread = keep * own_spread + (1 - keep) * prior_spread + FLOOR
            block = (
                keep * own_block
                + (1 - keep) * prior_block
                + FLOOR * torch.eye(m, dtype=torch.float64)
            )
            factor, spread[:m] = _factorise(block, rank, residual)
            variances.append(spread)
            factors.append(factor)
        mixture = Mixture(
            count.clamp(min=1e-6),
            means,
            torch.stack(variances),
            process,
            factors=torch.stack(factors),
        )
        if components > 1 and last < rounds - 1:
            share = torch.cat(
                [mixture.responsibilities(rows.double(), DATA) for rows in torch.split(y, 1024)]
            ).float()
    return mixture


def _moments(
    y: Tensor, squares: Tensor, share: Tensor, m: int
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Of each component, whose weights on the images are a column of ``share`` (n, K): means (K,
    d), variances (K, d), and the covariances (m, m) of the first m coordinates. ``squares`` is y²;
    float64 out."""
    total = share.sum(0).double().clamp(min=1e-12)
    means = (share.T @ y).double() / total[:, None]
    variances = ((share.T @ squares).double() / total[:, None] - means.square()).clamp(min=0)
    blocks = []
    for mean, weight, mass in zip(means, share.T, total, strict=True):
        lead = (y[:, :m] - mean[:m].float()) * weight.sqrt()[:, None]
        blocks.append((lead.T @ lead).double() / mass)
    return means, variances, blocks


def _factorise(block: Tensor, rank: int, residual: Residual) -> tuple[Tensor, Tensor]:
    """W (m, r) and the residual variances (m,) with block ≈ diag + W Wᵀ."""
    m = len(block)
    rank = min(rank, m)
    if m == 0 or rank == 0:
        spread = block.diagonal().clone()
        return block.new_zeros(m, 0), (
            spread if residual == "diagonal" or m == 0 else spread.mean().expand(m)
        )
    if residual == "isotropic" or rank == m:
        values, vectors = torch.linalg.eigh(block)
        rest = values[: m - rank].mean() if rank < m else values[0]
        factor = vectors[:, m - rank :] * (values[m - rank :] - rest).clamp(min=0).sqrt()
        return factor, rest.expand(m)
    spread = block.diagonal() / 2
    for _ in range(_FACTOR_ROUNDS):
        root = spread.sqrt()
        values, vectors = torch.linalg.eigh(block / root / root[:, None])
        factor = (
            root[:, None] * vectors[:, m - rank :] * (values[m - rank :] - 1).clamp(min=0).sqrt()
        )
        spread = (block.diagonal() - factor.square().sum(1)).clamp(min=FLOOR)
    return factor, spread


def _cluster(y: Tensor, components: int, generator: torch.Generator) -> Tensor:
    """One-hot clusters (n, components) by k-means on the leading coordinates, each over the root of
    its deviation.

    That lies between the raw coordinates, where one or two decide, and whitened ones, where noise
    does.
    """
    lead = y[:, :64]
    lead = lead / lead.std(0).clamp(min=1e-6).sqrt()
    centers = lead[torch.randperm(len(lead), generator=generator)[:components]]
    for _ in range(15):
        nearest = torch.cdist(lead, centers).argmin(1)
        share = torch.nn.functional.one_hot(nearest, components).float()
        centers = (share.T @ lead + 1e-6 * centers) / (share.sum(0)[:, None] + 1e-6)
    return share
