"""Every registered restoration method, by its name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import diffdescent as dd
from diffdescent.base.errors import UserError
from diffdescent.core.operators import Linear
from diffdescent.core.recipe import parse, parse_grid
from diffdescent.core.spectrum.fitted import FittedSolver
from diffdescent.guidance.restoration import METHODS, Method, method, parse_method
from diffdescent.run import collect, prepare_restoration
from diffdescent.run.calibrate.plain import as_rows
from diffdescent.run.problem import measure
from diffdescent.run.restoring import STRIDE

from .problems import SHAPE, bound, from_zero, gaussian, posterior_mean

PROJECTING = ["ddnm", "pocs", "ddrm", "ddnm_plus", "diffpir", "hqs", "admm"]
ALL_NOISE = "uniform(spacing=trailing)"
"""From a level so noisy that a start without a mean has no bias."""
SOLVERS = ["ddim", "ddpm", "unipc", "dpmpp(order=2)", "heun", "ge", "ipndm", "ddim(fresh=0.5)"]


def clean(k: int = 2) -> torch.Tensor:
    return gaussian().sample(k, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_weight_0_is_the_sampler_to_the_bit(name: str) -> None:
    model, y = gaussian(), torch.ones(2, *SHAPE)
    found = dd.restore(model, y, "blur", noise=0.1, method=f"{name}(weight=0)", nfe=5, n=2)
    text = METHODS[name]().sampler
    numbers = [k + j * STRIDE for k in range(2) for j in range(2)]
    plain = dd.sample(model, text, grid=found.plan.grid, samples=numbers)
    assert torch.equal(found.images.flatten(0, 1), plain.images)
    moved = dd.restore(model, y, "blur", noise=0.1, method=name, nfe=5, n=2)
    assert not torch.allclose(moved.images, found.images, atol=1e-2)


@pytest.mark.parametrize("name", PROJECTING)
@pytest.mark.parametrize("operator", ["blur(sigma=0.5)", "blur(sigma=0.6, boundary=circular)"])
def test_an_invertible_operator_without_noise_gives_the_image_back(
    name: str, operator: str
) -> None:
    x = clean()
    y = bound(operator).forward(x)
    for dtype, near in ((torch.float64, 1e-9), (torch.float32, 1e-5)):
        found = dd.restore(gaussian(), y, operator, method=name, nfe=6, dtype=dtype)
        torch.testing.assert_close(found.images[:, 0].double(), x, rtol=near, atol=near)


@pytest.mark.parametrize("operator", ["blur(sigma=0.8)", "downsample(2)", "mask"])
@pytest.mark.parametrize(
    ("text", "spread"),
    [
        ("ddim | pigdm", 1.0),
        ("unipc | pigdm", 1.0),
        ("ddim | pigdm(spread=0.5)", 0.5),
        ("ddim | diffpir(strength=1, spread=0.5)", 0.5),
        ("heun | diffpir(strength=1, spread=1)", 1.0),
    ],
)
def test_an_isotropic_gaussian_has_its_exact_posterior_mean(
    operator: str, text: str, spread: float
) -> None:
    model, a, noise = gaussian(spread), bound(operator), 0.3
    y = measure(a, model.sample(2, torch.Generator().manual_seed(1)), noise, 0, range(2))
    run = prepare_restoration(
        model,
        y,
        operator,
        noise=noise,
        method=text,
        nfe=100,
        grid=ALL_NOISE,
        dtype=torch.float64,
    )
    exact = posterior_mean(model, a, y, noise)
    found = collect(from_zero(run)).images
    assert float((found - exact).norm() / exact.norm()) < 0.02


@pytest.mark.parametrize("operator", ["blur(sigma=0.8)", "downsample(2)"])
def test_moment_matching_is_exact_for_any_covariance(operator: str) -> None:
    w = torch.randn(36, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    model, a, noise = gaussian(0.3, w), bound(operator), 0.2
    y = measure(a, model.sample(2, torch.Generator().manual_seed(1)), noise, 0, range(2))
    exact = posterior_mean(model, a, y, noise)
    errors = {}
    for text in ("unipc | mmps(steps=9, through=inf)", "unipc | pigdm(through=inf)"):
        run = prepare_restoration(
            model,
            y,
            operator,
            noise=noise,
            method=text,
            nfe=100,
            grid=ALL_NOISE,
            dtype=torch.float64,
        )
        found = collect(from_zero(run)).images
        errors[text] = float((found - exact).norm() / exact.norm())
    moments, isotropic = errors.values()
    assert moments < 0.02
    assert isotropic > 2 * moments  # r_t² I is not the covariance of this prior


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_method_runs_over_any_solver_with_momentum(name: str, solver: str) -> None:
    text = f"{solver} | {name} | momentum(-0.2)"
    y = bound("downsample(2)").forward(clean(1))
    if name in ("pocs", "hqs", "admm") and solver not in ("ddim", "ddpm", "ddim(fresh=0.5)"):
        with pytest.raises(UserError, match="extrapolates"):
            dd.restore(gaussian(), y, "downsample(2)", noise=0.2, method=text, nfe=9)
        return
    found = dd.restore(gaussian(), y, "downsample(2)", noise=0.2, method=text, nfe=9)
    assert found.images.isfinite().all()
    assert float(found.images.abs().max()) < 10


@pytest.mark.filterwarnings("ignore:.*was fitted for")
def test_calibrated_samplers_run_with_a_warning_or_are_refused(tmp_path: Path) -> None:
    file, y = tmp_path / "five.json", bound("downsample(2)").forward(clean(1))
    plain = as_rows(parse("ge").plan(parse_grid("loglinear(end=zero)", gaussian().process, 5)), 1)
    file.write_text(
        FittedSolver(
            "five", plain.levels, plain.end, plain.axes, plain.bands, plain.start, plain.rows
        ).to_json()
    )
    for name in ("diffpir", "dps", "mmps", "ddnm", "reddiff"):
        text = f"calibrated('{file}') | {name}"
        with pytest.warns(UserWarning, match="without a measurement"):
            found = dd.restore(gaussian(), y, "downsample(2)", noise=0.1, nfe=5, method=text)
        assert found.images.isfinite().all()
    text = f"calibrated('{file}') | hqs"
    with (
        pytest.warns(match="without a measurement"),
        pytest.raises(UserError, match="extrapolates"),
    ):
        dd.restore(gaussian(), y, "downsample(2)", noise=0.1, nfe=5, method=text)


@pytest.mark.parametrize("name", ["dps", "mmps", "ddrm", "diffpir", "admm", "reddiff"])
def test_an_image_does_not_depend_on_its_batch(name: str) -> None:
    x = clean(5)
    y = bound("blur").forward(x)
    options = {"noise": 0.1, "method": name, "nfe": 4, "n": 2, "micro_batch": 3}
    whole = dd.restore(gaussian(), y, "blur", **options)
    parts = dd.restore(gaussian(), y, "blur", batch_size=3, **options)
    assert torch.equal(whole.images, parts.images)
    first = dd.restore(gaussian(), y[:2], "blur", **{**options, "n": 1})
    assert torch.equal(first.images[:, 0], whole.images[:2, 0])


def test_a_text_is_a_recipe_with_a_method_in_it() -> None:
    alone = parse_method("diffpir(zeta=0.25)")
    assert str(alone) == "ddim(fresh=0.25) | diffpir(zeta=0.25)"
    chain = parse_method("unipc | ddnm | momentum(-0.3)")
    assert str(chain.recipe) == "unipc | momentum"
    over = parse_method("hqs | momentum(-0.5)", "ge")
    assert str(over.recipe) == "ddim | ge | momentum(beta=-0.5)"
    assert str(parse_method(str(chain))) == str(chain)
    with pytest.raises(UserError, match="did you mean 'diffpir'"):
        parse_method("difpir")
    with pytest.raises(UserError, match="no restoration method"):
        parse_method("ddim | momentum(-0.3)")
    with pytest.raises(UserError, match="two restoration methods"):
        parse_method("ddnm | dps")
    with pytest.raises(UserError, match="weight"):
        parse_method("ddnm(weight=-1)")


def test_a_method_of_ones_own_says_what_it_is() -> None:
    from dataclasses import dataclass

    with pytest.raises(UserError, match="algorithm"):

        @method("nameless_one")
        @dataclass(frozen=True)
        class Nameless(Method):
            def apply(self, model, measurement):  # type: ignore[no-untyped-def]
                return model, ()

    with pytest.raises(UserError, match="taken"):
        method("ddnm")(METHODS["ddrm"])


@pytest.mark.parametrize("name", sorted(METHODS))
def test_each_method_says_what_it_needs(name: str) -> None:
    class Adjoint(Linear):
        """Twice the image: no singular values, no closed pseudo-inverse."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

        def adjoint(self, y: torch.Tensor) -> torch.Tensor:
            return 2 * y

    operator = Adjoint(SHAPE, SHAPE, torch.float32, torch.device("cpu"))
    y = 2 * clean(1).float()
    if METHODS[name].needs_svd:
        with pytest.raises(UserError, match="singular values"):
            dd.restore(gaussian(), y, operator, noise=0.1, method=name, nfe=4)
    else:
        found = dd.restore(gaussian(), y, operator, noise=0.1, method=name, nfe=8)
        assert found.images.isfinite().all()
