"""The PixelAsParam code: the parts that are plain sampling (ancestral steps, classifier-free guidance).

Its conflict projections (classes MLT, MLT2, CDiv, CDiv2, ClassFreeMLT6) are a displacement transform of their own and
are matched where that lives.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diffdescent.grid import Grid, explicit
from diffdescent.predict import Prediction, conversion
from diffdescent.process import VP, Point
from diffdescent.solvers.ddim import DDPM
from diffdescent.transforms import Threshold

from .golden import Case, cases, common, compare, error, members, mixture_eps, note, run, start


def _grid(timesteps: np.ndarray) -> Grid:
    return explicit(VP.named(), [*timesteps[::-1], -1])


def _clipped(eps: Tensor, x: Tensor, at: Point) -> Tensor:
    """ε of the x0 clamped to [−1, 1]."""
    x0 = ((x - at.sigma * eps) / at.alpha).clamp(-1, 1)
    return (x - at.alpha * x0) / at.sigma


@cases("pxp", lambda e: e["options"]["cls"] == "GaussianDiffusionClassFree")
def test_classifier_free(case: Case) -> None:
    """ε = (1 + w) ε_c − w ε_u, both of clipped x0, inside ancestral steps with the large variance."""
    w = case.options["w_cond"]
    labels = case["labels"]
    mean = torch.tensor(common("means"))[labels] * case.options["cond_mean_scale"]
    variance = torch.tensor(common("variances"))[labels]

    def model(x: Tensor, at: Point) -> Prediction:
        a, s = at.alpha, at.sigma
        conditional = _clipped(s * (x - a * mean) / (a * a * variance + s * s), x, at)
        unconditional = _clipped(mixture_eps(x, a, s), x, at)
        return Prediction((1 + w) * conditional - w * unconditional, conversion("eps", at))

    plan = DDPM("large").plan(_grid(case["timestep_map"]))
    compare(case, run(plan, start(), model=model, noise=case.noise(), estimates=(Threshold(),)))


@cases("pxp_single")
def test_step_parts(case: Case) -> None:
    """Before any projection: the variance, the posterior mean's coefficients and the denoising part g_den."""
    data = members("pxp_single.npz")
    row = case.entry["row"]
    plan = DDPM("large").plan(_grid(np.round(np.linspace(0, 999, 20))))
    worst = 0.0
    for sample in range(case.options["batch"]):
        index = int(data["t_index"][row, sample])
        ours = plan.rows[len(plan.rows) - 1 - index]
        at, out = ours.at, ours.outputs[0]
        assert at.t == data["t"][row, sample]
        on_x0 = -out.evals[0] * at.alpha / at.sigma  # ε = (x − α x0)/σ
        on_x = out.base + out.evals[0] / at.sigma
        x = torch.tensor(data["x"][row, sample : sample + 1])
        x0 = (x - at.sigma * mixture_eps(x, at.alpha, at.sigma)) / at.alpha
        if case.options["clip_denoised"]:
            x0 = x0.clamp(-1, 1)
        worst = max(
            worst,
            error(np.array([on_x0, on_x]), [data["coef1"][row, sample], data["coef2"][row, sample]]),
            error(on_x0 * x0, data["g_den"][row, sample : sample + 1]),
        )
        if index > 0:  # no noise is added at the last step
            worst = max(worst, error(np.array([out.noise**2]), [data["variance"][row, sample]]))
    note(case, worst)
