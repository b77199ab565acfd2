"""Steps with a learned variance and respaced processes against those of guided- and
improved-diffusion, recorded on small networks' outputs.

Left out: clipped steps from the noisiest level of cosine schedules, where x0 is a difference of
numbers 1e4 times its size and float32 leaves 1e-4 to 2e-2 of it.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.core.grid import Grid
from diffdescent.core.predict import Prediction, conversion
from tests.paths import DATA

RECORDED = np.load(DATA / "learned_variance.npz")
GROUPS = sorted({name.partition("/")[0] for name in RECORDED.files})


def arrays(group: str, name: str) -> Tensor | None:
    key = f"{group}/{name}"
    return torch.from_numpy(RECORDED[key]) if key in RECORDED.files else None


def step(group: str, t: np.ndarray, x: Tensor, raw: Tensor, z: float) -> Tensor:
    """One DDPM step from time t[0] to t[1] with all noise equal to z."""
    steps = 4000 if "4000" in group else 1000
    process = dd.VP.named("cosine" if "cosine" in group else "linear", steps)
    times = t.astype(np.float64)
    grid = Grid(process, times, *process.alpha_sigma(times))
    clip = "" if "noclip" in group else " | threshold"
    recipe = dd.sampler(f"ddpm(variance=learned){clip}")
    executor = dd.Executor(
        recipe.plan(grid),
        x,
        noise=lambda like, *_: torch.full_like(like, z),
        estimates=recipe.estimates,
    )
    at = executor.ask().at
    executor.tell(Prediction(raw[:, :3], conversion("eps", at), raw[:, 3:]))
    return executor.x


def close(found: Tensor, expected: Tensor, relative: float) -> None:
    assert float((found - expected).abs().max() / expected.abs().max()) <= relative


@pytest.mark.parametrize("group", GROUPS)
def test_mean_and_variance(group: str) -> None:
    x, out = arrays(group, "x"), arrays(group, "out")
    mean, variance = arrays(group, "mean"), arrays(group, "variance")
    assert x is not None
    assert out is not None
    assert mean is not None
    for i, t in enumerate(RECORDED[f"{group}/t"]):
        still, moved = (step(group, t, x[i : i + 1], out[i : i + 1], z) for z in (0.0, 1.0))
        close(still, mean[i : i + 1], 1e-6)
        if variance is not None and t[1] >= 0:  # the last step to the data draws no noise
            close((moved - still).square(), variance[i : i + 1], 5e-5)
