"""Guided sampling and PxP through the engine: identities to the bit, closed forms, and mistakes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.process import Point
from diffdescent.core.solvers import Solver
from diffdescent.core.solvers.ddim import DDIM, DDPM, StochasticMu
from diffdescent.core.solvers.dpm import DPMpp
from diffdescent.core.transforms import Momentum, Threshold
from diffdescent.core.transforms.projection import Scope
from diffdescent.guidance import PAPER, Classifier, ClassifierFree, FreePxP, Guided, PxP
from diffdescent.guidance.classifier import log_probability
from tests.contract.setups import first_step
from tests.unit.guidance.models import LABELS, VP, NoGradient, guided, mixture, run

NONE = (0.0, 0.0, 0.0, 0.0)
STOCHASTIC = [DDPM(), DDPM("large"), DDIM(1.0), DDIM(0.5), StochasticMu(0.25)]


def plan(solver: Solver, steps: int = 6, end: str = "zero") -> Plan:
    return solver.plan(dd.grid(f"uniform(spacing=trailing, end={end})", VP, steps))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("solver", STOCHASTIC)
def test_neutral_settings_change_no_bit(solver: Solver, dtype: torch.dtype) -> None:
    """δ = 0 is the same guidance without PxP, scale 0 no guidance at all, with and without PxP and
    a threshold."""
    table = plan(solver)
    for estimates in ((), (Threshold(0.5),)):
        with_guidance = run(table, guided(3.0), estimates=estimates, dtype=dtype)
        assert torch.equal(
            with_guidance,
            run(table, guided(3.0), displacements=(PxP(NONE),), estimates=estimates, dtype=dtype),
        )
        unguided = run(table, NoGradient(mixture()), estimates=estimates, dtype=dtype)
        assert not torch.equal(with_guidance, unguided)
        for moves in ((), (PxP(),)):
            assert torch.equal(
                unguided,
                run(table, guided(0.0), displacements=moves, estimates=estimates, dtype=dtype),
            )
        projected = run(
            table, guided(3.0), displacements=(PxP(),), estimates=estimates, dtype=dtype
        )
        assert not torch.equal(with_guidance, projected)


@pytest.mark.parametrize("scope", ["sample", "channel"])
def test_permuting_and_splitting_the_batch(scope: Scope) -> None:
    table, moves = plan(DDPM(), 4), (PxP(scope=scope),)
    whole = run(table, guided(5.0), displacements=moves, width=1)
    order = (3, 0, 4, 2, 1)
    assert torch.equal(
        whole[list(order)], run(table, guided(5.0), order, displacements=moves, width=1)
    )
    for i in (0, 3):
        assert torch.equal(
            whole[i : i + 1], run(table, guided(5.0), (i,), displacements=moves, width=1)
        )
    tied = (PxP(scope="batch"),)
    together = run(table, guided(5.0), displacements=tied)
    assert not torch.allclose(together[:1], run(table, guided(5.0), (0,), displacements=tied))


def test_a_sample_without_gradient_leaves_the_others_alone() -> None:
    table, moves = plan(DDPM(), 4), (PxP(),)
    whole, silent = (
        run(table, guided(5.0), displacements=moves, silent=i, width=1) for i in (None, 2)
    )
    others = [0, 1, 3, 4]
    assert torch.equal(whole[others], silent[others])
    assert torch.equal(silent[2:3], run(table, NoGradient(mixture()), (2,), width=1))


@pytest.mark.parametrize("solver", [DDPM(), DDIM(), DDIM(0.7), DPMpp(order=1)])
def test_the_exact_score_shift_is_the_conditional_model(solver: Solver) -> None:
    """∇log p(x) + ∇log p(y | x) = ∇log p(x | y): at scale 1 the guided model samples what the
    conditional one does."""
    exact = mixture()
    table = plan(solver, 8)
    ours = run(table, guided(1.0, "score"))
    assert torch.allclose(ours, run(table, exact), atol=1e-9, rtol=0)


def test_the_mean_moves_by_the_variance_times_the_gradient() -> None:
    """One ancestral step, part by part, and a learned variance pixel by pixel."""
    model, table = guided(2.0), plan(DDPM(), 3)
    x = torch.randn(5, 3, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    at = table.rows[0].at
    gradient = model(x, at, LABELS).guidance.mean
    once = first_step(table)
    assert torch.allclose(
        run(once, _Started(model, x)) - run(once, _Started(NoGradient(mixture()), x)),
        table.rows[0].outputs[0].noise ** 2 * gradient,
        atol=1e-12,
        rtol=0,
    )
    learned = first_step(plan(DDPM("learned"), 3))
    log_var = learned.rows[0].outputs[0].log_var
    assert log_var is not None
    half = (
        _Started(model, x, torch.full_like(x, 0.0)),
        _Started(NoGradient(mixture()), x, torch.full_like(x, 0.0)),
    )
    shift = torch.exp(torch.tensor(sum(log_var) / 2)) * gradient
    assert torch.allclose(
        run(learned, half[0]) - run(learned, half[1]), shift, atol=1e-6, rtol=1e-6
    )


class _Started:
    """``inner`` asked at ``x`` whatever the state is, with a variance to be learned from."""

    process, shape = VP, (3, 6, 5)

    def __init__(self, inner: dd.Predictor, x: Tensor, variance: Tensor | None = None) -> None:
        self.inner, self.x, self.variance = inner, x, variance

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        return replace(self.inner(self.x, point, cond), variance=self.variance)


def test_the_last_step_of_the_large_variance_is_guided() -> None:
    """It draws no noise; the reference moves its mean by the posterior variance of the step
    before."""
    large, small = (plan(DDPM(v)).rows[-1].outputs[0] for v in ("large", "small"))
    before = plan(DDPM()).rows[-2].outputs[0].noise
    assert (large.noise, large.spread) == (0.0, before)
    assert (small.noise, small.spread) == (0.0, 0.0)
    quiet = plan(DDPM(final_noise=False), end="first").rows[-1].outputs[0]
    loud = plan(DDPM(), end="first").rows[-1].outputs[0]
    assert (quiet.noise, quiet.spread) == (0.0, loud.noise)


def test_a_sure_classifier_keeps_its_digits() -> None:
    """d log p_y/dl_j = −p_j for j ≠ y and Σ_{j≠y} p_j for y itself, also where 1 − p_y rounds to
    zero."""
    logits = torch.tensor(
        [[0.0, -60.0, -80.0], [1.0, 2.0, 3.0], [5.0, 1.0, 0.0]], dtype=torch.float64
    )
    logits.requires_grad_()
    value = log_probability(logits, torch.tensor([0, 2, -1]))
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    p = logits.detach().softmax(1)
    assert torch.allclose(
        value[:2], torch.tensor([-(p[0, 1] + p[0, 2]), p[1, 2].log()]), rtol=1e-12, atol=0
    )
    assert torch.allclose(
        gradient[0], torch.tensor([p[0, 1] + p[0, 2], -p[0, 1], -p[0, 2]]), rtol=1e-12, atol=0
    )
    assert torch.allclose(
        gradient[1], torch.tensor([-p[1, 0], -p[1, 1], 1 - p[1, 2]]), rtol=1e-12, atol=0
    )
    assert value[2] == 0
    assert not gradient[2].any()


def test_guides_nest_and_add() -> None:
    exact = mixture()
    twice = Guided(guided(0.5), Classifier(exact.class_log_prob), 1.5)
    assert torch.allclose(
        run(plan(DDPM()), twice), run(plan(DDPM()), guided(2.0)), atol=1e-12, rtol=0
    )


def test_classifier_free() -> None:
    """Scale 1 is the conditional model, 0 the unconditional one; one batch or two, one model or two
    are the same."""
    exact, table = mixture(), plan(DDIM(0.5))
    conditional, unconditional = run(table, exact), run(table, NoGradient(exact))
    assert torch.equal(run(table, ClassifierFree(exact, 1.0)), conditional)
    assert torch.allclose(run(table, ClassifierFree(exact, 0.0)), unconditional, atol=1e-12, rtol=0)
    three = run(table, ClassifierFree(exact, 3.0))
    for other in (
        ClassifierFree(exact, 3.0, together=False),
        ClassifierFree(exact, 3.0, NoGradient(exact)),
    ):
        assert torch.allclose(three, run(table, other), atol=1e-12, rtol=0)
    assert torch.equal(
        three, run(table, ClassifierFree(exact, 3.0), estimates=(FreePxP(0.0, 0.0),))
    )
    # e_c − e_u = −σ ∇log p(y | x): the exact classifier's score shift is the same guidance.
    both = run(table, ClassifierFree(exact, 3.0)), run(table, _Labelled(guided(2.0, "score")))
    assert torch.allclose(*both, atol=1e-9, rtol=0)


class _Labelled(NoGradient):
    """The conditional model inside, with the gradient of the guided one beside it."""

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        return replace(mixture()(x, point, cond), guidance=self.inner(x, point, cond).guidance)


def test_free_pxp_resolves_the_direction() -> None:
    """A = D_c and B = w(D_c − D_u) opposed: both lose their projection on the other."""
    class_mean, mean = torch.tensor([1.0, 0.0]), torch.tensor([3.0, -1.0])

    class Opposed:
        process, shape = VP, (1, 1, 2)

        def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
            assert cond is not None
            raw = torch.where(cond.view(-1, 1, 1, 1) >= 0, class_mean, mean).double()
            return Prediction(raw, conversion("x0", point))

    a, b = class_mean.double(), 0.5 * (class_mean - mean).double()
    expected = a - (a @ b) / (b @ b) * b + b - (a @ b) / (a @ a) * a
    machine = dd.Executor(
        DDIM().plan(dd.grid("uniform", VP, 1)),
        torch.zeros(1, 1, 1, 2),
        estimates=(FreePxP(),),
        dtype=torch.float64,
    )
    machine.tell(
        ClassifierFree(Opposed(), 1.5)(machine.ask().x, machine.ask().at, torch.tensor([0]))
    )
    assert torch.allclose(machine.x.flatten(), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("solver", ["ddpm", "ddim(eta=0.5)"])
def test_sample_with_guidance(solver: str) -> None:
    """Through sample(): micro-batches and batches change no bit, labels are checked, and PxP
    changes the images."""
    model = guided(4.0)
    chain = dd.sampler(solver) | PAPER["conditional"]
    whole = dd.sample(model, chain, steps=5, n=7, labels=1)
    assert torch.equal(
        whole.images, dd.sample(model, chain, steps=5, n=7, labels=1, batch_size=3).images
    )
    assert not torch.equal(whole.images, dd.sample(model, solver, steps=5, n=7, labels=1).images)
    assert whole.record.model == "mixture | guided(scale=4, shift=mean)"
    assert whole.record.recipe.endswith("pxp(delta=[1.0, 1.0, 0.001, 0.001])")
    with pytest.raises(dd.UserError, match="no label 3"):
        dd.sample(model, chain, steps=5, labels=3)


def test_guidance_reaches_the_class() -> None:
    """The classifier's own probability of the label grows with the scale, with and without PxP."""
    exact, table = mixture(), plan(DDPM(), 20)
    end = VP.point(0)

    def mean(model: dd.Predictor, *moves: PxP) -> float:
        found = exact.class_log_prob(run(table, model, displacements=moves), end)
        return float(found.gather(1, LABELS[:, None]).mean())

    assert mean(NoGradient(exact)) < mean(guided(1.0)) < 1e-3 + mean(guided(10.0))
    assert mean(NoGradient(exact)) < mean(guided(10.0), PxP())


def test_delta_by_step() -> None:
    """The last one repeats."""
    table = plan(DDPM())
    one = run(table, guided(4.0), displacements=(PxP(),))
    assert torch.equal(one, run(table, guided(4.0), displacements=(PxP(((1.0, 1.0, 1.0, 1.0),)),)))
    first = run(table, guided(4.0), displacements=(PxP(((1.0, 1.0, 1.0, 1.0), NONE)),))
    assert not torch.equal(one, first)
    assert not torch.equal(first, run(table, guided(4.0)))


def test_mistakes() -> None:
    exact = mixture()
    x = torch.zeros(2, 3, 6, 5)
    labels = torch.tensor([0, 1])
    at = VP.point(500)
    for wrong, message in (
        (lambda: run(plan(DDIM()), guided()), "shift='score'"),
        (lambda: run(plan(DPMpp(method="singlestep", eta=1.0)), guided()), "inner states"),
        (lambda: run(plan(DDPM()), NoGradient(exact), displacements=(PxP(),)), "has none"),
        (lambda: run(plan(DDPM()), exact, estimates=(FreePxP(),)), "has none"),
        (lambda: dd.sampler("ddpm | momentum") | PxP(), "before momentum"),
        (lambda: PxP(()), "an empty list"),
        (lambda: PxP((1.0, 1.0, 1.0)), "must be a list of 4 numbers"),  # type: ignore[arg-type]
        (lambda: PxP((1.0, 1.0, 1.0, float("inf"))), "must be a finite number"),
        (lambda: PxP(scope="image"), "sample"),  # type: ignore[arg-type]
        (lambda: FreePxP(float("nan")), "finite"),
        (lambda: FreePxP(zero="all"), "own"),  # type: ignore[arg-type]
        (lambda: guided(float("nan")), "finite"),
        (lambda: guided(1.0, "eps"), "score"),  # type: ignore[arg-type]
        (lambda: ClassifierFree(exact, float("inf")), "finite"),
        (lambda: ClassifierFree(exact, clip=-1.0), "positive"),
        (lambda: Classifier(exact.class_log_prob, temperature=0.0), "positive"),
        (lambda: guided()(x, at, None), "give labels"),
        (lambda: ClassifierFree(exact)(x, at, None), "give labels"),
        (lambda: Classifier(lambda x, at: torch.zeros(2, 3))(x, at, labels), "no gradient"),
        (lambda: Classifier(lambda x, at: x.flatten(1)[:, :1])(x, at, labels), "classes"),
    ):
        with pytest.raises(dd.UserError, match=message):
            wrong()
    assert dd.sampler("ddpm") | PxP() | Momentum(0.2)
