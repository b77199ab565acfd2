"""Denoisers in both directions: one of our models for k-diffusion, and one of its for us."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.executor import Query
from diffdescent.core.model_info import ModelInfo, info
from diffdescent.core.predict import Prediction, Predictor, conversion
from diffdescent.core.process import VE, Point, Process
from diffdescent.models.adapt import as_model
from diffdescent.run import evaluate, micro_batch_width

from .sigmas import Space, get_sigmas

KDenoiser = Callable[..., Tensor]
"""``model(x, sigma, **extra_args) → denoised``; sigma has shape (B,)."""


@dataclass
class Denoiser:
    """One of our models as a k-diffusion denoiser: ``denoiser(x, sigma, cond=labels) → x0``.

    ``sigmas`` are the trained levels of a discrete process, ascending (else None), ``sigma_min``
    and ``sigma_max`` the lowest and the highest one. A call reads ``sigma`` from the device, since
    our models take a level as a number on the host; an image of another level than its
    neighbours is evaluated apart. ``width`` is how many images the network sees at once, as in
    :func:`diffdescent.run`, whose images come out bit for bit.
    """

    model: Predictor
    width: int | None = None
    process: Process = field(init=False)
    sigmas: Tensor | None = field(init=False, default=None)
    sigma_min: Tensor = field(init=False)
    sigma_max: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.process = self.model.process
        if self.process.trained_times is not None:
            self.sigmas = self.t_to_sigma(torch.from_numpy(self.process.trained_times)).float()
        self.sigma_min, self.sigma_max = self.t_to_sigma(
            torch.tensor([self.process.t_min, self.process.t_max])
        ).float()

    def t_to_sigma(self, t: Tensor) -> Tensor:
        """The level at the process's times ``t``, of their shape."""
        space = Space(self.process)
        values = [
            space.sigma(self.process.point(v)) for v in t.detach().double().flatten().tolist()
        ]
        return torch.tensor(values, dtype=torch.float64, device=t.device).reshape(t.shape)

    def sigma_to_t(self, sigma: Tensor, quantize: bool = False) -> Tensor:
        """The time of a level; ``quantize`` rounds to a trained index."""
        space = Space(self.process)
        values = [space.point(v).t for v in sigma.detach().double().flatten().tolist()]
        t = torch.tensor(values, dtype=torch.float64, device=sigma.device).reshape(sigma.shape)
        return t.round() if quantize else t

    def get_sigmas(self, n: int, grid: str = "normal") -> Tensor:
        """See :func:`get_sigmas`."""
        return get_sigmas(n, grid, self.process).to(info(self.model).device)

    def at(self, query: Query, cond: Tensor | None = None) -> Prediction:
        """The model's own answer, in its own coordinates: what our functions ask, which know the
        level already."""
        x = query.x
        width = micro_batch_width(self.model, x.device, self.width, len(x))
        return evaluate(self.model, query, cond, width)

    def __call__(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        space = Space(self.process)
        levels = sigma.detach().double().expand(len(x)).tolist()
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        out = torch.empty_like(x)
        for level in dict.fromkeys(levels):
            rows = torch.tensor([i for i, v in enumerate(levels) if v == level], device=x.device)
            at = space.point(level)
            native = x[rows].to(dtype) * space.scale(at)
            labels = None if cond is None else cond[rows]
            out[rows] = self.at(Query(native, at, 0, 0), labels).to("x0", native).to(out.dtype)
        return out


def wrap(model: Predictor | str, width: int | None = None) -> Denoiser:
    """A model, or the model of a name or path, for k-diffusion's samplers and ours; see
    :class:`Denoiser`.

    Args:
        model: a predictor, or what :func:`diffdescent.load_model` reads.
        width: how many samples the network sees at once; None is the run's own choice.

    Returns:
        The denoiser.

    Raises:
        UserError: what is no model; a k-diffusion denoiser becomes one by :func:`predictor`.
    """
    try:
        return Denoiser(as_model(model), width)
    except UserError as error:
        if not callable(model):
            raise
        raise UserError(
            f"{error} A denoiser (x, sigma) → x0 runs in k-diffusion's functions as it is, and is a"
            " model by kdiffusion.predictor(denoiser, shape=(3, 32, 32))."
        ) from None


@dataclass
class Denoised:
    """A k-diffusion denoiser as one of our models, for :func:`diffdescent.run`.

    ``process``: :class:`VE` between the model's ``sigma_min`` and ``sigma_max``, unless another is
    given (such as :func:`discrete`). Labels are passed as the keyword ``label``; ``extra_args`` go
    to every call.

    Raises:
        UserError: labels without such a keyword.
    """

    model: KDenoiser
    process: Process
    shape: tuple[int, ...] | None = None
    label: str | None = None
    extra_args: Mapping[str, Any] = field(default_factory=dict)
    device: torch.device | str = "cpu"
    name: str = "k-diffusion denoiser"

    @property
    def info(self) -> ModelInfo:
        """What it says of itself."""
        return ModelInfo(name=self.name, device=self.device)

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        space, extra = Space(self.process), dict(self.extra_args)
        if cond is not None:
            if self.label is None:
                raise UserError(
                    "This denoiser was given no name for its labels; say label='class_cond', or"
                    " what it is."
                )
            extra[self.label] = cond
        scale = space.scale(point)
        sigma = torch.full((len(x),), space.sigma(point), dtype=x.dtype, device=x.device)
        return Prediction(
            self.model(x if scale == 1 else x * (1 / scale), sigma, **extra),
            conversion("x0", point),
        )


def predictor(model: KDenoiser, process: Process | None = None, **options: Any) -> Denoised:
    """A k-diffusion denoiser as a :class:`Predictor`; options are those of :class:`Denoised`.

    Args:
        model: ``(x, sigma, **extra_args) → denoised``.
        process: the model's; None is VE from its ``sigma_min`` (else 0.002) to its ``sigma_max``
            (else 80).
        **options: those of :class:`Denoised`.

    Returns:
        The predictor.
    """
    if process is None:
        known = [
            float(v)
            for v in (getattr(model, "sigma_min", 0.002), getattr(model, "sigma_max", 80.0))
        ]
        process = VE(*known)
    return Denoised(model, process, **options)
