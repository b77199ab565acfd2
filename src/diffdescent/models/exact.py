"""What all exact denoisers share: checks, float64 evaluation, and the choice of a well-conditioned
output.

An exact denoiser knows the distribution of x0, hence E[x0 | x] and E[ε | x] at every noise level,
with no network. All of them compute in float64 and answer in the input's dtype. A device without
float64 (MPS) is served by the host: in float32 the distances behind a posterior lose all digits at
small σ, and a reference must not.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.model_info import ModelInfo, described
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.process import Point, Process

ExactKind = Literal["x0", "eps"]


@runtime_checkable
class Density(Protocol):
    """A model that knows the density of its noised data."""

    def log_prob(self, x: Tensor, point: Point) -> Tensor:
        """log p(x) at ``point`` for ``x`` (B, *shape), shape (B,)."""
        ...


def float64_device(device: torch.device) -> torch.device:
    """``device`` itself when it has float64, the host otherwise."""
    return torch.device("cpu") if device.type == "mps" else device


def check_point(point: Point) -> None:
    """Refuse what is not a noise level: α, σ ≥ 0, finite, not both 0."""
    _, alpha, sigma = point
    if not (
        math.isfinite(alpha)
        and math.isfinite(sigma)
        and alpha >= 0
        and sigma >= 0
        and alpha + sigma > 0
    ):
        raise UserError(
            f"A noise level needs finite α, σ ≥ 0 that are not both 0, not α = {alpha}, σ ="
            f" {sigma}."
        )


def given(*tensors: Tensor | None) -> tuple[Tensor, ...]:
    """What a model was made of, floats as float64, for its fingerprint: what is computed from it,
    such as eigenvectors, differs by rounding between machines and numbers of threads."""
    known = (t.detach().cpu() for t in tensors if t is not None)
    return tuple(t.double() if t.is_floating_point() else t for t in known)


def digest(tensors: Iterable[Tensor], *words: object) -> str:
    """SHA-256 over tensors (dtype, shape and bytes) and words: the identity of a model or a
    problem."""
    sha = hashlib.sha256(repr(words).encode())
    for tensor in tensors:
        host = tensor.detach().cpu().contiguous()
        sha.update(f"{host.dtype} {tuple(host.shape)}".encode())
        sha.update(host.numpy().tobytes())
    return sha.hexdigest()


class Exact(ABC):
    """A :class:`~diffdescent.core.predict.Predictor` that knows its distribution.

    Subclasses set ``process``, ``shape``, and where there are classes ``labels`` (the class of each
    component or image, (K,) int64) and ``classes`` (their names), and evaluate flat float64
    batches. ``name`` goes into a run's record; ``device`` is where sampling starts when nobody says
    otherwise (a call runs where its input is); ``width`` is the micro-batch at which it is
    efficient.
    """

    process: Process
    shape: tuple[int, ...] | None
    sample_shape: tuple[int, ...]
    width: int
    labels: Tensor | None = None
    classes: Sequence[str] | None = None
    name: str
    device: torch.device

    def __init__(
        self, process: Process, shape: tuple[int, ...], name: str, device: torch.device | str | None
    ) -> None:
        self.process = process
        self.shape = self.sample_shape = shape
        self.name = name
        self.device = torch.device(device if device is not None else "cpu")

    @abstractmethod
    def evaluate(self, x: Tensor, point: Point, kind: ExactKind, cond: Tensor | None) -> Tensor:
        """E[x0 | x] or E[ε | x] for flat float64 ``x`` (B, d) whose labels ``cond`` (B,) have been
        checked."""

    @abstractmethod
    def fingerprint(self) -> str:
        """The identity of the distribution: equal for equal parameters, on any device."""

    def __repr__(self) -> str:
        return described(self)

    @property
    def info(self) -> ModelInfo:
        """What it says of itself; its labels are checked by itself, at each call."""
        return ModelInfo(
            name=self.name,
            device=self.device,
            classes=None if self.classes is None else tuple(self.classes),
            labels=None if self.labels is None else tuple(self.class_labels.tolist()),
            width=self.width,
            identity=self.fingerprint,
        )

    @property
    def class_labels(self) -> Tensor:
        """The labels that it can be conditioned on, ascending."""
        return (
            torch.empty(0, dtype=torch.long) if self.labels is None else torch.unique(self.labels)
        )

    def kind(self, point: Point) -> ExactKind:
        """Which output keeps both x0 and ε accurate: ε where σ < α, x0 elsewhere.

        ε = (x − αx0)/σ multiplies an error of x0 by α/σ and x0 = (x − σε)/α one of ε by σ/α; this
        choice keeps the factor at most 1. It is also the one that exists at σ = 0 and at α = 0.
        """
        return "eps" if point.sigma < point.alpha else "x0"

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        """Evaluate ``x`` (B, *shape) at ``point``; ``cond`` (B,) int64, −1 for no condition.

        Raises :class:`UserError` for a wrong shape, noise level or label.
        """
        check_point(point)
        kind = self.kind(point)
        raw = self.evaluate(self.flat(x), point, kind, self.checked(cond, x))
        return Prediction(raw.reshape(x.shape).to(x), conversion(kind, point))

    def flat(self, x: Tensor) -> Tensor:
        """``x`` (B, *shape) as float64 (B, d), on a device that has float64."""
        if tuple(x.shape[1:]) != self.sample_shape or not x.is_floating_point():
            raise UserError(
                "This model takes floating-point batches of shape (B,"
                f" {', '.join(map(str, self.sample_shape))}), not {x.dtype} of shape"
                f" {tuple(x.shape)}."
            )
        return x.to(float64_device(x.device), torch.float64).flatten(1)

    def checked(self, cond: Tensor | None, x: Tensor) -> Tensor | None:
        """``cond`` on the device where ``x`` is evaluated, refused where a label fits no class."""
        if cond is None:
            return None
        if cond.shape != x.shape[:1] or cond.is_floating_point():
            raise UserError(
                f"Labels must be integers of shape ({x.shape[0]},), one a sample, not {cond.dtype}"
                f" of shape {tuple(cond.shape)}."
            )
        known = torch.cat((torch.full((1,), -1), self.class_labels))
        wrong = cond.cpu()[~torch.isin(cond.cpu(), known)]
        if wrong.numel():
            allowed = (
                f"; its classes are {known[1:].tolist()}"
                if len(known) > 1
                else "; it knows no classes"
            )
            raise UserError(
                f"This model cannot be conditioned on label {int(wrong[0])}{allowed} (−1: no"
                " condition)."
            )
        return cond.to(float64_device(x.device))


def member_mask(labels: Tensor, cond: Tensor) -> Tensor:
    """(B, K): whether component k belongs to the class of sample b; always where ``cond`` is −1."""
    return (cond[:, None] == labels) | (cond[:, None] == -1)
