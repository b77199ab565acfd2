"""The model that is calibrated: asked for ε at levels σ/α, with its evaluations counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.executor import Executor, Query
from diffdescent.core.grid import Grid
from diffdescent.core.grid.tables import explicit_ratios
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Predictor
from diffdescent.core.process import Process
from diffdescent.core.transforms.committed import Committed
from diffdescent.run.levels import noise_for
from diffdescent.run.micro_batch import evaluate

HIGHEST, LOWEST = 160.0, 0.002
"""Levels σ/α beyond which a process's range is not used."""
AGAIN = 1e-6
"""How far two answers of a deterministic model may lie apart, relative to their size."""


@dataclass
class Subject:
    """A model with its guidance in it, the shape of its images (C, H, W) and the labels of samples.

    The network sees at most ``width`` images at once. ``label`` gives the labels of sample numbers.
    States are y = x/α, float32, on the model's device. ``calls`` counts evaluations of one image;
    ``progress`` is called after each batch with their number.
    """

    model: Predictor
    shape: tuple[int, ...]
    device: torch.device
    width: int
    label: Callable[[range], Tensor | None]
    progress: Callable[[int], None] | None = None
    calls: int = field(default=0, init=False)

    @property
    def process(self) -> Process:
        """The model's process."""
        return self.model.process

    @property
    def span(self) -> tuple[float, float]:
        """The highest and the lowest level σ/α that the model knows, within sensible bounds."""
        low, high = (float(self.process.ratio(t)) for t in (self.process.t_min, self.process.t_max))
        return min(high, HIGHEST), max(low, LOWEST)

    def grid(self, ratios: tuple[float, ...]) -> Grid:
        """The grid of exactly these levels, the end included."""
        return explicit_ratios(self.process, ratios, "calibrated")

    def noise(self, seed: int, samples: range) -> Tensor:
        """The unit noise that these samples start from."""
        return noise_for(seed, samples, self.shape).to(self.device)

    def scale(self, ratio: float) -> float:
        """The size of a start y at this level, where sampling begins with unit noise times it."""
        at = self.process.at_ratio(ratio)
        return self.process.start_scale(at) / at.alpha

    def eps(self, y: Tensor, ratio: float, cond: Tensor | None) -> Tensor:
        """ε of the states y (B, C, H, W) at one level.

        Raises :class:`UserError` for guidance that is not part of the estimate, and for NaN or Inf.
        """
        at = self.process.at_ratio(ratio)
        x = y * at.alpha
        found = evaluate(self.model, Query(x, at, 0, 0), cond, self.parts(len(y)))
        told = found.guidance
        if told.mean is not None or told.score is not None or told.x0 is not None:
            raise UserError(
                "A calibrated sampler needs guidance that is a part of the estimate, as cfg is;"
                " gradients of a classifier and CFG++ enter a step by other rules."
            )
        self.count(len(y))
        eps = found.to("eps", x).float()
        if not bool(torch.isfinite(eps).all()):
            raise UserError(
                f"The model returned NaN or Inf at σ/α = {ratio:.4g} while it was calibrated; lower"
                " the guidance scale, or check the model's dtype."
            )
        return eps

    def run(
        self, plan: Plan, noise: Tensor, cond: Tensor | None, keep: bool = False
    ) -> list[Tensor]:
        """The images (y at the plan's end) that a plan makes of unit noise, in a list; with
        ``keep`` the committed states before them too, the start first."""
        points = plan.grid.points
        record = Committed()
        executor = Executor(
            plan,
            noise * self.process.start_scale(points[0]),
            displacements=(record,) if keep else (),
            record=False,
        )
        start = executor.x / points[0].alpha
        while not executor.done:
            executor.tell(evaluate(self.model, executor.ask(), cond, self.parts(len(noise))))
            self.count(len(noise))
        if not keep:
            return [(executor.x / executor.point.alpha).float()]
        states = record.states
        for place, point in enumerate(record.points):  # in place: they may be gigabytes
            states[place] = (states[place] / point.alpha).float()
        return [start, *states]

    def parts(self, images: int) -> int:
        """How many of so many images the network sees at once: equal parts of at most ``width``, so
        that hardly any padding is computed."""
        return -(-images // -(-images // self.width))

    def count(self, images: int) -> None:
        """So many images have been evaluated."""
        self.calls += images
        if self.progress is not None:
            self.progress(self.calls)

    @torch.no_grad()
    def check(self) -> None:
        """Raise :class:`UserError` for images that are not (C, H, W) and for a model that answers
        the same question in two ways."""
        if len(self.shape) != 3:
            raise UserError(
                f"Calibration needs images of shape (channels, height, width), not {self.shape}."
            )
        noise = self.noise(0, range(2))
        middle = math.sqrt(math.prod(self.span))
        cond = self.label(range(2))
        one, two = (self.eps(noise * self.scale(middle), middle, cond) for _ in range(2))
        if float((one - two).norm()) > AGAIN * float(one.norm()):
            raise UserError(
                "The model gives two different answers to the same question, so no sampler can be"
                " fitted to it; switch dropout and other randomness off (module.eval())."
            )
