"""What keeps a calibrated sampler of few evaluations from coming nearer to the model.

    python benchmarks/calibration_limits.py --out limits.csv [--nfe 3 4] [--iterations 300]

Each row of the table begins at a bundled file of `cifar10` and lets Adam, with gradients through
the network, change what a calibration cannot, on 256 noises; the mean distance to the teacher is
that of 64 others.

    rows          every knot of the start and of all rows (a calibration has smooth functions of
                  the frequency in all but the last, differences for derivatives, 40 or 96 noises)
    known start   that, and the first state is told what the teacher's has there beyond noise: at
                  these levels no better start can do more
    convolutions  that of the first, and after each row a network of three layers and 24 channels
                  adds to the state what it makes of the state and of all estimates of x0

``value`` is the mean over the noises of the ratio of the two distances, with its interval. A row is
added as soon as it is known, and what stands there is left out.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from growing_table import Table
from torch import Tensor, nn

from diffdescent.base.assets import ASSETS
from diffdescent.core.spectrum import from_axes, to_axes
from diffdescent.core.spectrum.fitted import FittedSolver, load_fitted
from diffdescent.models.adapt import as_model
from diffdescent.run.calibrate.judge import mean_of
from diffdescent.run.calibrate.local import applied, hats_of
from diffdescent.run.calibrate.path import as_tensor
from diffdescent.run.calibrate.setting import subject_of
from diffdescent.run.calibrate.shape import Shape
from diffdescent.run.calibrate.subject import Subject
from diffdescent.run.calibrate.teacher import trajectories
from diffdescent.run.pieces import Pieces

VARIANTS = ("rows", "known start", "convolutions")
FITTED, HELD = range(1_000_000, 1_000_256), range(2_000_000, 2_000_064)
LEVELS, BATCH, CHANNELS = 64, 16, 24
CONTRAST = 0.5
"""Root mean square of the images, for the scale of what the convolutions see."""


@dataclass(frozen=True)
class Paths:
    """What a sampler starts from and is to reach, one row for each noise: ``beyond`` is the
    teacher's state at the first level less its noise."""

    noise: Tensor
    labels: Tensor
    beyond: Tensor
    end: Tensor

    def at(self, rows: Tensor) -> Paths:
        return Paths(*(t[rows] for t in (self.noise, self.labels, self.beyond, self.end)))


@dataclass
class Sampler:
    """A calibrated sampler whose numbers follow gradients."""

    subject: Subject
    file: FittedSolver
    variant: str
    shape: Shape = field(init=False)
    hats: Tensor = field(init=False)
    base: list[Tensor] = field(init=False)
    numbers: list[nn.Parameter] = field(init=False)
    start: nn.Parameter = field(init=False)
    beyond: nn.Parameter = field(init=False)
    networks: nn.ModuleList = field(init=False)

    def __post_init__(self) -> None:
        self.shape = Shape(self.file.axes, self.file.bands)
        self.hats = hats_of(self.subject, self.shape)
        self.base = [as_tensor((row.base, *row.evals)) for row in self.file.rows]
        self.numbers = [nn.Parameter(torch.ones_like(one)) for one in self.base]
        self.start = nn.Parameter(as_tensor((self.file.start,)))
        self.beyond = nn.Parameter(torch.zeros_like(self.start))
        channels = self.subject.shape[0]
        self.networks = nn.ModuleList(
            _layers(channels * (n + 2), channels) for n in range(len(self.base))
        )

    def groups(self) -> list[dict[str, object]]:
        """What is free, with its rate."""
        known = [self.beyond] if self.variant == "known start" else []
        free = [{"params": [self.start, *self.numbers, *known], "lr": 3e-3}]
        if self.variant == "convolutions":
            free.append({"params": list(self.networks.parameters()), "lr": 2e-3})
        return free

    def distances(self, paths: Paths) -> Tensor:
        """Of each image to the teacher's, (n,)."""
        levels = self.file.levels
        begin = self._hat(paths.noise * self.subject.scale(levels[0]))
        state = self._applied(self.start, [begin])
        if self.variant == "known start":
            state = state + self._applied(self.beyond, [self._hat(paths.beyond)])
        evals: list[Tensor] = []
        estimates: list[Tensor] = []
        for n, level in enumerate(levels):
            image = self._image(state)
            newest = self.subject.eps(image, level, paths.labels)
            evals = [self._hat(newest), *evals]
            estimates = [image - level * newest, *estimates]
            theta = self.base[n] * self.numbers[n]
            state = self._applied(theta, [state, *evals][: theta.shape[1]])
            if self.variant == "convolutions":
                following = [*levels, self.file.end][n + 1]
                size = math.hypot(CONTRAST, following)
                seen = torch.cat([self._image(state) / size, *estimates], dim=1)
                state = state + self._hat(0.2 * size * self.networks[n](seen))
        return (self._image(state) - paths.end).square().flatten(1).mean(1).sqrt()

    def _hat(self, x: Tensor) -> Tensor:
        return to_axes(x, self.shape.axes.tensor(x), self.shape.axes)

    def _image(self, x: Tensor) -> Tensor:
        return from_axes(x, self.shape.axes.tensor(x), self.shape.axes)

    def _applied(self, theta: Tensor, features: list[Tensor]) -> Tensor:
        return applied(theta, features, self.hats, self.shape)


def _layers(inputs: int, outputs: int) -> nn.Sequential:
    """Three convolutions that give 0 at first."""
    last = nn.Conv2d(CHANNELS, outputs, 3, padding=1)
    for one in last.parameters():
        nn.init.zeros_(one)
    return nn.Sequential(
        nn.Conv2d(inputs, CHANNELS, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
        nn.SiLU(),
        last,
    )


def paths_of(subject: Subject, samples: range, level: float, pieces: Pieces) -> Paths:
    """The teacher's paths, with its state at the level that is nearest to ``level``."""
    with torch.no_grad():
        data = trajectories(subject, samples, seed=0, levels=LEVELS, keep=True, pieces=pieces)
    place = min(range(LEVELS), key=lambda i: abs(math.log(data.levels[i] / level)))
    beyond = data.state(place) - data.levels[place] * data.noise
    assert data.cond is not None
    return Paths(data.noise, data.cond, beyond, data.end)


@torch.no_grad()
def judged(sampler: Sampler, paths: Paths) -> Tensor:
    """The distances of all, a batch at a time."""
    parts = torch.split(torch.arange(len(paths.noise)), 2 * BATCH)
    return torch.cat([sampler.distances(paths.at(part)) for part in parts]).double()


def fit(sampler: Sampler, paths: Paths, iterations: int) -> Iterator[int]:
    """Adam, the rate falling to 0 by a cosine; yields the number of iterations done."""
    order = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(sampler.groups())
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    for done in range(iterations):
        rows = torch.randperm(len(paths.noise), generator=order)[:BATCH]
        optimizer.zero_grad()
        sampler.distances(paths.at(rows)).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        yield done + 1


def measured(nfe: int, variant: str, iterations: int, pieces: Pieces) -> dict[str, str]:
    """What Adam reaches with a variant."""
    subject = subject_of(as_model("cifar10"), None, None, 2 * BATCH, None)
    file = load_fitted(ASSETS / "calibrated" / f"cifar10-{nfe}.json")
    torch.manual_seed(0)
    sampler = Sampler(subject, file, variant)
    fitted, held = (paths_of(subject, s, file.levels[0], pieces) for s in (FITTED, HELD))
    before = judged(sampler, held)
    for done in fit(sampler, fitted, iterations):
        if done % 50 == 0:
            shown = f"{float(judged(sampler, held).mean()):.4f}"
            print(f"{nfe} evaluations, {variant}: {done} of {iterations}, {shown}", flush=True)
    after = judged(sampler, held)
    gain = mean_of(after / before)
    return {
        "before": f"{float(before.mean()):.5f}",
        "after": f"{float(after.mean()):.5f}",
        "fitted": f"{float(judged(sampler, fitted).mean()):.5f}",
        "value": f"{gain.value:.4f}",
        "low": f"{gain.low:.4f}",
        "high": f"{gain.high:.4f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--nfe", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--only", nargs="*", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--iterations", type=int, default=300)
    options = parser.parse_args()
    table = Table(options.out, ("nfe", "variant"))
    pieces = Pieces(options.out.with_suffix(".pieces"), {"model": "cifar10"})
    for nfe in options.nfe:
        for variant in options.only:

            def fit_one(nfe: int = nfe, variant: str = variant) -> dict[str, str]:
                return measured(nfe, variant, options.iterations, pieces)

            table.fill({"nfe": str(nfe), "variant": variant}, fit_one)


if __name__ == "__main__":
    main()
