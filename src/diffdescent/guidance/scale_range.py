"""Classifier-free guidance over a range of scales: ``cfg(scale=1..6)``, for what is fitted once and
used at any of them.

A sample's label then says its scale too. With L classes and K scales the code c means class c mod
L and scale number c mod K; L and K have no common divisor, so codes in turn go through all pairs.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.model_info import ModelInfo, info
from diffdescent.core.predict import Prediction, Predictor
from diffdescent.core.process import Point, Process

NUMBER = r"[0-9]+(?:\.[0-9]+)?"
RANGE = re.compile(rf"scale\s*=\s*({NUMBER})\.\.({NUMBER})")
ONE = re.compile(rf"scale\s*=\s*({NUMBER})")
INNER = 2.0
"""The scale of the guidance inside, whose direction is that of one unit of the scale."""
REFUSED = "A range of scales is for classifier-free guidance, cfg(scale=1..6); give one scale."
SCALES = (17, 19, 23)
"""How many scales: the first number that has no divisor in common with the classes'."""


def split_range(text: str) -> tuple[str, tuple[float, float] | None]:
    """A guidance text at one scale, and the range of scales that it names, None for none.

    Raises:
        UserError: a range that does not rise.
    """
    found = RANGE.search(text)
    if found is None:
        return text, None
    low, high = map(float, found.groups())
    if not low < high:
        raise UserError(
            f"The scales {low:g}..{high:g} are not a range; write the lower one first, as in"
            " cfg(scale=1..6)."
        )
    if re.search(r"cfgpp\s*\(", text):  # whose scale, at most 1, could not be the inner one
        raise UserError(REFUSED)
    return RANGE.sub(f"scale={INNER:g}", text), (low, high)


def with_range(text: str, span: tuple[float, float] | None) -> str:
    """A guidance text at the inner scale with its range in place."""
    return text if span is None else ONE.sub(f"scale={span[0]:g}..{span[1]:g}", text, count=1)


def covers(known: str | None, text: str | None) -> bool:
    """Whether what was fitted under ``known`` is meant for the guidance ``text``."""
    if known is None or text is None or RANGE.search(known) is None:
        return known == text
    from . import parse_guidance

    _, span = split_range(known)
    here = parse_guidance(text)
    scales = [scale for one in here.elements if (scale := getattr(one, "scale", None)) is not None]
    if span is None or len(scales) != 1 or not span[0] <= scales[0] <= span[1]:
        return False
    return str(parse_guidance(RANGE.sub(f"scale={scales[0]!r}", known))) == str(here)


@dataclass
class ScaleRange:
    """``model``, guided at the scale :data:`INNER`, with codes of class and scale for labels.

    Raises:
        UserError: a model without classes, and guidance that is not a direction times its scale.
    """

    model: Predictor
    span: tuple[float, float]
    process: Process = field(init=False)
    shape: tuple[int, ...] | None = field(init=False)
    scales: Tensor = field(init=False)
    classes: int = field(init=False)

    def __post_init__(self) -> None:
        self.process, self.shape = self.model.process, self.model.shape
        known = info(self.model)
        self.classes = len(known.classes or ()) or known.label_count or 0
        if not self.classes:
            raise UserError(
                "A range of guidance scales needs a model that knows classes; give one scale, or"
                " leave the guidance out."
            )
        count = next((k for k in SCALES if math.gcd(k, self.classes) == 1), 29)
        self.scales = torch.linspace(*self.span, count)

    @property
    def info(self) -> ModelInfo:
        """The guided model's, with a label for each class and scale."""
        inside = info(self.model)
        low, high = self.span
        return ModelInfo(
            name=f"{inside.name} at scales {low:g} to {high:g}",
            device=inside.device,
            label_count=self.classes * len(self.scales),
            needs_label=True,
            width=inside.width,
            calls=inside.calls,
            identity=None
            if inside.fingerprint is None
            else f"{inside.fingerprint} at scales {low:g}..{high:g}",
        )

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        if cond is None:
            raise UserError("A range of guidance scales needs a label for each sample.")
        found = self.model(x, point, cond % self.classes)
        direction = found.guidance.direction
        if direction is None:
            raise UserError(REFUSED)
        scale = self.scales.to(x)[cond % len(self.scales)].view(-1, *([1] * (x.ndim - 1)))
        raw = found.raw + direction * ((scale - INNER) / (INNER - 1))
        return Prediction(raw, found.conversion, found.variance)
