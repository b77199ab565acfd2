"""PxP over every solver: what a step consists of, against the step itself, and the neutral settings
to the bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.core.executor import Executor
from diffdescent.core.guidance_terms import GuidanceTerms
from diffdescent.core.noise import Keyed
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Basis, Kind, Prediction, conversion
from diffdescent.core.solvers import Solver
from diffdescent.core.solvers.ddim import DDIM, DDPM
from diffdescent.core.transforms import (
    Commit,
    Displacement,
    GradientEstimation,
    StepParts,
    Threshold,
)
from diffdescent.core.transforms.denoising import Denoising
from diffdescent.core.transforms.projection import Scope, ZeroNorm
from diffdescent.guidance import ClassifierFree, FreePxP, Guided, PxP
from diffdescent.lab.conflicts import Recorder
from tests.contract.setups import first_step
from tests.registry import build, learned, solvers
from tests.unit.guidance.models import LABELS, VP, NoGradient, guided, mixture, run

SHAPE = (1, 2, 3)
NONE = (0.0, 0.0, 0.0, 0.0)
SOLVERS = solvers(lambda s: not learned(s))
BASES: tuple[Basis, ...] = ("x0", "eps")


def table(solver: Solver, steps: int = 5, end: str = "first") -> Plan:
    return solver.plan(dd.grid(f"uniform(spacing=trailing, end={end})", VP, steps))


def gaussian(count: int, seed: int) -> Tensor:
    return torch.randn(
        count, 2, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


@dataclass
class Watch(Displacement):
    """Keeps every step and its parts."""

    wanted: Basis = "x0"
    seen: list[tuple[Tensor, StepParts]] = field(default_factory=list)
    name: ClassVar[str] = "watch"
    linear: ClassVar[bool] = True

    @property
    def wants_parts(self) -> Basis:
        return self.wanted

    def init(self, plan: Plan) -> None:
        return None

    def update(self, state: None, commit: Commit) -> tuple[Tensor, None]:
        assert commit.parts is not None
        self.seen.append((commit.proposal, commit.parts))
        return commit.proposal, None


def script(
    plan: Plan,
    kind: Kind,
    values: Tensor,
    gradients: Tensor,
    *,
    wanted: Basis = "x0",
    loud: float = 1.0,
    x: float = 1.0,
) -> Watch:
    """The steps of a network that answers ``values[i]`` and ``gradients[i]`` at evaluation i,
    wherever it is asked."""
    watch = Watch(wanted)
    index = torch.tensor([0, 1])
    start = Keyed(3, index).initial(SHAPE).double() * x

    class Scaled(Keyed):
        def __call__(self, *args: Any) -> Tensor:
            return super().__call__(*args) * loud

    machine = Executor(
        plan, start, noise=Scaled(3, index), displacements=(watch,), dtype=torch.float64
    )
    while not machine.done:
        query = machine.ask()
        terms = GuidanceTerms(score=gradients[query.index])
        machine.tell(Prediction(values[query.index], conversion(kind, query.at), None, terms))
    return watch


@pytest.mark.parametrize("wanted", BASES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_one_step_is_its_parts(solver: Solver, wanted: Basis) -> None:
    """Of one step in the basis of the network, each part is what the step makes of its source
    alone: of the estimates without start, noise and gradients; of the noise; of the gradients."""
    plan = table(solver, 1)
    values, gradients = gaussian(plan.nfe, 1), gaussian(plan.nfe, 2)
    nothing = torch.zeros_like(values)
    step, parts = script(plan, wanted, values, gradients, wanted=wanted).seen[0]
    for alone, part in (
        (script(plan, wanted, values, nothing, loud=0, x=0), parts.denoise),
        (script(plan, wanted, nothing, gradients, loud=0, x=0), parts.guidance),
        (script(plan, wanted, nothing, nothing, x=0), parts.diversity),
    ):
        expected = alone.seen[0][0]
        assert torch.allclose(
            expected, torch.zeros_like(step) if part is None else part, atol=1e-8, rtol=1e-8
        )
    assert plan.stochastic == (parts.diversity is not None)
    assert float(parts.guidance.abs().min()) > 0


@pytest.mark.parametrize("wanted", BASES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_guidance_and_noise_of_a_step_are_all_in_its_parts(solver: Solver, wanted: Basis) -> None:
    """Without them a run's first step is the step without gradient and noise; and at every later
    step, whatever the gradients before it, the denoising part is that of the estimates alone and
    the guidance part linear in gradients.
    """
    plan = table(solver, 4)
    values, gradients = gaussian(plan.nfe, 1), gaussian(plan.nfe, 2)
    both = script(plan, wanted, values, gradients, wanted=wanted)
    none = script(plan, wanted, values, gradients * 0, wanted=wanted, loud=0)
    step, parts = both.seen[0]
    noise = torch.zeros_like(step) if parts.diversity is None else parts.diversity
    churned = plan.start or any(len(r.outputs) > 1 and r.outputs[0].commit for r in plan.rows[:1])
    if not churned:
        assert torch.allclose(step - parts.guidance - noise, none.seen[0][0], atol=1e-9, rtol=1e-9)
    twice = script(plan, wanted, values, gradients * 2, wanted=wanted)
    for (_, without), (_, once), (_, doubled) in zip(none.seen, both.seen, twice.seen, strict=True):
        assert torch.allclose(
            without.denoise, once.denoise, atol=1e-9, rtol=1e-9
        )  # the estimates are given
        assert torch.allclose(doubled.guidance, 2 * once.guidance, atol=1e-9, rtol=1e-9)
        assert not bool(without.guidance.any())


@pytest.mark.parametrize("name", ["dpmpp", "plms", "ab", "deis", "ipndm"])
def test_multistep_parts_are_the_coefficients(name: str) -> None:
    """den = Σ_j C_j x0_j over the newest and the remembered evaluations, guidance C_0 σ²/α ∇ of the
    newest alone."""
    plan = table(build(name, {}), 5)
    values, gradients = gaussian(plan.nfe, 1), gaussian(plan.nfe, 2)
    watch = script(plan, "x0", values, gradients)
    for i, (row, (_, parts)) in enumerate(zip(plan.rows, watch.seen, strict=True)):
        (out,) = row.outputs
        points = [plan.rows[i - j].at for j in range(len(out.evals))]
        per_x0 = [1.0 if row.basis == "x0" else -p.alpha / p.sigma for p in points]
        den = sum(
            c * k * values[i - j] for j, (c, k) in enumerate(zip(out.evals, per_x0, strict=True))
        )
        scale = out.evals[0] * per_x0[0] * row.at.sigma**2 / row.at.alpha
        assert torch.allclose(parts.denoise, torch.as_tensor(den), atol=1e-11, rtol=1e-11)
        assert torch.allclose(parts.guidance, scale * gradients[i], atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("eta", [1.0, 0.4])
@pytest.mark.parametrize("steps", [4, 11])
def test_the_three_definitions(eta: float, steps: int) -> None:
    """Equations 12 to 14 at any respacing, with the posterior variance of DDIM(η) in place of the
    ancestral one."""
    plan = table(DDIM(eta), steps)
    eps, gradients = gaussian(plan.nfe, 1), gaussian(plan.nfe, 2)
    by_x0, by_eps = (script(plan, "eps", eps, gradients, wanted=b) for b in BASES)
    x, z = Keyed(3, torch.tensor([0, 1])).initial(SHAPE).double(), Keyed(3, torch.tensor([0, 1]))
    for i, ((step, p), (_, q)) in enumerate(zip(by_x0.seen, by_eps.seen, strict=True)):
        src, dst = plan.grid.points[i], plan.grid.points[i + 1]
        a = (src.alpha / dst.alpha) ** 2
        deviation = eta * (1 - dst.alpha**2) ** 0.5 / (1 - src.alpha**2) ** 0.5 * (1 - a) ** 0.5
        kept = (dst.sigma**2 - deviation**2) ** 0.5
        x0 = (x - src.sigma * eps[i]) / src.alpha
        noise = deviation * z(x, i, 0, src, dst)
        assert torch.allclose(
            p.denoise, (dst.alpha - kept * src.alpha / src.sigma) * x0, atol=1e-10, rtol=1e-10
        )
        assert torch.allclose(
            q.denoise, (kept - src.sigma / a**0.5) * eps[i], atol=1e-10, rtol=1e-10
        )
        if eta == 1:
            c1 = (1 - a) * dst.alpha / (1 - src.alpha**2)
            assert torch.allclose(p.denoise, c1 * x0, atol=1e-9, rtol=1e-9)
            noise_prediction = -(1 - a) / (a * (1 - src.alpha**2)) ** 0.5 * eps[i]
            assert torch.allclose(q.denoise, noise_prediction, atol=1e-9, rtol=1e-9)
        for parts in (p, q):
            assert parts.diversity is not None
            assert torch.allclose(parts.diversity, noise, atol=1e-12, rtol=1e-12)
            assert torch.equal(parts.guidance, p.guidance)
        assert torch.allclose(
            step - q.denoise - noise - q.guidance, x / a**0.5, atol=1e-9, rtol=1e-9
        )
        x = step


def test_x0_sampling_joins_the_noise_to_the_estimate() -> None:
    """One projection of guidance against c·x0 + s·z, and none against the noise alone."""
    plan, moves = table(DDPM()), (PxP(denoising="x0-sampling"),)
    once = first_step(plan)
    watch = Watch()
    plain = run(once, guided(3.0), displacements=(watch,))  # type: ignore[arg-type]
    parts = watch.seen[0][1]
    assert parts.diversity is not None
    den, cls = (p.flatten(1) for p in (parts.denoise + parts.diversity, parts.guidance))
    inner = (den * cls).sum(1, keepdim=True)
    expected = (
        inner / den.square().sum(1, keepdim=True) * den
        + inner / cls.square().sum(1, keepdim=True) * cls
    )
    off = (plain - run(once, guided(3.0), displacements=moves)).flatten(1)
    assert bool((inner < 0).any())
    assert torch.allclose(off, torch.where(inner < 0, expected, 0.0), atol=1e-12, rtol=0)


@pytest.mark.parametrize("denoising", ["x0", "noise"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_neutral_settings_change_no_bit(solver: Solver, denoising: Denoising) -> None:
    """δ = 0 is the same guidance without PxP, and at scale 0 PxP has nothing to project."""
    plan = table(solver, 4)
    model, silent = guided(2.0, "score"), guided(0.0, "score")
    quiet, loud = PxP(NONE, denoising=denoising), PxP(denoising=denoising)
    dtype = torch.float32
    with_guidance = run(plan, model, dtype=dtype)
    assert torch.equal(with_guidance, run(plan, model, displacements=(quiet,), dtype=dtype))
    assert torch.equal(
        run(plan, NoGradient(mixture()), dtype=dtype),
        run(plan, silent, displacements=(loud,), dtype=dtype),
    )
    projected = run(plan, model, displacements=(loud,), dtype=dtype)
    assert projected.isfinite().all()
    assert not torch.equal(with_guidance, projected)


RUNGE_KUTTA = [
    ("heun", {}),
    ("dpm", {"method": "singlestep", "order": 3}),
    ("dpmpp", {"method": "singlestep"}),
    ("rhork", {"method": "rk4"}),
    ("unipc", {"order": 1}),
    ("euler", {"s_churn": 4.0}),
    ("dpmpp", {"method": "singlestep", "eta": 1.0}),
]


@pytest.mark.parametrize(("name", "options"), RUNGE_KUTTA)
def test_every_evaluation_of_a_step_is_guided(name: str, options: dict[str, Any]) -> None:
    """∇log p(x) + ∇log p(y | x) = ∇log p(x | y): where a step uses no earlier evaluation, the exact
    score shift at scale 1 is the conditional model, inner stages and correctors included."""
    plan = table(build(name, options), 6)
    assert torch.allclose(run(plan, guided(1.0, "score")), run(plan, mixture()), atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", ["heun", "unipc", "dpmpp", "plms", "dpmpp_sde"])
def test_batches_and_silent_samples(name: str) -> None:
    """Permuting and splitting the batch change no bit; a sample without gradient changes no
    other."""
    recipe = dd.sampler(name)
    plan, moves = table(recipe.solver), (PxP(),)
    whole = run(plan, guided(5.0, "score"), displacements=moves, width=1)
    order = (3, 0, 4, 2, 1)
    assert torch.equal(
        whole[list(order)], run(plan, guided(5.0, "score"), order, displacements=moves, width=1)
    )
    assert torch.equal(
        whole[2:3], run(plan, guided(5.0, "score"), (2,), displacements=moves, width=1)
    )
    silent = run(plan, guided(5.0, "score"), displacements=moves, silent=2, width=1)
    assert torch.equal(whole[[0, 1, 3, 4]], silent[[0, 1, 3, 4]])
    assert torch.equal(silent[2:3], run(plan, NoGradient(mixture()), (2,), width=1))


def test_thresholds_and_gradient_estimation_are_part_of_the_estimate() -> None:
    """The denoising part is c·(clipped x0), and under gradient estimation γ c x0 + (1 − γ) c'
    x0_prev."""
    plan = table(DDPM())
    watch = Watch()
    run(plan, guided(2.0), displacements=(watch,), estimates=(Threshold(0.5),))  # type: ignore[arg-type]
    for row, (_, parts) in zip(plan.rows, watch.seen, strict=True):
        c = -row.outputs[0].evals[0] * row.at.alpha / row.at.sigma
        assert float(parts.denoise.abs().max()) == pytest.approx(0.5 * abs(c), rel=1e-9)
    estimated = GradientEstimation(2.0).rewrite(table(DDIM()))
    values, gradients = gaussian(estimated.nfe, 1), gaussian(estimated.nfe, 2)
    watch = script(estimated, "eps", values, gradients, wanted="eps")
    for i, (row, (_, parts)) in enumerate(zip(estimated.rows, watch.seen, strict=True)):
        out = row.outputs[0]
        plain = table(DDIM()).rows[i].outputs[0].evals[0]
        expected = plain * (values[i] if i == 0 else 2 * values[i] - values[i - 1])
        assert torch.allclose(parts.denoise, expected, atol=1e-12, rtol=1e-12)
        assert torch.allclose(
            parts.guidance, -out.evals[0] * row.at.sigma * gradients[i], atol=1e-12, rtol=1e-12
        )


def test_classifier_free_guidance_in_the_step() -> None:
    """Its direction is the guidance part of a step, so PxP of the first pair is FreePxP; the noise
    is there as well."""
    exact, plan = mixture(), table(DDPM())
    model = ClassifierFree(exact, -1.0)  # away from the class: against the estimate
    free = run(plan, model, estimates=(FreePxP(0.3, 0.7),))
    step = run(plan, model, displacements=(PxP((0.7, 0.3, 0.0, 0.0), pairs=("cls-den",)),))
    assert torch.allclose(free, step, atol=1e-10, rtol=0)
    assert not torch.allclose(free, run(plan, model), atol=1e-3, rtol=0)
    both = run(plan, model, displacements=(PxP((0.7, 0.3, 1.0, 1.0)),))
    assert not torch.allclose(both, step, atol=1e-3, rtol=0)
    assert torch.equal(run(plan, model), run(plan, model, displacements=(PxP(NONE),)))


def test_strength_of_the_ablation() -> None:
    plan, model = table(DDPM()), guided(3.0)
    once = first_step(plan)

    def off(strength: float) -> Tensor:
        moves = (PxP(pairs=("den-div",), den_div=strength),)
        return run(once, model) - run(once, model, displacements=moves)

    assert bool(off(1.0).any())
    assert torch.allclose(off(0.25), 0.25 * off(1.0), atol=1e-12, rtol=0)
    assert torch.equal(
        run(plan, model), run(plan, model, displacements=(PxP(pairs=("den-div",), den_div=0.0),))
    )


def test_delta_counts_committed_steps() -> None:
    """Also where a row commits the step before (UniPC) or a step takes several rows (Heun)."""
    one, none = (1.0, 1.0, 1.0, 1.0), NONE
    for name in ("unipc", "heun"):
        plan = table(dd.sampler(name).solver)
        moved = _changed(plan, PxP(one))
        assert moved
        assert _changed(plan, PxP((*[none] * moved[0], one, none))) == moved[:1]


def _changed(plan: Plan, move: PxP) -> list[int]:
    """The steps, counted as they are committed, that ``move`` changes."""
    seen: list[int] = []
    run(plan, guided(3.0, "score"), displacements=(_Changes(move, seen),))  # type: ignore[arg-type]
    return seen


@dataclass
class _Changes(Displacement):
    """Which steps ``inner`` changes."""

    inner: PxP
    seen: list[int]
    name: ClassVar[str] = "changes"
    linear: ClassVar[bool] = True
    wants_parts: ClassVar[Basis] = "x0"

    def init(self, plan: Plan) -> int:
        return self.inner.init(plan)

    def update(self, state: int, commit: Commit) -> tuple[Tensor, int]:
        x, after = self.inner.update(state, commit)
        if not torch.equal(x, commit.proposal):
            self.seen.append(state)
        return x, after


def test_text() -> None:
    """The grammar reads and writes every option."""
    text = (
        "ddim(eta=1.0) | pxp(delta=[1.0, 1.0, 0.001, 0.001], pairs=[cls-den, den-div],"
        " scope=channel, gate=pair)"
    )
    recipe = dd.sampler(text)
    assert str(recipe) == text
    assert recipe.transforms == (
        PxP((1.0, 1.0, 1e-3, 1e-3), ("cls-den", "den-div"), "channel", "pair"),
    )
    assert dd.sampler("ddpm | pxp(delta=0.1,0.03,0.03,0.007)").transforms[0].delta == (
        0.1,
        0.03,
        0.03,
        0.007,
    )  # type: ignore[union-attr]
    steps = dd.sampler("ddpm | pxp(delta=[[1,1,1,1],[0,0,0,0]])").transforms[0]
    assert isinstance(steps, PxP)
    assert steps.deltas == ((1.0, 1.0, 1.0, 1.0), NONE)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: dd.sampler("ddpm | pxp(pairs=cls-deb)"), "cls-den"),
        (
            lambda: dd.sampler("ddpm | pxp(delta=1,1)"),
            "'delta' of 'pxp' must be a list of 4 numbers",
        ),
        (lambda: dd.sampler("ddpm | pxp(scpe=batch)"), "scope"),
        (lambda: dd.sampler("ddpm | pxp | pxp"), "once in a chain"),
        (lambda: PxP(pairs=("cls-deb",)), "did you mean 'cls-den'"),
        (lambda: PxP(scope="chanel"), "did you mean 'channel'"),
        (lambda: PxP(gate="pairs"), "did you mean 'pair'"),
        (lambda: PxP(denoising="x0-sample"), "did you mean 'x0-sampling'"),
        (lambda: PxP(den_div=float("nan")), "'den_div' of 'pxp' must be a finite number"),
        (lambda: dd.sample(mixture(), "ddpm | pxp", steps=3, labels=1), "this model has none"),
        (lambda: run(table(build("heun", {"s_churn": 4.0})), guided()), "inner states"),
        (lambda: _resumed(PxP()), "given its history as eps"),
    ],
)
def test_mistakes(wrong: Callable[[], object], message: str) -> None:
    with pytest.raises(dd.UserError, match=message):
        wrong()


def _resumed(move: PxP) -> Executor:
    plan = table(build("plms", {}))
    x = torch.zeros(2, 3, 6, 5)
    return Executor(plan, x, first_row=2, history=[x, x], displacements=(move,))


def test_a_history_in_the_wanted_basis_is_taken_apart() -> None:
    """A run continued in the middle, with its evaluations, takes the same steps."""
    plan = table(build("plms", {}))
    model = Guided(mixture(), guided().guide, 3.0, "score")
    move = PxP(denoising="noise")
    index = torch.arange(5)
    whole = Executor(
        plan,
        Keyed(4, index).initial((3, 6, 5)).double(),
        displacements=(move,),
        dtype=torch.float64,
    )
    states, histories = [], []
    while not whole.done:
        states.append(whole.x)
        histories.append(list(whole._history))
        query = whole.ask()
        whole.tell(model(query.x, query.at, LABELS))
    rest = Executor(
        plan,
        states[2],
        first_row=2,
        history=histories[2],
        displacements=(move,),
        dtype=torch.float64,
    )
    while not rest.done:
        query = rest.ask()
        rest.tell(model(query.x, query.at, LABELS))
    assert torch.equal(rest.x, whole.x)


@pytest.mark.parametrize("scope", ["sample", "batch", "channel"])
@pytest.mark.parametrize("zero", ["own", "batch"])
def test_nothing_waits_for_the_device(scope: Scope, zero: ZeroNorm) -> None:
    """On tensors without values, reading one is an error: PxP and the recorder of conflicts never
    do."""
    x = torch.empty(2, *SHAPE, device="meta")
    point = VP.point(500)
    commit = Commit(0, x, point, x, point, x, StepParts(x, x, x))
    for gate in ("raw", "pair"):
        rule = PxP(pairs=("cls-den", "cls-div", "den-div"), scope=scope, gate=gate, zero=zero)  # type: ignore[arg-type]
        recorder = Recorder(rule, applied=True)
        assert recorder.update(0, commit)[0].shape == x.shape
        assert recorder.grams[0].shape == (2, 6, 6)
