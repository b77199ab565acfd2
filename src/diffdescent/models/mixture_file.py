"""A mixture on disk: ``mixture.safetensors`` with the numbers and ``mixture.json`` with all
else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffdescent.base.errors import UserError, unknown
from diffdescent.base.files import write_atomically
from diffdescent.base.reading import read_json, understood
from diffdescent.core.process import VE, VP, Flow, Process, VPContinuous

from .coordinates import Cosine
from .mixture import Mixture
from .weight_files import read_tensors, write_tensors

FORMAT = 1
_SIMPLE: dict[str, type[VE] | type[Flow] | type[VPContinuous]] = {
    "VE": VE,
    "Flow": Flow,
    "VPContinuous": VPContinuous,
}


def _pack(factors: Tensor) -> Tensor:
    """Lower triangles (K, m, m) as rows (K, m(m + 1)/2)."""
    rows, columns = torch.tril_indices(*factors.shape[1:])
    return factors[:, rows, columns]


def _unpack(packed: Tensor) -> Tensor:
    """The inverse of :func:`_pack`."""
    m = int((8 * packed.shape[1] + 1) ** 0.5 / 2)
    rows, columns = torch.tril_indices(m, m)
    factors = packed.new_zeros(len(packed), m, m)
    factors[:, rows, columns] = packed
    return factors


def save_mixture(
    mixture: Mixture,
    folder: Path,
    *,
    dtype: torch.dtype = torch.float64,
    notes: Mapping[str, object] | None = None,
) -> None:
    """Write ``mixture`` into ``folder`` (made when missing).

    ``dtype`` is that of means, standard deviations and factors; float16 keeps three digits. A block
    covariance of full rank is kept as its Cholesky factor, half the numbers. ``notes`` (where the
    mixture comes from, its figures) go into the JSON as they are.

    Raises :class:`UserError` for a process that has no written form.
    """
    folder.mkdir(parents=True, exist_ok=True)
    covariances = mixture.covariances
    deviations = torch.stack([c.variances for c in covariances]).sqrt()
    tensors = {"weights": mixture.weights, "means": mixture.means.to(dtype)}
    directions = covariances[0].directions
    m, r = directions.shape
    if m and r == m:
        blocks = [(c.directions * c.values) @ c.directions.T for c in covariances]
        tensors["cholesky"] = _pack(torch.linalg.cholesky(torch.stack(blocks))).to(dtype)
        deviations = deviations[:, m:]
    elif m:
        tensors["factors"] = torch.stack([c.factors() for c in covariances]).to(dtype)
    tensors["deviations"] = deviations.to(dtype)
    if mixture.labels is not None:
        tensors["labels"] = mixture.labels
    if isinstance(mixture.coordinates, Cosine):
        tensors["order"] = mixture.coordinates.order.int()
    process: dict[str, object] = {"kind": type(mixture.process).__name__}
    if isinstance(mixture.process, VP):
        tensors["betas"] = torch.from_numpy(mixture.process.betas)
    elif isinstance(mixture.process, VE | Flow | VPContinuous):
        process |= asdict(mixture.process)
    else:
        raise UserError(
            f"A mixture with a {process['kind']} process has no written form; use VP, VE or Flow."
        )
    about = {
        "format": FORMAT,
        "shape": list(mixture.sample_shape),
        "classes": None if mixture.classes is None else list(mixture.classes),
        "process": process,
        "notes": dict(notes or {}),
    }
    write_tensors(folder / "mixture.safetensors", tensors)
    text = json.dumps(about, indent=1, ensure_ascii=False) + "\n"
    write_atomically(folder / "mixture.json", text.encode())


def load_mixture(folder: Path, device: torch.device | str | None = None) -> Mixture:
    """The mixture in ``folder``, named after it.

    Raises :class:`UserError` for a missing or damaged file, and for another format.
    """
    if not (folder / "mixture.json").exists():
        raise UserError(f"{folder} holds no mixture.json; give a folder that save_mixture wrote.")
    about = read_json(folder / "mixture.json")
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise UserError(
            f"{folder} holds no mixture of format {FORMAT}; it was written by another version."
        )
    tensors = read_tensors(folder / "mixture.safetensors")
    with understood(folder, "a mixture", "copy or download it again"):
        return _assemble(about, tensors, folder.name, device)


def _assemble(
    about: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    name: str,
    device: torch.device | str | None,
) -> Mixture:
    shape, classes = tuple(int(n) for n in about["shape"]), about["classes"]
    if classes is not None and not (
        isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    ):
        raise ValueError("its classes are not a list of names")
    if classes is not None and "labels" in tensors and len(classes) <= int(tensors["labels"].max()):
        raise ValueError(f"it names {len(classes)} classes, and its labels are more")
    variances = tensors["deviations"].double() ** 2
    factors: Tensor | None = None
    if "cholesky" in tensors:
        # Half of the block's least eigenvalue as "diagonal" part, the rest as factor, keeps the
        # block's sum unchanged.
        block = _unpack(tensors["cholesky"].double())
        block = block @ block.mT
        floor = torch.linalg.eigvalsh(block)[:, :1] / 2
        factors = torch.linalg.cholesky(block - torch.diag_embed(floor.expand(-1, block.shape[1])))
        variances = torch.cat((floor.expand(-1, block.shape[1]), variances), dim=1)
    elif "factors" in tensors:
        factors = tensors["factors"].double()
    return Mixture(
        tensors["weights"],
        tensors["means"].double(),
        variances,
        _process(about["process"], tensors),
        factors=factors,
        labels=tensors.get("labels"),
        classes=classes,
        shape=shape,
        coordinates=Cosine(shape, tensors["order"]) if "order" in tensors else None,
        source=[tensors[key] for key in sorted(tensors)],
        name=name,
        device=device,
    )


def _process(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Process:
    options = dict(about)
    kind = options.pop("kind")
    if kind == "VP":
        return VP(tensors["betas"].numpy())
    if kind not in _SIMPLE:
        raise unknown("process", str(kind), ("VP", *_SIMPLE))
    return _SIMPLE[kind](**options)
