"""Power spectra, and the integrator that is exact for Gaussian images of one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import diffdescent as dd
from diffdescent import UserError
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.process import VP, Process, VPContinuous
from diffdescent.core.solvers.gaussian import GaussianFlow, angle_weights
from diffdescent.core.spectrum import Axes, Bands, from_axes, named_axes, to_axes
from diffdescent.core.spectrum.bands import radial_frequency
from diffdescent.core.spectrum.power import (
    Spectrum,
    measure_spectrum,
    parse_spectrum,
    power_law,
)

SIZE = 8
RHO = np.unique(np.maximum(radial_frequency(SIZE, SIZE), 0.5 / SIZE).round(12))


def every_frequency(axes: Axes) -> Spectrum:
    """A steep spectrum with a knot at each radial frequency of the size, so that curves are
    exact."""
    curves = tuple(tuple(0.02 * (g + 1) * RHO ** -(2.0 + g)) for g in range(axes.count))
    return Spectrum(axes, Bands(tuple(RHO)), curves)


def variances(spectrum: Spectrum) -> torch.Tensor:
    maps = [np.exp(spectrum.bands.curve(np.log(c), SIZE, SIZE)) for c in spectrum.power]
    return torch.from_numpy(np.stack([maps[g] for g in spectrum.axes.groups]))


def solved(recipe: str, spectrum: Spectrum, process: Process, ratios: list[float]) -> float:
    """The largest error on Gaussian images of the spectrum, from an exact start."""
    axes, power = spectrum.axes, variances(spectrum)
    channels = axes.channels
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(2, channels, SIZE, SIZE)))
    matrix = axes.tensor(z)
    grid = dd.core.grid.explicit_ratios(process, ratios)
    first, last = grid.points[0], grid.points[-1]

    def state(at: dd.core.process.Point) -> torch.Tensor:
        return from_axes((at.alpha**2 * power + at.sigma**2).sqrt() * z, matrix, axes)

    plan = dd.core.recipe.parse(recipe).plan(grid)
    executor = dd.Executor(plan, state(first), dtype=torch.float64)
    while not executor.done:
        query = executor.ask()
        at = query.at
        hat = to_axes(query.x, matrix, axes)
        eps = from_axes(at.sigma / (at.alpha**2 * power + at.sigma**2) * hat, matrix, axes)
        executor.tell(Prediction(eps, conversion("eps", at)))
    return float((executor.x - state(last)).abs().max())


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("ratios", [[80.0, 3.0, 0.5, 0.0], [20.0, 19.0, 1.0, 0.9, 0.02]])
def test_gaussian_images_of_its_spectrum_are_solved_on_any_grid(
    tmp_path: Path, order: int, ratios: list[float]
) -> None:
    spectrum = every_frequency(named_axes("opponent", 3))
    path = tmp_path / "spectrum.json"
    path.write_text(spectrum.to_json())
    recipe = f"gaussian(order={order}, spectrum='{path}')"
    assert solved(recipe, spectrum, VPContinuous(), ratios) < 1e-10
    other = Spectrum(
        spectrum.axes, spectrum.bands, tuple(tuple(4 * s for s in c) for c in spectrum.power)
    )
    assert solved(recipe, other, VPContinuous(), ratios) > 1e-3
    assert solved("unipc", spectrum, VPContinuous(), ratios) > 1e-3


def test_one_step_is_the_formula() -> None:
    s, here, there = 0.25, 2.0, 0.3
    plan = GaussianFlow(order=1).plan(dd.core.grid.explicit_ratios(VPContinuous(), [here, there]))
    (out,) = plan.rows[0].outputs
    size, reached = math.sqrt(s + here**2), math.sqrt(s + there**2)
    turn = (math.atan(there / math.sqrt(s)) - math.atan(here / math.sqrt(s))) / math.sqrt(s)
    first, last = plan.grid.points
    assert out.base == pytest.approx(
        (reached / size - reached * turn * here / size) * last.alpha / first.alpha, rel=1e-12
    )
    assert out.evals[0] == pytest.approx(reached * turn * size * last.alpha, rel=1e-12)


def test_weights_integrate_polynomials_in_phi() -> None:
    """Against the closed forms of ∫ Φ^k dσ̃/Φ², also where S dwarfs the levels and where they dwarf
    it."""
    for s in (1e-6, 0.3, 400.0):
        sigmas, end = [0.8, 2.0, 5.0], 0.1
        weights = angle_weights(sigmas, end, np.array(s))
        phi = np.sqrt(s + np.square(sigmas))
        root = math.sqrt(s)
        exact = (
            (math.atan(end / root) - math.atan(sigmas[0] / root)) / root,
            math.asinh(end / root) - math.asinh(sigmas[0] / root),
            end - sigmas[0],
        )
        for k, wanted in enumerate(exact):
            assert weights @ phi**k == pytest.approx(wanted, rel=1e-9)


def test_a_measured_spectrum_is_that_of_the_images(tmp_path: Path) -> None:
    law = power_law(2.0)
    size = 32
    power = np.exp(law.bands.curve(np.log(law.power[0]), size, size))
    power[0, 0] = power[0, 1]
    z = np.random.default_rng(1).normal(size=(300, 1, size, size))
    images = from_axes(
        torch.from_numpy(np.sqrt(power) * z), torch.eye(1), named_axes("identity", 1)
    )
    found = measure_spectrum(images, source="drawn")
    inner = np.array(found.bands.knots[1:])
    assert np.allclose(found.power[0][1:], law.power[0][-1] * 2 / inner**2, rtol=0.15)
    path = tmp_path / "s.json"
    path.write_text(found.to_json())
    again = parse_spectrum(str(path))
    assert again == found
    assert again.measured == {"images": [300, 1, size, size], "source": "drawn"}


def test_a_power_law_has_the_usual_variance() -> None:
    law = power_law(1.8)
    size = 32
    power = np.exp(law.bands.curve(np.log(law.power[0]), size, size))
    power[0, 0] = np.exp(
        np.interp(math.log(0.5 / size), np.log(law.bands.knots), np.log(law.power[0]))
    )
    assert float(power.mean()) == pytest.approx(0.25, rel=0.01)
    given = parse_spectrum("power(1.8, 0.02)")
    assert np.interp(0.0, np.log(given.bands.knots), given.power[0]) == pytest.approx(
        0.02, rel=0.05
    )


def test_a_white_spectrum_needs_no_images() -> None:
    plan = GaussianFlow().plan(dd.grid("loglinear", VP.named(), 4))
    assert plan.spectral is None
    law = GaussianFlow(spectrum="power(2)").plan(dd.grid("loglinear", VP.named(), 4))
    assert law.spectral is not None
    assert dd.effective_weights(dd.sampler("gaussian(spectrum='power(2)')"), law.grid).table()


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_a_power_law_takes_any_number_of_channels(channels: int) -> None:
    plan = GaussianFlow(spectrum="power(2)").plan(dd.grid("loglinear", VP.named(), 3))
    executor = dd.Executor(plan, torch.randn(2, channels, 6, 10))
    while not executor.done:
        query = executor.ask()
        executor.tell(Prediction(0.5 * query.x, conversion("eps", query.at)))
    assert executor.x.shape == (2, channels, 6, 10)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("pink(1)", "white\\(0.25\\)"),
        ("white()", "white\\(VARIANCE\\)"),
        ("white(-1)", "white\\(VARIANCE\\)"),
        ("power(1, 2, 3)", "slope from 0 to 8"),
        ("power(nan)", "slope from 0 to 8"),
        ("no.json", "There is no power spectrum"),
    ],
)
def test_what_is_no_spectrum_is_one_sentence(text: str, match: str) -> None:
    with pytest.raises(UserError, match=match):
        GaussianFlow(spectrum=text)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    good = json.loads(power_law(2).to_json())
    for change, match in (
        ({"format": "x"}, "not one of ours"),
        ({"power": [[0.0] * 33]}, "damaged"),
        ({"knots": None}, "not one of ours"),
        ({"knots": [0.5, 10**400]}, "not one of ours"),
    ):
        path.write_text(json.dumps(good | change))
        with pytest.raises(UserError, match=match):
            parse_spectrum(str(path))
    for images in (torch.zeros(4, 1, 8, 8), torch.zeros(1, 1, 8, 8), torch.zeros(3, 8)):
        with pytest.raises(UserError, match="spectrum"):
            measure_spectrum(images)
