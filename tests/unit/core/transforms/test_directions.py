"""Guidance intervals, CFG++, APG and CFG rescale against their formulas in float64, and what leaves
the sampler as it is."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.core.linear import sum_of
from diffdescent.core.model_info import info
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Prediction
from diffdescent.core.process import VE, Point, Process
from diffdescent.core.solvers.ddim import DDIM, DDPM
from diffdescent.core.solvers.unipc import UniPC
from diffdescent.core.transforms import Threshold
from diffdescent.guidance import APG, ClassifierFree, ClassifierFreePlus, FreePxP, Guided, Rescale
from diffdescent.models.mixture import Mixture
from tests.contract.setups import first_step
from tests.unit.guidance.models import LABELS, VP, NoGradient, guided, mixture, run
from tests.unit.guidance.test_sources import towards


def plan(solver: Any = DDIM(), steps: int = 6) -> Plan:  # noqa: B008
    made: Plan = solver.plan(dd.grid("uniform(spacing=trailing)", VP, steps))
    return made


class Counted:
    """A model that counts the samples that it was asked for."""

    def __init__(self, inner: dd.Predictor) -> None:
        self.inner, self.process, self.shape, self.asked = inner, inner.process, inner.shape, 0

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        self.asked += len(x)
        return self.inner(x, point, cond)


def estimates(x: Tensor, at: Point) -> tuple[Tensor, Tensor]:
    """D_c and D_∅."""
    model = mixture()
    return model(x, at, LABELS).to("x0", x), model(x, at, None).to("x0", x)


def start() -> Tensor:
    from diffdescent.core.noise import Keyed

    return Keyed(4, torch.arange(5)).initial((3, 6, 5)).double()


def reference(table: Plan, guide: Any) -> Tensor:
    """DDIM written out: x_s = α_s D + σ_s ε, with (D, ε) = guide(x, at, D_c, D_∅)."""
    x = start()
    points = [row.at for row in table.rows] + [table.grid.points[-1]]
    for at, to in pairwise(points):
        d, eps = guide(x, at, *estimates(x, at))
        x = to.alpha * d + to.sigma * eps
    return x


def eps_of(x: Tensor, at: Point, d: Tensor) -> Tensor:
    return (x - at.alpha * d) / at.sigma


# Guidance intervals


def test_an_interval_against_its_formula_and_its_cost() -> None:
    table, lo, hi = plan(steps=10), 0.3, 2.0
    model = Counted(mixture())
    free = ClassifierFree(model, 3.0, interval=(lo, hi))
    ours = run(table, free)

    def guide(x: Tensor, at: Point, with_label: Tensor, without: Tensor) -> tuple[Tensor, Tensor]:
        d = (
            with_label + 2 * (with_label - without)
            if lo <= at.sigma / at.alpha <= hi
            else with_label
        )
        return d, eps_of(x, at, d)

    assert torch.allclose(ours, reference(table, guide), atol=1e-9, rtol=0)
    inside = sum(lo <= row.at.ratio <= hi for row in table.rows)
    assert 0 < inside < 10
    assert model.asked == 5 * (10 + inside)
    assert free.calls == 2
    assert sum(free.calls_at(row.at) for row in table.rows) == 10 + inside


def test_an_empty_interval_is_the_conditional_model_to_the_bit() -> None:
    table = plan(DDPM())
    conditional = run(table, mixture())
    for chain in (
        (),
        (FreePxP(),),
        (Rescale(),),
        (APG(7.0),),
        (APG(7.0), Rescale(), FreePxP(), Threshold(50.0)),
    ):
        assert torch.equal(
            run(table, ClassifierFree(mixture(), 7.0, interval=(0.0, 0.0)), estimates=chain),
            conditional,
        )
    assert torch.equal(
        run(table, ClassifierFreePlus(mixture(), 0.6, interval=(0.0, 0.0))), conditional
    )
    everywhere = ClassifierFree(mixture(), 7.0, interval=(0.0, math.inf))
    assert torch.equal(run(table, everywhere), run(table, ClassifierFree(mixture(), 7.0)))


def test_what_an_answer_costs() -> None:
    exact = mixture()
    free = ClassifierFree(exact, 2.0)
    assert [info(m).calls for m in (exact, free, guided(), Guided(free, towards(0.0)))] == [
        1,
        2,
        1,
        2,
    ]
    other = ClassifierFree(exact, 2.0, unconditional=ClassifierFree(exact, 2.0))
    assert other.calls == 3
    nested = Guided(ClassifierFree(exact, 2.0, interval=(0.3, 2.0)), towards(0.0))
    assert [nested.calls_at(VP.point(t)) for t in (0, 500, 999)] == [1, 1, 1]
    assert nested.calls_at(VP.point(300)) == 2


def test_the_difference_is_taken_in_single_precision() -> None:
    """A half-precision network's two answers are combined in float32, so that scale 30 does not
    magnify rounding."""
    answers = torch.tensor([1.0, 1.0078125]).bfloat16()

    def network(x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        assert cond is not None
        return answers[(cond < 0).long()].view(-1, 1, 1, 1).expand_as(x)

    model = dd.Network(
        network, process=VP, kind="x0", shape=(1, 1, 1), dtype=torch.bfloat16, label_count=2
    )
    for free in (ClassifierFree(model, 30.0), ClassifierFree(model, 30.0, clip=2.0)):
        found = free(torch.zeros(1, 1, 1, 1), VP.point(500), torch.tensor([0]))
        assert found.raw.item() == pytest.approx(1.0 - 29 * 0.0078125, abs=1e-6)


# CFG++


@pytest.mark.parametrize("scale", [-0.1, 1.01, 2.0, math.nan, math.inf])
def test_cfgpp_goes_from_no_label_to_the_label(scale: float) -> None:
    with pytest.raises(dd.UserError, match=r"must lie in \[0, 1\], not .*CFG\+\+ goes from"):
        ClassifierFreePlus(mixture(), scale)


@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_cfgpp_renoises_with_the_unconditional_noise(scale: float) -> None:
    """x_s = α_s (D_∅ + λ(D_c − D_∅)) + σ_s ε_∅."""

    def guide(x: Tensor, at: Point, with_label: Tensor, without: Tensor) -> tuple[Tensor, Tensor]:
        return without + scale * (with_label - without), eps_of(x, at, without)

    ours = run(plan(), ClassifierFreePlus(mixture(), scale))
    assert torch.allclose(ours, reference(plan(), guide), atol=1e-9, rtol=0)
    assert not torch.allclose(ours, run(plan(), ClassifierFree(mixture(), scale)), atol=1e-3)


def test_cfgpp_of_an_ancestral_step_and_a_noise_predicting_network() -> None:
    """Its own step from D_∅, plus α_s λ(D_c − D_∅), whatever the network's output is."""
    table = plan(DDPM(), 5)
    ours = run(table, ClassifierFreePlus(mixture(), 0.4))
    assert torch.allclose(
        ours, run(table, ClassifierFreePlus(_Noise(mixture()), 0.4)), atol=1e-9, rtol=0
    )
    once = first_step(table)
    x, at, to = start(), table.rows[0].at, table.rows[0].outputs[0].point
    with_label, without = estimates(x, at)
    moved = run(once, ClassifierFreePlus(mixture(), 0.4)) - run(once, NoGradient(mixture()))
    assert torch.allclose(moved, to.alpha * 0.4 * (with_label - without), atol=1e-12, rtol=0)


class _Noise(NoGradient):
    """``inner`` as a network that predicts ε."""

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        from diffdescent.core.predict import conversion

        return Prediction(self.inner(x, point, cond).to("eps", x), conversion("eps", point))


def test_cfgpp_of_scale_zero_is_the_unconditional_model_to_the_bit() -> None:
    for solver in (DDIM(), DDPM()):
        found = run(plan(solver), ClassifierFreePlus(mixture(), 0.0, together=False))
        assert torch.equal(found, run(plan(solver), NoGradient(mixture())))


def test_cfgpp_under_a_threshold_and_in_previews() -> None:
    """The estimate that is clipped and shown is the guided one; ε follows the clipping alone."""
    bound = 0.3

    def guide(x: Tensor, at: Point, with_label: Tensor, without: Tensor) -> tuple[Tensor, Tensor]:
        d = without + 0.6 * (with_label - without)
        clipped = d.clamp(-bound, bound)
        return clipped, eps_of(x, at, without + clipped - d)

    ours = run(plan(), ClassifierFreePlus(mixture(), 0.6), estimates=(Threshold(bound),))
    assert torch.allclose(ours, reference(plan(), guide), atol=1e-9, rtol=0)
    x, at = start(), plan().rows[2].at
    with_label, without = estimates(x, at)
    shown = ClassifierFreePlus(mixture(), 0.6)(x, at, LABELS).to("x0", x)
    assert torch.allclose(shown, without + 0.6 * (with_label - without), atol=1e-12, rtol=0)


def test_cfgpp_needs_a_step_of_its_own_for_each_evaluation() -> None:
    with pytest.raises(dd.UserError, match="CFG\\+\\+"):
        run(plan(UniPC()), ClassifierFreePlus(mixture(), 0.6))


# APG


def apg_reference(scale: float, eta: float, norm: float, momentum: float) -> Any:
    """Sadat et al., algorithm 1, sample by sample; where D_c = D_∅ (the mixture rounds to it)
    nothing is added."""
    memory: list[Tensor | float] = [0.0] * 5

    def guide(x: Tensor, at: Point, with_label: Tensor, without: Tensor) -> tuple[Tensor, Tensor]:
        d = torch.empty_like(x)
        for i, (c, u) in enumerate(zip(with_label, without, strict=True)):
            memory[i] = (c - u) + momentum * memory[i]
            change = torch.as_tensor(memory[i])
            if not bool((c - u).any()):
                d[i] = c
                continue
            change = change * min(1.0, norm / float(change.norm()))
            unit = c / c.norm()
            parallel = (change * unit).sum() * unit
            d[i] = c + (scale - 1) * (change - parallel + eta * parallel)
        return d, eps_of(x, at, d)

    return guide


@pytest.mark.parametrize(
    ("scale", "eta", "norm", "momentum"),
    [
        (4.0, 0.0, math.inf, 0.0),
        (4.0, 0.0, 1.5, -0.5),
        (7.0, 0.4, 0.8, -0.75),
        (0.5, 0.2, 1.0, 0.3),
    ],
)
def test_apg_against_its_algorithm(scale: float, eta: float, norm: float, momentum: float) -> None:
    table = plan(steps=8)
    ours = run(
        table, ClassifierFree(mixture(), scale), estimates=(APG(scale, eta, norm, momentum),)
    )
    expected = reference(table, apg_reference(scale, eta, norm, momentum))
    assert torch.allclose(ours, expected, atol=1e-9, rtol=0)
    assert not torch.allclose(ours, run(table, ClassifierFree(mixture(), scale)), atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neutral_settings_change_no_bit(dtype: torch.dtype) -> None:
    table = plan(DDPM())
    plain = run(table, ClassifierFree(mixture(), 4.0), dtype=dtype)
    for neutral in (
        APG(4.0, eta=1.0, momentum=0.0),
        Rescale(0.0),
        Rescale(0.0, of="x0"),
        Rescale(0.0, of="eps"),
    ):
        assert torch.equal(
            run(table, ClassifierFree(mixture(), 4.0), estimates=(neutral,), dtype=dtype), plain
        )
    conditional = run(table, mixture(), dtype=dtype)
    for chain in ((Rescale(0.7),), (APG(1.0, 0.0, 2.0, -0.5),)):
        one = run(
            table, ClassifierFree(mixture(), 1.0, together=False), estimates=chain, dtype=dtype
        )
        assert torch.equal(one, conditional)


def test_momentum_is_each_samples_own_and_each_runs() -> None:
    table, chain = plan(), (APG(5.0, 0.0, 1.0, -0.75),)
    model = ClassifierFree(mixture(), 5.0)
    whole = run(table, model, estimates=chain, width=1)
    assert torch.equal(whole, run(table, model, estimates=chain, width=1))
    order = (3, 0, 4, 2, 1)
    assert torch.equal(whole[list(order)], run(table, model, order, estimates=chain, width=1))
    assert torch.equal(whole[3:4], run(table, model, (3,), estimates=chain, width=1))
    recipe = replace(dd.sampler("ddim"), transforms=chain)
    images = dd.sample(model, recipe, steps=5, n=5, labels=LABELS).images
    assert torch.equal(
        images, dd.sample(model, recipe, steps=5, n=5, labels=LABELS, batch_size=2).images
    )


def test_a_sample_without_label_stays_unguided() -> None:
    """Also where APG remembers a direction, and beside samples that are guided."""
    labels = torch.tensor([0, -1, 2])
    recipe = replace(
        dd.sampler("ddim"), transforms=(APG(5.0, 0.0, 1.0, -0.75), Rescale(), FreePxP())
    )
    free = ClassifierFree(mixture(), 5.0, together=False)
    ours = dd.sample(free, recipe, steps=5, n=3, labels=labels, micro_batch=1).images
    plain = dd.sample(mixture(), "ddim", steps=5, n=3, labels=labels, micro_batch=1).images
    assert torch.equal(ours[1], plain[1])
    assert not torch.equal(ours[0], plain[0])


# CFG rescale


@pytest.mark.parametrize("of", ["v", "x0", "eps"])
@pytest.mark.parametrize("phi", [0.3, 1.0])
def test_rescale_against_its_formula(of: Any, phi: float) -> None:
    """std over each sample of the guided and of the conditional output."""

    def output(x: Tensor, at: Point, d: Tensor) -> Tensor:
        eps = eps_of(x, at, d)
        return {"v": at.alpha * eps - at.sigma * d, "x0": d, "eps": eps}[of]

    def guide(x: Tensor, at: Point, with_label: Tensor, without: Tensor) -> tuple[Tensor, Tensor]:
        c, u = (output(x, at, d) for d in (with_label, without))
        cfg = u + 4.0 * (c - u)
        factor = c.std((1, 2, 3), keepdim=True) / cfg.std((1, 2, 3), keepdim=True)
        final = phi * cfg * factor + (1 - phi) * cfg
        n2 = at.alpha**2 + at.sigma**2
        d = {
            "v": (at.alpha * x - at.sigma * final) / n2,
            "x0": final,
            "eps": (x - at.sigma * final) / at.alpha,
        }[of]
        return d, eps_of(x, at, d)

    ours = run(plan(), ClassifierFree(mixture(), 4.0), estimates=(Rescale(phi, of),))
    assert torch.allclose(ours, reference(plan(), guide), atol=1e-8, rtol=0)


def test_pxp_after_a_rival_takes_its_direction_apart() -> None:
    """A = D_c and B = what APG and rescale have left of the guidance, in one step to σ = 0, where
    x_s is D̃."""
    table = plan(steps=1)
    x, at = start(), table.rows[0].at
    with_label, _ = estimates(x, at)
    chain = (APG(-1.0, 0.3, 1.0, 0.0), Rescale(0.5, of="x0"))
    model = ClassifierFree(mixture(), -1.0)
    b = run(table, model, estimates=chain) - with_label
    inner = (with_label * b).flatten(1).sum(1).view(-1, 1, 1, 1)
    clash = inner < 0
    a_hat = (
        with_label
        - torch.where(clash, inner / b.square().flatten(1).sum(1).view(-1, 1, 1, 1), 0.0) * b
    )
    b_hat = (
        b
        - torch.where(clash, inner / with_label.square().flatten(1).sum(1).view(-1, 1, 1, 1), 0.0)
        * with_label
    )
    assert bool(clash.any())
    assert torch.allclose(
        run(table, model, estimates=(*chain, FreePxP())), a_hat + b_hat, atol=1e-9, rtol=0
    )


def test_sums_are_each_samples_own_in_any_number_of_dimensions() -> None:
    for shape in ((4, 3), (4, 2, 3), (4, 2, 3, 5)):
        x = torch.arange(math.prod(shape), dtype=torch.float64).view(shape)
        assert torch.equal(sum_of(x).flatten(), x.flatten(1).sum(1))


def gaussian(process: Process, shape: tuple[int, ...]) -> Mixture:
    return Mixture(torch.ones(1), torch.zeros(1, *shape), torch.ones(1, *shape), process)


def test_mistakes() -> None:
    exact = mixture()
    needy = dd.Network(
        lambda x, t, cond: x,
        process=VP,
        shape=(3, 6, 5),
        label_count=3,
        needs_label=True,
        name="needy",
    )
    for wrong, message in (
        (lambda: APG(math.nan), "finite"),
        (lambda: APG(2.0, norm=0.0), "positive"),
        (lambda: APG(2.0, momentum=math.inf), "finite"),
        (lambda: Rescale(1.5), r"\[0, 1\]"),
        (lambda: Rescale(of="raw"), "'of' of 'rescale' must be 'v'"),  # type: ignore[arg-type]
        (lambda: run(plan(), exact, estimates=(APG(2.0),)), "apg needs classifier-free"),
        (
            lambda: run(plan(DDPM()), guided(), estimates=(Rescale(),)),
            "rescale needs classifier-free",
        ),
        (lambda: ClassifierFree(exact, interval=(-1.0, 2.0)), "interval"),
        (lambda: ClassifierFree(exact, interval=(1.0,)), "interval"),  # type: ignore[arg-type]
        (lambda: ClassifierFree(guided()), "around the network"),
        (lambda: ClassifierFree(needy), "'needy' was trained with labels alone"),
        (lambda: ClassifierFree(exact, unconditional=gaussian(VE(), (3, 6, 5))), "another process"),
        (
            lambda: ClassifierFree(exact, unconditional=gaussian(VP, (1, 6, 5))),
            r"of shape \(1, 6, 5\)",
        ),
        (lambda: Guided(needy, towards(0.0)), "conditional"),
        (lambda: ClassifierFreePlus(exact)(torch.zeros(1, 3, 6, 5), VP.point(5)), "give labels"),
    ):
        with pytest.raises(dd.UserError, match=message):
            wrong()
    assert ClassifierFree(needy, unconditional=exact).info.needs_label


# Divergence


def test_a_scale_that_makes_the_images_diverge() -> None:
    """The step and the norm are named, and only the samples that diverge."""
    labels = torch.tensor([0, -1, 2])
    model = replace(guided(1e6), shift="score")
    with pytest.raises(
        dd.UserError,
        match=(
            r"diverge: at step 1 .* norm .*e\+0\d, where about 9.\d+ is usual, for 2 of 3 samples"
            r" \(0, 2\)"
        ),
    ):
        dd.sample(model, "ddim", steps=4, n=3, labels=labels)
    with pytest.raises(dd.UserError, match="diverge: after step 0"):
        dd.sample(model, "ddim", steps=1, n=3, labels=labels)
    with pytest.raises(dd.UserError, match="lower the guidance scale"):
        dd.sample(ClassifierFree(mixture(), 1e9), "ddim", steps=4, n=3, labels=labels)
    nan = Guided(mixture(), lambda x, at, y: torch.full_like(x, math.nan), shift="score")
    with pytest.raises(dd.UserError, match="norm nan"):
        dd.sample(nan, "ddim", steps=4, n=3, labels=labels)


def test_strong_guidance_that_stays_an_image_is_no_error() -> None:
    assert (
        dd.sample(ClassifierFree(mixture(), 12.0), "ddim", steps=20, n=4, labels=1)
        .images.isfinite()
        .all()
    )
