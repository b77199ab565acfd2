"""The PixelAsParam code: classifier and classifier-free guidance in ancestral steps, with its
conflict projections.

Reference classes: MLT (one inner product for the whole batch), MLT2, CDiv, CDiv2 (classifier),
ClassFree (plain) and ClassFreeMLT6 (classifier-free).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from diffdescent.core.executor import Executor
from diffdescent.core.grid import Grid, explicit
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.process import VP, Point, Process
from diffdescent.core.solvers.ddim import DDPM
from diffdescent.core.transforms import StepParts, Threshold
from diffdescent.guidance import RELEASED, Classifier, ClassifierFree, Delta, FreePxP, Guided
from tests.parity.golden import (
    Case,
    Exact,
    cases,
    common,
    compare,
    error,
    members,
    note,
    run,
    start,
)

PRESETS = {"MLT": "mlt", "MLT2": "mlt2", "MLTCDiv": "cdiv", "MLTCDiv2": "cdiv2"}


def _grid(timesteps: np.ndarray) -> Grid:
    return explicit(VP.named(), [*timesteps[::-1], -1])


def _logits(x: Tensor, at: Point) -> Tensor:
    """log w_k + log N(x; α μ_k, α² v_k + σ²): the exact noisy classifier of the mixture's
    components, in x's dtype."""
    means, variances, weights = (
        torch.tensor(common(name)).to(x) for name in ("means", "variances", "weights")
    )
    total = at.alpha**2 * variances + at.sigma**2
    d = x[:, None] - at.alpha * means
    return weights.log() - 0.5 * (d * d / total + total.log()).flatten(2).sum(-1)


@dataclass
class OfClass:
    """E[ε | x, y] of the single Gaussian N(scale·μ_y, v_y)."""

    scale: float
    process: Process = field(default_factory=VP.named)
    shape: tuple[int, ...] | None = (3, 8, 8)

    def __call__(self, x: Tensor, at: Point, cond: Tensor | None = None) -> Prediction:
        mean, variance = (
            torch.tensor(common("means"))[cond] * self.scale,
            torch.tensor(common("variances"))[cond],
        )
        eps = at.sigma * (x - at.alpha * mean) / (at.alpha**2 * variance + at.sigma**2)
        return Prediction(eps, conversion("eps", at))


@cases("pxp", lambda e: e["options"]["guidance"] == "classifier-free")
def test_classifier_free(case: Case) -> None:
    """x0 = D_c + w(D_c − D_u), both clipped first, less the conflicts (MLT6), clipped again."""
    options = case.options
    labels = torch.tensor(case["labels"])
    clip = 1.0 if options["clip_denoised"] else None
    model = ClassifierFree(
        OfClass(options["cond_mean_scale"]), 1 + options["w_cond"], Exact(), clip=clip
    )
    projection = FreePxP(options["den_weight"], options["cond_weight"], zero="batch")
    ours = run(
        DDPM("large").plan(_grid(case["timestep_map"])),
        start(),
        model=lambda x, at: model(x, at, labels),
        noise=case.noise(),
        estimates=(
            *([projection] if "MLT6" in options["cls"] else []),
            *([Threshold()] if clip else []),
        ),
    )
    compare(case, ours)


@cases("pxp", lambda e: e["options"]["guidance"] == "classifier")
def test_classifier(case: Case) -> None:
    """The mean of an ancestral step, its noise and the classifier's gradient lose what
    conflicts."""
    options = case.options
    labels = torch.tensor(case["labels"]).long()
    model = Guided(
        Exact(), Classifier(_logits, options["classifier_temperature"]), options["classifier_scale"]
    )
    gradients: list[Tensor] = []

    def guided(x: Tensor, at: Point) -> Prediction:
        prediction = model(x, at, labels)
        gradients.append(prediction.guidance.mean)
        return prediction

    projection = RELEASED[PRESETS[options["cls"].removeprefix("GaussianDiffusion")]]
    ours = run(
        DDPM("large").plan(_grid(case["timestep_map"])),
        start(),
        model=guided,
        noise=case.noise(),
        estimates=(Threshold(),) if options["clip_denoised"] else (),
        displacements=(projection,),
        dtype=torch.float32 if "native32" in case.id else torch.float64,
    )
    compare(case, ours)
    if "cls_grad" in case:
        recorded = case["cls_grad"]
        note(case, error(torch.stack(gradients)[:, : recorded.shape[1]], recorded))


@dataclass
class Given:
    """A noise source of one draw."""

    z: Tensor

    def initial(self, shape: Sequence[int]) -> Tensor:
        return self.z

    def __call__(self, x: Tensor, step: int, draw: int, src: Point, dst: Point) -> Tensor:
        return self.z


def _row(case: Case, name: str) -> Tensor:
    """The recorded array of one row, (4, …)."""
    return torch.tensor(members("pxp_single.npz")[name][case.entry["row"]])


def _parts(case: Case) -> tuple[Tensor, StepParts]:
    """The anchor Z·x and our own parts of the recorded step, sample by sample (each has its own
    time)."""
    plan = DDPM("large").plan(_grid(np.round(np.linspace(0, 999, 20))))
    options = case.options
    guide = Classifier(_logits, options["classifier_temperature"])
    anchors, denoise, guidance = [], [], []
    for x, y, index, t in zip(
        *(_row(case, name) for name in ("x", "y", "t_index", "t")), strict=True
    ):
        row = plan.rows[len(plan.rows) - 1 - int(index)]
        at, out = row.at, row.outputs[0]
        assert at.t == t
        x = x[None]
        x0 = Exact()(x, at).to("x0", x)
        if options["clip_denoised"]:
            x0 = x0.clamp(-1, 1)
        # ε = (x − α x0)/σ
        anchors.append((out.base + out.evals[0] / at.sigma) * x)
        denoise.append(-out.evals[0] * at.alpha / at.sigma * x0)
        spread = out.noise if out.spread is None else out.spread
        guidance.append(spread**2 * options["classifier_scale"] * guide(x, at, y[None].long()))
    return torch.cat(anchors), StepParts(
        torch.cat(denoise), _row(case, "g_div"), torch.cat(guidance)
    )


@cases("pxp_single")
def test_step_parts(case: Case) -> None:
    """The parts before any projection, and what each released class makes of them."""
    anchor, parts = _parts(case)
    worst = max(
        error(parts.denoise, _row(case, "g_den")), error(parts.guidance, _row(case, "g_cls"))
    )
    worst = max(worst, error(anchor, _row(case, "x") * _row(case, "coef2")[:, None, None, None]))

    mlt, mlt2, cdiv, cdiv2 = (
        RELEASED[name].conflicts.kept(parts, Delta()) for name in PRESETS.values()
    )
    for ours, name in (
        (mlt2.guidance, "mlt2_cls"),
        (mlt2.denoise, "mlt2_den"),
        (cdiv.guidance, "cdiv_cls"),
        (cdiv.denoise, "mlt2_den"),
        (cdiv.diversity, "cdiv_div"),
        (cdiv2.guidance, "cdiv_cls"),
        (cdiv2.diversity, "cdiv2_div"),
    ):
        assert ours is not None
        worst = max(worst, error(ours, _row(case, name)))
    data = members("pxp_single.npz")
    for which in np.flatnonzero(data["mlt_row"] == case.entry["row"]):
        worst = max(
            worst,
            error(mlt.guidance, data["mlt_cls"][which]),
            error(mlt.denoise, data["mlt_den"][which]),
        )
    for i, result in enumerate((mlt, mlt2, cdiv, cdiv2)):
        assert result.diversity is not None
        sample = anchor + result.denoise + result.diversity + result.guidance
        worst = max(worst, error(sample.sum(), _row(case, "sample_sum")[i]))
        worst = max(worst, error(sample.norm(), _row(case, "sample_norm")[i]))
    note(case, worst)


@cases("pxp_single", lambda e: not e["options"]["mixed_t"])
def test_one_step(case: Case) -> None:
    """The same through the engine, for the rows whose samples share one time."""
    plan = DDPM("large").plan(_grid(np.round(np.linspace(0, 999, 20))))
    index = int(_row(case, "t_index")[0])
    z = _row(case, "g_div") / _row(case, "variance").sqrt()[:, None, None, None]
    options = case.options
    model = Guided(
        Exact(), Classifier(_logits, options["classifier_temperature"]), options["classifier_scale"]
    )
    worst = 0.0
    for i, name in enumerate(PRESETS.values()):
        machine = Executor(
            plan,
            _row(case, "x"),
            noise=Given(z),
            estimates=(Threshold(),) if options["clip_denoised"] else (),
            displacements=(RELEASED[name],),
            dtype=torch.float64,
            first_row=len(plan.rows) - 1 - index,
        )
        query = machine.ask()
        machine.tell(model(query.x, query.at, _row(case, "y").long()))
        worst = max(worst, error(machine.x.sum(), _row(case, "sample_sum")[i]))
        worst = max(worst, error(machine.x.norm(), _row(case, "sample_norm")[i]))
    note(case, worst)
