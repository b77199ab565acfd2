"""k-diffusion's interface: recorded runs of its samplers through our functions, and what the
functions promise."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.apps import kdiffusion as k
from diffdescent.base.errors import UserError
from diffdescent.core.noise import normals
from diffdescent.core.process import VE, VP, Flow
from diffdescent.core.recipe import parse, parse_grid
from diffdescent.models import load_model
from tests.parity.golden import Case, cases, common, error, mixture_eps, note, start
from tests.paths import ROOT

SIGMAS = [14.6, 7.0, 3.0, 1.2, 0.4, 0.1, 0.0]


def mixture(x: Tensor, sigma: Tensor) -> Tensor:
    """The exact denoiser of the recorded runs, as k-diffusion has it."""
    s = float(sigma[0])
    return x - s * mixture_eps(x, 1.0, s)


class Shrink:
    """D(x, σ) = x/(1 + σ²), the exact denoiser of unit-variance data; remembers what it was
    given."""

    def __init__(self) -> None:
        self.calls: list[tuple[Tensor, Tensor, dict[str, Any]]] = []

    def __call__(self, x: Tensor, sigma: Tensor, **extra: Any) -> Tensor:
        self.calls.append((x, sigma, extra))
        return x / (1 + sigma.to(x.dtype) ** 2).view(-1, 1, 1, 1)


def latent(n: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    return SIGMAS[0] * torch.randn(
        n, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    ).to(dtype)


@cases("k_diffusion")
def test_recorded_runs(case: Case) -> None:
    o = case.options
    sigmas = torch.tensor(case["grid_sigma"])
    draws = iter(case.noise().index)
    levels: list[tuple[float, float]] = []

    def replay(sigma: Tensor, sigma_next: Tensor) -> Tensor:
        levels.append((float(sigma), float(sigma_next)))
        return torch.tensor(common("noise_bank")[next(draws)])

    seen: list[dict[str, Any]] = []
    options = {} if o["eta"] is None else {"eta": o["eta"]}
    final = getattr(k, o["sampler"])(
        mixture,
        start(float(sigmas[0])),
        sigmas,
        callback=seen.append,
        disable=True,
        noise_sampler=replay,
        **options,
    )
    worst = error(final, case["x_final"])
    assert [at["i"] for at in seen] == list(range(len(sigmas) - 1))
    for at, expected in zip(seen, case["x"], strict=True):
        worst = max(worst, error(at["x"][: len(expected)], expected))
        assert float(at["sigma"]) == float(at["sigma_hat"]) == float(sigmas[at["i"]])
    assert next(draws, None) is None
    assert all(a in sigmas.tolist() and b < a for a, b in levels)
    note(case, worst)


def test_every_name_is_a_function_of_its_recipe() -> None:
    assert {
        "sample_ge",
        "sample_ddim",
        "sample_dpmpp_2m",
        "sample_unipc",
        "sample_euler_ancestral",
    } <= {*k.names()}
    assert {*k.names()} <= {*dir(k)}
    x = latent(1)
    parameters = ["model", "x", "sigmas", "extra_args", "callback", "disable"]
    for name in k.names():
        function = getattr(k, name)
        assert function.__name__ == name
        assert list(inspect.signature(function).parameters)[:6] == parameters
        seen: list[int] = []
        ended = function(
            Shrink(), x, SIGMAS, None, lambda at, seen=seen: seen.append(at["i"]), True, seed=1
        )
        recipe = parse(name.removeprefix("sample_"))
        assert torch.equal(ended, k.sampler(recipe)(Shrink(), x, SIGMAS, disable=True, seed=1)), (
            name
        )
        assert seen == list(range(len(SIGMAS) - 1)), name
    with pytest.raises(AttributeError, match="sample_gee"):
        _ = k.sample_gee


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
@pytest.mark.parametrize(
    ("recipe", "grid"),
    [
        ("ge | momentum(-0.3)", "loglinear"),
        ("dpmpp(order=2)", "karras"),
        ("ddim(eta=1)", "uniform(spacing=trailing)"),
        ("deis(order=2)", "uniform(spacing=leading)"),
        ("heun", "karras"),
    ],
)
def test_the_same_image_as_plain_python(recipe: str, grid: str, name: str) -> None:
    model = load_model(name)
    samples = [3, 9]
    levels = parse_grid(grid, model.process, 4)
    plain = dd.sample(
        model, recipe, grid=levels, samples=samples, seed=5, labels=[1, 7], micro_batch=2
    )
    # Plain Python starts at √(1 + σ²), the size of unit-variance data and its noise.
    x = normals(5, torch.tensor(samples), model.shape, -1) / float(levels.alpha[0])
    sigmas, denoiser = torch.tensor(levels.ratio.copy()), k.wrap(model, width=2)
    options: dict[str, Any] = {"disable": True, "seed": 5, "samples": samples}
    function = k.sampler(recipe, process=model.process)
    extra = {"cond": torch.tensor([1, 7])}
    # A wrapped model is asked as plain Python asks it; behind a function it is any k-diffusion
    # denoiser.
    ended = function(denoiser, x, sigmas, extra, **options) * float(levels.alpha[-1])
    assert error(ended, plain.images) < 1e-5
    wide = dd.sample(
        model,
        recipe,
        grid=levels,
        samples=samples,
        seed=5,
        labels=[1, 7],
        micro_batch=2,
        dtype=torch.float64,
    )
    ended = function(lambda *a, **b: denoiser(*a, **b), x.double(), sigmas, extra, **options)
    assert error(ended * float(levels.alpha[-1]), wide.images) < 1e-5


def test_the_callback_gets_churned_levels_and_once_a_step() -> None:
    seen: list[dict[str, Any]] = []
    k.sample_heun(
        Shrink(),
        latent(),
        SIGMAS,
        callback=seen.append,
        disable=True,
        s_churn=2.0,
        s_tmin=1.0,
        seed=0,
    )
    assert [set(at) for at in seen] == [{"x", "i", "sigma", "sigma_hat", "denoised"}] * 6
    raised = [float(at["sigma_hat"] / at["sigma"]) for at in seen]
    assert raised == pytest.approx([4 / 3] * 4 + [1, 1])


def test_a_tail_of_the_list_starts_in_the_middle() -> None:
    x, seen = latent(), []
    whole = k.sample_ddim(
        Shrink(), x, SIGMAS, callback=lambda at: seen.append(at["x"]), disable=True
    )
    assert torch.allclose(
        k.sample_ddim(Shrink(), seen[3], SIGMAS[3:], disable=True), whole, atol=1e-6
    )


def test_a_rising_list_inverts() -> None:
    up = torch.linspace(0.01, 3, 200)
    x = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    noise = k.sample_heun(Shrink(), x, up, disable=True)
    assert torch.allclose(
        noise, x * (1 + 9.0) ** 0.5, rtol=1e-3
    )  # the exact flow of unit-variance data
    assert torch.allclose(k.sample_heun(Shrink(), noise, up.flip(0), disable=True), x, atol=1e-3)


def test_dtypes_the_model_sees_the_callers() -> None:
    for dtype, level in (
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float64,) * 2,
    ):
        model = Shrink()
        ended = k.sample_dpmpp_2m(model, latent(dtype=dtype), SIGMAS, disable=True)
        assert ended.dtype == dtype
        assert {(x.dtype, s.dtype, s.shape) for x, s, _ in model.calls} == {
            (dtype, level, torch.Size([2]))
        }


def test_extra_arguments_reach_the_model_and_x_is_left_alone() -> None:
    model, x = Shrink(), latent()
    before = x.clone()
    k.sample_ge(model, x, SIGMAS, extra_args={"cond": "a cat"}, disable=True)
    assert all(extra == {"cond": "a cat"} for _, _, extra in model.calls)
    assert torch.equal(x, before)


def test_noise_is_keyed_and_follows_seed_extra_args_or_torch() -> None:
    def run(x: Tensor, **options: Any) -> Tensor:
        return k.sample_euler_a(Shrink(), x, SIGMAS, disable=True, **options)

    x = latent(3)
    asked = run(x, seed=4)
    assert torch.equal(run(x, extra_args=None, seed=4), asked)
    part = run(x[1:2], seed=4, samples=[1])
    assert torch.equal(part, asked[1:2])
    assert not torch.equal(run(x, seed=5), asked)
    torch.manual_seed(3)
    first, second = run(x), run(x)
    torch.manual_seed(3)
    assert torch.equal(run(x), first)
    assert not torch.equal(first, second)

    def model(x: Tensor, sigma: Tensor, seed: int) -> Tensor:
        return x / (1 + sigma**2).view(-1, 1, 1, 1)

    assert torch.equal(k.sample_euler_a(model, x, SIGMAS, {"seed": 4}, disable=True), asked)


def test_s_noise_scales_and_eta_replaces() -> None:
    x = latent()
    plain = k.sample_euler(Shrink(), x, SIGMAS, disable=True)
    assert torch.equal(k.sample_euler_a(Shrink(), x, SIGMAS, disable=True, eta=0.0), plain)
    one, two, none = (
        k.sample_euler_a(Shrink(), x, SIGMAS, disable=True, seed=1, s_noise=s)
        for s in (1.0, 2.0, 0.0)
    )
    assert torch.allclose(two - one, one - none, atol=1e-5)  # the denoiser is linear
    assert torch.equal(
        k.sample_ge(Shrink(), x, SIGMAS, disable=True, ge_gamma=1.0),
        k.sampler("ddim")(Shrink(), x, SIGMAS, disable=True),
    )


@pytest.mark.parametrize("process", [VE(), VP.named("linear"), VP.named("scaled_linear")])
def test_coordinates_do_not_matter_to_methods_in_sigma(process: Any) -> None:
    x = latent(dtype=torch.float64)
    for recipe in ("ge | momentum(-0.3)", "dpmpp(order=3)", "unipc", "lms", "ddim(eta=0.5)"):
        ours = k.sampler(recipe, process=process)(Shrink(), x, SIGMAS, disable=True, seed=0)
        assert error(ours, k.sampler(recipe)(Shrink(), x, SIGMAS, disable=True, seed=0)) < 1e-11


def test_a_flow_keeps_its_own_coordinates() -> None:
    """x = (1 − σ) x0 + σ ε with one possible image: every sampler ends on it."""
    image = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    noise = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    seen: list[float] = []

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append(float(sigma[0]))
        assert torch.allclose(x, (1 - sigma) * image + sigma * noise, atol=1e-5)
        return image.expand_as(x)

    for name in ("ge", "euler", "dpmpp(order=2)", "heun"):
        ended = k.sampler(name, process=Flow())(
            model, noise, [1.0, 0.8, 0.5, 0.2, 0.0], disable=True
        )
        assert torch.allclose(ended, image, atol=1e-5)
    assert seen[:4] == pytest.approx([1.0, 0.8, 0.5, 0.2])


def test_our_model_for_k_diffusion() -> None:
    model = load_model("cifar10-mixture")
    denoiser = k.wrap("cifar10-mixture")
    levels = denoiser.sigmas
    assert levels is not None
    assert (float(levels[0]), float(levels[-1])) == (
        float(denoiser.sigma_min),
        float(denoiser.sigma_max),
    )
    assert denoiser.sigma_to_t(levels.double()).tolist() == pytest.approx(range(1000), abs=1e-2)
    assert denoiser.t_to_sigma(torch.tensor([[10.0, 20.0]])).shape == (1, 2)
    assert denoiser.sigma_to_t(torch.tensor([0.5]), quantize=True) % 1 == 0
    sigmas = denoiser.get_sigmas(10)
    assert (len(sigmas), float(sigmas[0]), float(sigmas[-1])) == (11, float(denoiser.sigma_max), 0)
    # Images at levels of their own, as k-diffusion's training loop asks.
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    together = denoiser(x, torch.tensor([0.5, 2.0, 0.5]))
    for row, level in ((0, 0.5), (1, 2.0), (2, 0.5)):
        at = k.Space(model.process).point(level)
        native = x[row : row + 1] * at.alpha
        assert torch.allclose(
            together[row : row + 1], model(native, at).to("x0", native), atol=1e-5
        )


def test_a_k_diffusion_denoiser_as_our_model_and_back() -> None:
    denoiser = k.wrap("cifar10-mixture")
    back = k.predictor(denoiser, denoiser.process, shape=(3, 32, 32), label="cond")
    ours = dd.sample("cifar10-mixture", "dpmpp", steps=5, n=2, seed=1)
    assert error(dd.sample(back, "dpmpp", steps=5, n=2, seed=1).images, ours.images) < 1e-5
    free = k.predictor(denoiser)
    assert (free.process.t_min, free.process.t_max) == (
        float(denoiser.sigma_min),
        float(denoiser.sigma_max),
    )
    with pytest.raises(UserError, match="label="):
        dd.sample(k.predictor(Shrink()), "ddim", steps=2, shape=(3, 4, 4), labels=1)
    assert error(k.discrete(denoiser.sigmas.double()).alpha_bar, denoiser.process.alpha_bar) < 1e-6


def test_get_sigmas_is_the_linspace_of_times() -> None:
    process = VP.named("scaled_linear")
    times = torch.linspace(999, 0, 4)
    expected = [*process.ratio(times.double().numpy()), 0.0]
    assert k.get_sigmas(4).tolist() == pytest.approx(expected, rel=1e-5)
    with pytest.raises(UserError, match="start="):
        k.get_sigmas(4, process=VP.from_alpha_bar([0.9, 0.8, 0.5, 0.2, 0.0]))


@pytest.mark.parametrize(
    ("sigmas", "message"),
    [
        ([3.0, 3.0, 0.0], r"sigmas\[0\] = 3 is followed by sigmas\[1\] = 3"),
        ([3.0, 1.0, 2.0, 0.0], r"sigmas\[1\] = 1 is followed by sigmas\[2\] = 2"),
        ([3.0], "at least two levels"),
        ([[3.0, 0.0]], "shape"),
        ([3.0, float("nan"), 0.0], r"sigmas\[1\] is nan"),
        ([3.0, -1.0], "at least 0"),
    ],
)
def test_bad_levels(sigmas: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        k.sample_ddim(Shrink(), latent(), sigmas, disable=True)


def test_other_bad_input() -> None:
    x = latent()
    with pytest.raises(UserError, match="option for 'ddim'"):
        k.sample_ddim(Shrink(), x, SIGMAS, s_churn=1.0)
    with pytest.raises(UserError, match="without its noise"):
        k.sample_ddim(lambda x, sigma: x[:1], x, SIGMAS, disable=True)
    with pytest.raises(UserError, match="noise_sampler returned shape"):
        k.sample_euler_a(Shrink(), x, SIGMAS, disable=True, noise_sampler=lambda a, b: x[:1])
    with pytest.raises(UserError, match="NaN"):
        k.sample_ddim(lambda x, sigma: x * float("nan"), x, SIGMAS, disable=True)
    with pytest.raises(UserError, match="1 indices for 2 images"):
        k.sample_euler_a(Shrink(), x, SIGMAS, disable=True, samples=[0])


def test_the_bar_obeys_disable(capsys: pytest.CaptureFixture[str]) -> None:
    k.sample_ddim(Shrink(), latent(), SIGMAS, disable=True)
    k.sample_ddim(Shrink(), latent(), SIGMAS)  # no terminal here
    assert capsys.readouterr().err == ""
    k.sample_ddim(Shrink(), latent(), SIGMAS, disable=False)
    assert "6/6" in capsys.readouterr().err


def test_the_loop_reads_nothing_from_the_device() -> None:
    """Every way of reading a tensor's number is an error between the first and the last
    evaluation."""
    reads: list[str] = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if "_local_scalar_dense" in str(function) or "aten.nonzero" in str(function):
                reads.append(str(function))
            return function(*args, **(kwargs or {}))

    at: list[int] = []

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        at.append(len(reads))
        return x * 0.5

    for recipe in ("ge | momentum(-0.3)", "dpmpp(order=3, eta=1)", "heun(s_churn=4)", "unipc"):
        at.clear(), reads.clear()
        with Watch():
            k.sampler(recipe)(
                model, latent(), SIGMAS, disable=True, seed=0, callback=lambda at: None
            )
        assert at[0] == at[-1] == 0


def test_the_example_in_the_docs_runs() -> None:
    page = (ROOT / "docs" / "kdiffusion.md").read_text()
    namespace: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, namespace)
    assert namespace["images"].shape == (2, 3, 32, 32)
    assert torch.isfinite(namespace["images"]).all()
