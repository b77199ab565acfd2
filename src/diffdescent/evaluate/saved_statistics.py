"""Saved statistics, an npz of means and covariances: of ours, of pytorch-fid and of ADM."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from diffdescent.base.errors import UserError
from diffdescent.base.npz import array_names, load_arrays
from diffdescent.base.reading import parse_json

from .features import JSON
from .moments import Moments


def statistics_path(path: str | Path) -> Path:
    """``path`` if statistics can be written there. Raises :class:`UserError` for another suffix,
    and where a file is that does not hold statistics alone."""
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise UserError(f"Statistics are written as .npz, not {path.name}; end the name in .npz.")
    if path.exists():
        before = saved_statistics(path)
        if before is None or before[1]:
            raise UserError(
                f"{path} holds other things than statistics; choose another name for these."
            )
    return path


def saved_statistics(path: Path) -> tuple[dict[str, npt.NDArray[np.generic]], bool] | None:
    """The statistics in an npz, and whether it holds images too; None where it holds no
    statistics."""
    names = array_names(path)
    if not {"mu", "sigma"} <= set(names):
        return None
    wanted = {"mu", "sigma", "mu_s", "sigma_s", "count", "protocol"}
    return load_arrays(path, wanted), "arr_0" in names


def protocol_in(path: Path, arrays: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, JSON]:
    """The protocol in the file's arrays; empty for a foreign file.

    Raises:
        UserError: where it is damaged.
    """
    if "protocol" not in arrays:
        return {}
    found = parse_json(str(arrays["protocol"]), f"The protocol in {path}")
    if not isinstance(found, dict):
        raise UserError(f"The protocol in {path} is not a JSON object; write the statistics again.")
    return found


def count_in(path: Path, value: npt.NDArray[np.generic]) -> int:
    """How many images the file says that there were.

    Raises:
        UserError: a count that cannot be one.
    """
    whole = value.ndim == 0 and np.issubdtype(value.dtype, np.integer)
    count = int(value.astype(np.int64)) if whole else 0
    if not 2 <= count < 1 << 40:
        raise UserError(
            f"The count in {path} must be a whole number of at least 2, not {str(value)[:40]};"
            " write the statistics again."
        )
    return count


def _check_covariance(path: Path, name: str, sigma: npt.NDArray[np.float64]) -> None:
    """Raise :class:`UserError` for a matrix that is not symmetric or has a negative variance."""
    slack = 1e-4 * float(np.abs(sigma).max(initial=0.0))
    if np.abs(sigma - sigma.T).max(initial=0.0) > slack:
        raise UserError(f"{name} in {path} is not symmetric; make the statistics anew.")
    if np.linalg.eigvalsh(sigma).min(initial=0.0) < -slack:
        raise UserError(f"{name} in {path} has a negative variance; make the statistics anew.")


def moments_in(
    path: Path,
    arrays: Mapping[str, npt.NDArray[np.generic]],
    mean: str,
    covariance: str,
    count: int | None,
) -> Moments:
    """The moments that the file's arrays ``mean`` and ``covariance`` hold.

    Raises:
        UserError: arrays of other shapes, NaN or Inf, and what is no covariance.
    """
    mu, sigma = arrays[mean], arrays[covariance]
    numbers = np.issubdtype(mu.dtype, np.floating) and np.issubdtype(sigma.dtype, np.floating)
    if not numbers or mu.ndim != 1 or sigma.shape != (len(mu), len(mu)):
        raise UserError(
            f"{path} has {mean} of shape {mu.shape} and {covariance} of shape {sigma.shape};"
            " expected (d,) and (d, d) of real numbers."
        )
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise UserError(f"The statistics in {path} hold NaN or Inf; make them anew.")
    _check_covariance(path, covariance, sigma.astype(np.float64))
    return Moments(
        torch.from_numpy(mu.astype(np.float64)), torch.from_numpy(sigma.astype(np.float64)), count
    )
