"""Γ, how much of the noise a network recognises at each level: measured, and kept in a file."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.hashes import json_hash
from diffdescent.base.reading import read_json
from diffdescent.core.noise import normals
from diffdescent.core.predict import Predictor
from diffdescent.core.process import points

FORMAT, VERSION = "diffdescent-gamma", 1


@dataclass(frozen=True)
class Gamma:
    """Γ(t) = E‖ε̂(x_t, t)‖²/d at times ``t`` (ascending), linear in between and constant outside.

    It says how much of the noise the network recognises: 1 where it sees all of it (so x0 is
    certain), less where the data hides it. ``model`` is the fingerprint of the model that it was
    measured on, if known. A measured one may lie a little outside [0, 1]. Raises
    :class:`UserError` unless there are as many values as ascending times, all finite.
    """

    t: tuple[float, ...]
    values: tuple[float, ...]
    model: str | None = None

    def __post_init__(self) -> None:
        for name in ("t", "values"):
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        ascending = all(b > a for a, b in zip(self.t[:-1], self.t[1:], strict=True))
        if not self.t or len(self.t) != len(self.values) or not ascending:
            raise UserError(
                f"Γ needs one value per ascending time, not {len(self.values)} for {len(self.t)}"
                " times."
            )
        if not all(map(math.isfinite, (*self.t, *self.values))):
            raise UserError("Γ must be finite at each time, and so must the times.")

    @classmethod
    def of_indices(cls, values: Sequence[float]) -> Gamma:
        """Γ at the trained indices t = 0, 1, …, T − 1 of a discrete VP process."""
        return cls(tuple(range(len(values))), tuple(values))

    def __call__(self, t: float) -> float:
        return float(np.interp(t, self.t, self.values))

    @property
    def digest(self) -> str:
        """What identifies the curve."""
        return json_hash([self.t, self.values], 16)

    def to_json(self, source: str) -> str:
        """The text of a file; ``source`` says which images it was measured on."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "fingerprint": self.model,
            "source": source,
            "t": self.t,
            "values": self.values,
        }
        return json.dumps(content, indent=1) + "\n"


def load_gamma(path: Path) -> Gamma:
    """Γ from the file that ``diffdescent gamma`` wrote.

    Raises :class:`UserError` for a file that is missing, damaged, or not one of these.
    """
    wanted = "give the JSON file that diffdescent gamma MODEL --out FILE.json wrote"
    if not path.exists():
        raise UserError(f"There is no Γ file {path}; {wanted}.")
    content = read_json(path, "Γ file")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{str(path)!r} does not hold Γ; {wanted}.")
    if content.get("version") != VERSION:
        raise UserError(
            f"{str(path)!r} has version {content.get('version')!r} of its format, and this"
            f" diffdescent reads version {VERSION}; measure it again."
        )
    t, values, model = (content.get(key) for key in ("t", "values", "fingerprint"))
    if not (_numbers(t) and _numbers(values) and isinstance(model, str | None)):
        raise UserError(f"{str(path)!r} is damaged; measure it again with diffdescent gamma.")
    return Gamma(tuple(t), tuple(values), model)


def _numbers(value: object) -> TypeGuard[list[float]]:
    return isinstance(value, list) and all(
        isinstance(v, float) or (type(v) is int and abs(v) < 2**53) for v in value
    )


def residual(
    predictor: Predictor,
    images: Tensor,
    times: Sequence[float],
    *,
    seed: int = 0,
    first: int = 0,
    cond: Tensor | None = None,
) -> Tensor:
    """‖z − ε̂(α x0 + σ z)‖²/d for each image and time, float32 (B, len(times)); its mean is 1 − Γ.

    ε̂ is the mean of z given x_t, so E‖z‖² = E‖ε̂‖² + E‖z − ε̂‖². The difference 1 − ‖ε̂‖²/d (Bao et
    al. 2022, eq. 8) has the same mean, but its error from n images is 1/√(nd), and the optimal
    variance multiplies it by σ²/α²: at much noise nothing is left of it. This one has no such
    cancellation, and is the variance about the network's own answer where that is not the mean.

    ``images`` (B, …) in [−1, 1] are the samples ``first``, ``first`` + 1, …; z is keyed by (seed,
    sample, position of the time). ``cond`` are their labels.
    """
    index = torch.arange(first, first + len(images), device=images.device)
    found = []
    for i, point in enumerate(points(predictor.process, times)):
        z = normals(seed, index, images.shape[1:], i, dtype=images.dtype)
        x = images * point.alpha + z * point.sigma
        eps = predictor(x, point, cond).to("eps", x)
        found.append((z - eps).to(torch.float32).square().flatten(1).mean(1))
    return torch.stack(found, 1)


def estimate_gamma(
    predictor: Predictor,
    images: Tensor,
    times: Sequence[float],
    *,
    seed: int = 0,
    cond: Tensor | None = None,
) -> Gamma:
    """Γ from data: 1 − the mean of :func:`residual` over one batch of ``images`` at each of
    ``times``."""
    ordered = sorted(times)
    squares = residual(predictor, images, ordered, seed=seed, cond=cond)
    return Gamma(tuple(ordered), tuple((1 - squares.double().mean(0)).tolist()))
