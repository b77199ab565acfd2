"""The set that an exact denoiser's data lie on."""

from __future__ import annotations

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.models.dataset import Dataset
from diffdescent.models.gaussian import Gaussian
from diffdescent.models.mixture import Mixture

from .base import Set
from .points import Points
from .subspace import Subspace
from .union import Union

SHARE = 0.95
"""How much of a Gaussian's variance the subspace that stands for its support holds, unless asked
otherwise."""


def support(model: object, share: float = SHARE) -> Set:
    """The set that an exact denoiser's data lie on.

    A finite set is itself. A Gaussian with full rank lies on all of R^n, at distance 0 from
    everything; what stands for its manifold is the subspace of its leading eigenvectors with
    ``share`` of the variance. A mixture is the union of its components' subspaces.

    Args:
        model: an exact denoiser.
        share: of a full-rank Gaussian's variance that its subspace holds.

    Returns:
        The set.

    Raises:
        UserError: a network, which does not say what its data lie on.
    """
    if not 0 < share <= 1:
        raise UserError(f"The share of variance must lie in (0, 1], not {share}.")
    if isinstance(model, Dataset):
        return Points(model)
    if isinstance(model, Gaussian):
        dense = model.covariance.apply(lambda v: v, torch.eye(len(model.mean), dtype=torch.float64))
        return _leading(model.mean.reshape(model.sample_shape), dense, share)
    if isinstance(model, Mixture):
        eye = torch.eye(model.means.shape[1], dtype=torch.float64)
        turn = model.coordinates.decode(eye)  # rows: where each coordinate axis lies
        parts: list[Set] = []
        for mean, c in zip(model.means, model.covariances, strict=True):
            origin = model.coordinates.decode(mean[None])[0].reshape(model.sample_shape)
            parts.append(_axes(origin, c.variances, c.directions, c.values, turn, share))
        return Union(parts)
    raise UserError(
        f"A {type(model).__name__} does not say which set its data lie on; name it, for example"
        " images:PATH of its training images."
    )


def _leading(origin: Tensor, covariance: Tensor, share: float) -> Subspace:
    values, vectors = torch.linalg.eigh(covariance)
    count = _count(values.flip(0), share)
    return Subspace(origin, vectors.flip(1)[:, :count].T)


def _axes(
    origin: Tensor,
    variances: Tensor,
    directions: Tensor,
    values: Tensor,
    turn: Tensor,
    share: float,
) -> Subspace:
    """The leading eigenvectors of a component: along its ``directions`` on the first m axes, along
    the axes after.

    The rest variance within the first m axes, which the directions replace, is left out of the
    choice.
    """
    m = directions.shape[0]
    spread = torch.cat((values, variances[m:]))
    order = spread.argsort(descending=True)[: _count(spread.sort(descending=True).values, share)]
    within, beyond = order[order < len(values)], order[order >= len(values)]
    rows = torch.cat((directions[:, within].T @ turn[:m], turn[m + beyond - len(values)]))
    return Subspace(origin, rows)


def _count(descending: Tensor, share: float) -> int:
    """How many of the greatest values hold ``share`` of their sum."""
    cumulative = descending.clamp(min=0).cumsum(0)
    return int((cumulative < share * cumulative[-1] * (1 - 1e-12)).sum()) + 1
