"""Reference statistics: from images, or from saved means and covariances of ours, of pytorch-fid
and of ADM."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.files import make_folder, pack_arrays, write_atomically
from diffdescent.base.hashes import files_hash
from diffdescent.base.image_sets import stream_images

from . import kid, precision_recall
from .features import JSON, Extractor, Features, OnProgress, differences, join
from .moments import Moments, RunningMoments, moments_of
from .saved_statistics import count_in, moments_in, protocol_in, saved_statistics, statistics_path


@dataclass(frozen=True)
class Reference:
    """Statistics of a set of images.

    ``moments`` are those of the pooled features, ``spatial`` those of the spatial ones.
    ``features`` are None where only moments are known (saved files, and sets that were read with
    ``keep=False``). ``protocol`` is that of the extractor; empty for a foreign file, which does not
    say how it was made.
    """

    moments: Moments
    spatial: Moments | None = None
    features: Features | None = None
    protocol: Mapping[str, JSON] = field(default_factory=dict)
    name: str = "reference"

    @property
    def count(self) -> int | None:
        """How many images there were; None where the file does not say."""
        return self.moments.n

    @cached_property
    def radii(self) -> Tensor:
        """The radius of each image's ball of the manifold (precision)."""
        return precision_recall.radii(self.pool)

    @cached_property
    def kernel_mean(self) -> float:
        """The mean of KID's kernel over its pairs."""
        return kid.mean_of_pairs(self.pool)

    @property
    def pool(self) -> Tensor:
        """The pooled features of its images.

        Raises:
            UserError: where only moments are known.
        """
        if self.features is None:
            raise UserError(
                f"{self.name} holds only means and covariances, but this metric needs the images"
                " themselves; give a folder, zip or npz of images as the reference."
            )
        return self.features.pool


def make_reference(features: Features, name: str = "reference") -> Reference:
    """The statistics of ``features``.

    Args:
        features: of at least two images.
        name: what reports call it.

    Returns:
        The statistics.

    Raises:
        UserError: fewer than two images.
    """
    spatial = None if features.spatial is None else moments_of(features.spatial)
    return Reference(moments_of(features.pool), spatial, features, features.protocol, name)


def summarise(
    batches: Iterable[Tensor], extractor: Extractor, *, name: str = "images", keep: bool = True
) -> Reference:
    """Statistics of batches of images, uint8 (n, C, H, W), one batch in memory at a time.

    With ``keep`` the features of every image are kept too, for the metrics that need them; without,
    memory depends on the number of features alone.

    Args:
        batches: uint8 (n, C, H, W) each.
        extractor: what looks at the images.
        name: what reports call them.
        keep: whether the features of every image are kept.

    Returns:
        The statistics.

    Raises:
        UserError: fewer than two images.
    """
    if keep:
        return make_reference(join([extractor(batch) for batch in batches]), name)
    pool: RunningMoments | None = None
    spatial: RunningMoments | None = None
    for batch in batches:
        found = extractor(batch)
        pool = pool or RunningMoments(found.pool.shape[1])
        pool.update(found.pool)
        if found.spatial is not None:
            spatial = spatial or RunningMoments(found.spatial.shape[1])
            spatial.update(found.spatial)
    if pool is None:
        raise UserError("There is no image to look at; give at least two.")
    return Reference(
        pool.result(),
        None if spatial is None else spatial.result(),
        None,
        dict(extractor.protocol),
        name,
    )


def read_reference(
    path: str | Path, extractor: Extractor, *, keep: bool = True, progress: OnProgress | None = None
) -> Reference:
    """Statistics to compare with.

    Args:
        path: a folder, zip or npz of images, or an npz of statistics: ``mu`` and ``sigma``
            (pytorch-fid), with ``mu_s`` and ``sigma_s`` for spatial features (ADM), with ``count``
            and ``protocol`` (:func:`write_statistics`). Where a file holds images and statistics
            (ADM's batches) the moments are the file's and the features those of the images.
        extractor: what looks at the images; saved statistics must be of the same protocol.
        keep: keep the features of every image, which KID, precision and recall need.
        progress: called with (images, in all).

    Returns:
        The statistics, with the protocol that they were made by.

    Raises:
        UserError: a file that cannot be read, or statistics of another protocol, with what differs.
    """
    path = Path(path)
    saved = saved_statistics(path) if path.suffix.lower() == ".npz" and path.is_file() else None
    if saved is None:
        return summarise(
            stream_images(path, progress=progress), extractor, name=str(path), keep=keep
        )
    arrays, has_images = saved
    protocol = protocol_in(path, arrays)
    if protocol:
        require_same(extractor.protocol, protocol, str(path))
    count = count_in(path, arrays["count"]) if "count" in arrays else None
    moments, spatial = moments_in(path, arrays, "mu", "sigma", count), None
    if "mu_s" in arrays and "sigma_s" in arrays:
        spatial = moments_in(path, arrays, "mu_s", "sigma_s", count)
    features = None
    if has_images and keep:
        features = join([extractor(batch) for batch in stream_images(path, progress=progress)])
    return Reference(moments, spatial, features, protocol, str(path))


def check_reference(path: str | Path, extractor: Extractor, *, keep: bool = True) -> str:
    """A hash of what is at ``path``: of a file's bytes, of a folder's names and sizes.

    Raises:
        UserError: before anything is computed, where there is nothing, and saved statistics of
            another protocol or number of features than this extractor's, or without images where
            they are to be kept (``keep``).
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.is_file())
        listing = "".join(f"{p.relative_to(path).as_posix()} {p.stat().st_size}\n" for p in found)
        digest = hashlib.sha256(listing.encode()).hexdigest()
    elif path.is_file():
        digest = files_hash([path])
        saved = saved_statistics(path) if path.suffix.lower() == ".npz" else None
        if saved is not None:
            _check_saved(path, *saved, extractor, keep)
    else:
        raise UserError(
            f"There is no reference {path}; give a folder, zip or npz of images, or an npz of"
            " statistics."
        )
    return digest[:16]


def _check_saved(
    path: Path,
    arrays: Mapping[str, npt.NDArray[np.generic]],
    has_images: bool,
    extractor: Extractor,
    keep: bool,
) -> None:
    require_same(extractor.protocol, protocol_in(path, arrays), str(path))
    moments_in(path, arrays, "mu", "sigma", None)
    ours, theirs = (
        extractor(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).pool.shape[1],
        len(arrays["mu"]),
    )
    if ours != theirs:
        raise UserError(
            f"The statistics in {path} are of {theirs} features, and {extractor.name} has {ours};"
            " choose the extractor that they were made with by --features, or give the images."
        )
    if keep and not has_images:
        raise UserError(
            f"{path} holds only means and covariances, and a metric needs single images; give a"
            " folder, zip or npz of images as the reference, or choose --metrics fd."
        )


def require_same(ours: Mapping[str, JSON], theirs: Mapping[str, JSON], name: str) -> None:
    """Raises :class:`UserError` where two protocols differ, and says in what; an unknown protocol
    fits any."""
    different = list(differences(ours, theirs)) if ours and theirs else []
    if different:
        raise UserError(
            f"{name} was made with another protocol ({'; '.join(different)}), so the scores would"
            " mean nothing; make it anew with these features, or choose its own with --features"
            " and --resize."
        )


def write_statistics(path: str | Path, reference: Reference) -> None:
    """Save the moments of ``reference`` as npz with their protocol inside: ``mu``, ``sigma``,
    ``mu_s``, ``sigma_s``.

    pytorch-fid and ADM read it as one of theirs.

    Args:
        path: the npz file.
        reference: whose moments are saved.

    Raises:
        UserError: where it cannot be written.
    """
    path = statistics_path(path)
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "mu": reference.moments.mu.numpy(),
        "sigma": reference.moments.sigma.numpy(),
        "protocol": np.array(json.dumps(dict(reference.protocol), sort_keys=True)),
    }
    if reference.count is not None:
        arrays["count"] = np.array(reference.count)
    if reference.spatial is not None:
        arrays |= {"mu_s": reference.spatial.mu.numpy(), "sigma_s": reference.spatial.sigma.numpy()}
    make_folder(path.parent)
    write_atomically(path, pack_arrays(arrays))
