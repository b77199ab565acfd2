"""Networks as predictors: what a module returns, wrapped with what it means."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from diffdescent.base.errors import UserError, unknown
from diffdescent.base.words import shown
from diffdescent.core.calls import check_fields

from .model_info import ModelInfo, described
from .predict import KINDS, Affine, Conversion, Kind, Prediction, Predictor, conversion
from .process import Point, Process


def _check_output(raw: object, x: Tensor) -> None:
    """Refuse what is not a tensor of the input's shape."""
    if not isinstance(raw, Tensor):
        raise UserError(
            f"The model returned a {type(raw).__name__}, not a tensor; wrap it, for example "
            "lambda x, t, cond: unet(x, t).sample."
        )
    if raw.shape != x.shape:
        raise UserError(
            f"The model returned shape {tuple(raw.shape)} for an input of shape {tuple(x.shape)};"
            " they must be equal (a network with twice the channels needs learned_variance=True)."
        )
    if not raw.is_floating_point() or raw.layout != torch.strided or raw.device != x.device:
        raise UserError(
            f"The model returned {str(raw.dtype).removeprefix('torch.')} numbers on {raw.device}"
            f" ({str(raw.layout).removeprefix('torch.')}); it must return floating-point numbers on"
            f" {x.device}, where its input is."
        )


Module = Callable[[Tensor, Tensor, Tensor | None], Tensor]


_FLOAT_INDEX = re.compile(r"argument #1 'indices' to have|tensors used as indices must be")
"""How torch words the refusal of ``nn.Embedding(t)`` and of ``table[t]`` for a t of floats."""


def _ask(module: Module, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
    """What ``module`` answers, in memory of its own.

    ``x`` is the module's to change, and a module may write its answers into one buffer (as CUDA
    graphs do), which earlier answers must not share.

    Raises:
        UserError: one that cannot be called with the three, or that looks ``t`` up in a table.
    """
    try:
        raw = module(x, t, cond)
        return raw.clone() if isinstance(raw, Tensor) else raw
    except (RuntimeError, IndexError) as error:
        if not _FLOAT_INDEX.search(str(error)):
            raise
        raise UserError(
            f"This {type(module).__name__} uses a number that is not whole as an index (torch:"
            f" {error}); the time t arrives as float32, so for an embedding of whole steps wrap it:"
            " lambda x, t, cond: module(x, t.round().long())."
        ) from error
    except TypeError:
        if _takes_three(module):
            raise  # a mistake inside of it
    raise UserError(
        "A network is called as f(x, t, cond), with the image, the time and the labels or None,"
        f" but this {type(module).__name__} does not take these three; wrap it: lambda x, t, cond:"
        " module(x, t)."
    )


def _takes_three(module: Module) -> bool:
    called = module.forward if isinstance(module, torch.nn.Module) else module
    try:
        inspect.signature(called).bind(None, None, None)
    except TypeError:
        return False
    except ValueError:  # it has no signature to look at
        return True
    return True


@dataclass(kw_only=True, repr=False)
class _Described:
    """What is known of a network besides its mathematics.

    ``device`` is where the module lives and ``dtype`` what it is fed with. ``classes`` are the
    names of its labels, which run from 0 to ``label_count`` − 1 (−1: no label, unless it
    ``needs_label``). ``width`` is the micro-batch at which it is efficient (None: the device's
    default). ``name`` and ``fingerprint`` say in a run's record which network it was.
    """

    dtype: torch.dtype = torch.float32
    device: torch.device | str = "cpu"
    name: str = "network"
    classes: tuple[str, ...] | None = None
    label_count: int | None = None
    needs_label: bool = False
    width: int | None = None
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.label_count is not None and self.label_count < 1:
            raise UserError(f"label_count must be at least 1 or None, not {self.label_count}.")
        module = getattr(self, "module", None)
        if not callable(module):
            raise UserError(
                f"A network is something to call, module(x, t, cond), which {shown(module)} is not."
            )

    def __repr__(self) -> str:
        return described(cast(Predictor, self), getattr(self, "kind", ""))

    @property
    def info(self) -> ModelInfo:
        """All of it as the rest of the library reads it."""
        return ModelInfo(
            name=self.name,
            device=self.device,
            classes=None if self.classes is None else tuple(self.classes),
            label_count=self.label_count,
            needs_label=self.needs_label,
            width=self.width,
            identity=self.fingerprint,
        )


@dataclass(repr=False)
class Network(_Described):
    """Wraps any ``module(x, t, cond) → raw`` as a :class:`~diffdescent.core.predict.Predictor`.

    ``kind`` is what the raw output means. ``time`` maps a noise level to the number that the module
    is given (default: the process's own ``t``, the index of a discrete VP process). With
    ``learned_variance`` the module returns 2C channels, of which the second half is the variance.
    The module sees tensors of its own ``dtype``; the raw output comes back as it left the module.

    A module in five lines::

        class Mine:                                   # any callable will do
            def __call__(self, x, t, cond): return unet(x, t)
        model = dd.Network(Mine(), process=dd.VP.named("linear"), kind="eps", shape=(3, 32, 32))
        images = dd.sample(model, "ge", steps=10).images

    Raises:
        UserError: when the module cannot be called so, or the output's shape does not fit.
    """

    module: Module
    process: Process
    kind: Kind = "eps"
    shape: tuple[int, ...] | None = None
    time: Callable[[Point], float] | None = None
    learned_variance: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.kind, str) and self.kind not in KINDS:
            raise unknown("prediction type", self.kind, KINDS)
        super().__post_init__()
        if self.shape is not None and (not self.shape or min(self.shape) < 1):
            raise UserError(
                "A network's shape is that of one sample, (channels, height, width) for images,"
                f" each at least 1, not {tuple(self.shape)}."
            )

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        t = self.time(point) if self.time else point.t
        raw = _ask(
            self.module,
            x.to(self.dtype, copy=True),
            torch.full((x.shape[0],), t, dtype=torch.float32, device=x.device),
            cond,
        )
        variance = None
        if self.learned_variance and isinstance(raw, Tensor):
            if raw.shape[1] != 2 * x.shape[1]:
                raise UserError(
                    f"A learned-variance network must return {2 * x.shape[1]} channels for"
                    f" {x.shape[1]}, but this one returned {raw.shape[1]}; drop learned_variance if"
                    " it predicts no variance."
                )
            raw, variance = raw.chunk(2, dim=1)
        _check_output(raw, x)
        return Prediction(raw, conversion(self.kind, point), variance)


@dataclass(repr=False)
class EDM(_Described):
    """An EDM-preconditioned network: x0 = c_skip x̃ + c_out F(c_in x̃, c_noise) with x̃ = x/α, σ̃ =
    σ/α.

    c_skip = σd²/(σ̃² + σd²), c_out = σ̃σd/√(σ̃² + σd²), c_in = 1/√(σ̃² + σd²), c_noise = ¼ log σ̃
    (Karras et al. 2022, table 1). ``module(x, c_noise, cond)`` is the raw F.
    """

    module: Module
    process: Process
    shape: tuple[int, ...] | None = None
    sigma_data: float = 0.5

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        s, d = point.ratio, self.sigma_data
        if not 0 < s < math.inf:
            raise UserError(
                f"An EDM network cannot be evaluated at σ = {s}; end the grid's evaluations"
                " above 0."
            )
        root = math.hypot(s, d)
        c_noise = torch.full(
            (x.shape[0],), 0.25 * math.log(s), dtype=torch.float32, device=x.device
        )
        raw = _ask(self.module, (x * (1 / (point.alpha * root))).to(self.dtype), c_noise, cond)
        _check_output(raw, x)
        x0 = Affine(d * d / (root * root) / point.alpha, s * d / root)
        # eps = (x/α − x0)/σ̃
        eps = Affine((1 / point.alpha - x0.x) / s, -x0.raw / s)
        return Prediction(raw, Conversion(x0, eps))
