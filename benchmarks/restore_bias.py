"""The posterior mean of every restoration method against the exact one, for Gaussian priors.

Usage: python benchmarks/restore_bias.py [--nfe 100] [--samples 60] [--measurements 24] [--csv FILE]

The prior is N(μ, C) over 6 × 6 pixels, white (C = s²I) or smooth (neighbouring pixels correlate);
the measurement is linear with noise σ_n. Printed is ‖m − E[x | y]‖/‖E[x | y]‖ in per cent, the root
mean square over measurements. Under a method whose steps are affine in the state and the noise, m
is its image from the state 0 without noise, which is the mean of all its images, of three
measurements; under the others it is the mean of samples of more, less what their number adds by
chance, with an interval (Student's t over the measurements, of the mean square).
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffdescent.base.csv_text import csv_text
from diffdescent.base.files import write_atomically
from diffdescent.core.operators import Linear, parse_operator
from diffdescent.core.process import VP
from diffdescent.core.spectrum.power import measure_spectrum
from diffdescent.evaluate.posterior import judge_posterior
from diffdescent.models.gaussian import Gaussian
from diffdescent.models.posterior import posterior
from diffdescent.run import NOISES, collect, prepare_restoration
from diffdescent.run.problem import measure

SHAPE = (1, 6, 6)
GRID = "karras"
AFFINE = (
    "ddim | diffpir(strength=1, spread={s})",
    "diffpir",
    "ddim | pigdm(spread={s})",
    "pigdm(spread={s})",
    "pigdm(spectrum='{c}')",
    "ddim | mmps(steps=36, through=inf)",
    "ddnm",
    "ddrm",
    "ddim | ddrm",
    "ddrm(spectrum='{c}')",
    "ddim | ddrm(spectrum='{c}')",
    "hqs",
    "admm(strength=3)",
)
OTHERS = ("dps(through=inf)", "dps(size=paper, through=inf)", "reddiff")
"""Their step depends on the size of the residual; a little so that of pigdm, if C is smooth."""


@dataclass(frozen=True)
class Silent:
    """Noise that is zero: an affine chain then gives its mean."""

    seed: int
    samples: Tensor

    def initial(self, shape: Sequence[int]) -> Tensor:
        return torch.zeros(len(self.samples), *shape)

    def __call__(self, x: Tensor, *where: Any) -> Tensor:
        return torch.zeros_like(x)


def priors(folder: Path) -> dict[str, tuple[Gaussian, float, str]]:
    """Each prior, and the standard deviation and the power spectrum that the methods are given for
    it; the smooth one's is measured on 2,000 of its images and kept in ``folder``."""
    mean = torch.linspace(-0.4, 0.5, 36, dtype=torch.float64).reshape(SHAPE)
    process = VP.named("linear")
    at = torch.stack(torch.meshgrid(torch.arange(6.0), torch.arange(6.0), indexing="ij"), -1)
    apart = torch.cdist(at.reshape(-1, 2), at.reshape(-1, 2)).double()
    values, directions = torch.linalg.eigh(0.25 * torch.exp(-apart / 2))
    floor = float(values.min()) * 0.5
    factors = directions * (values - floor).clamp(min=0).sqrt()
    smooth = Gaussian(mean, floor, process, factors=factors)
    centred = smooth.sample(2000, torch.Generator().manual_seed(7)) - mean
    file = folder / "smooth.json"
    file.write_text(measure_spectrum(centred, bands=6).to_json())
    return {
        "white, s = 1": (Gaussian(mean, 1.0, process), 1.0, "white(1)"),
        "white, s = 0.5": (Gaussian(mean, 0.25, process), 0.5, "white(0.25)"),
        "smooth": (smooth, 0.5, str(file)),
    }


@dataclass(frozen=True)
class Case:
    """A prior, an operator and a noise, at ``nfe`` evaluations."""

    model: Gaussian
    text: str
    noise: float
    nfe: int

    def bias(self, method: str, measurements: int, samples: int | None) -> tuple[float, ...]:
        """The bias in per cent and its interval; ``samples`` None is the exact mean."""
        operator = parse_operator(self.text).bind(SHAPE, dtype=torch.float64)
        assert isinstance(operator, Linear)
        clean = self.model.sample(measurements, torch.Generator().manual_seed(1))
        y = measure(operator, clean, self.noise, 0, range(measurements))
        truth = posterior(self.model, self.text, y, self.noise)
        n = samples or 1
        run = prepare_restoration(
            self.model, y, operator, noise=self.noise, method=method, nfe=self.nfe, grid=GRID,
            n=n, batch_size=measurements * n, micro_batch=measurements * n, dtype=torch.float64,
        )  # fmt: skip
        images = collect(run if samples else replace(run, noise="silent")).images
        if samples is None:
            apart = (images - truth.mean).square().sum() / truth.mean.square().sum()
            return 100 * float(apart) ** 0.5, math.nan, math.nan
        each = images.reshape(measurements, n, *SHAPE).transpose(0, 1)
        found = judge_posterior(each, truth, operator, y, self.noise, metrics=["mean_error"])
        e = found["mean_error"]
        return tuple(100 * math.copysign(abs(v) ** 0.5, v) for v in (e.value, e.low, e.high))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nfe", type=int, default=100)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--measurements", type=int, default=24, help="of the methods that sample")
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    NOISES["silent"] = Silent  # type: ignore[assignment]
    lines: list[tuple[object, ...]] = [
        ("prior", "operator", "noise", "nfe", "method", "bias_percent", "low", "high")
    ]
    folder = tempfile.TemporaryDirectory()
    for name, (model, s, spectrum) in priors(Path(folder.name)).items():
        for text in ("blur(sigma=0.8)", "downsample(2)", "mask"):
            for noise in (0.05, 0.3):
                case = Case(model, text, noise, asked.nfe)
                for method in (*AFFINE, *(OTHERS if text.startswith("blur") else ())):
                    counts = (3, None) if method in AFFINE else (asked.measurements, asked.samples)
                    found = case.bias(method.format(s=s, c=spectrum), *counts)
                    shown = method.format(s=s, c="…")
                    row = (name, text, noise, asked.nfe, shown, *(f"{v:.2f}" for v in found))
                    lines.append(row)
                    print(*row, sep="\t", flush=True)
    if asked.csv is not None:
        write_atomically(asked.csv, csv_text(lines).encode())


if __name__ == "__main__":
    main()
