"""The probability-flow ODE: closed form, adaptive solve, and its cache."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from diffdescent import UserError
from diffdescent.core.process import Point
from diffdescent.models.flowmap import exact_solution, integrate
from diffdescent.models.gaussian import Gaussian
from tests.unit.models.exact.cases import SHAPE, make_dataset, make_gaussian, make_mixture, rand

NOISE, MIDDLE, DATA = (
    Point(1, 0.0063, math.sqrt(1 - 0.0063**2)),
    Point(0, 0.9, 0.5),
    Point(0, 1.0, 0.0),
)


def test_gaussian_flow_is_a_group(gaussian: Gaussian) -> None:
    x = rand(3, *SHAPE, seed=1)
    for a, b, c in [
        (NOISE, MIDDLE, DATA),
        (DATA, NOISE, MIDDLE),
        (Point(1, 0.0, 1.0), Point(5, 1.0, 5.0), DATA),
    ]:
        torch.testing.assert_close(
            gaussian.flow(gaussian.flow(x, a, b), b, c), gaussian.flow(x, a, c)
        )
        torch.testing.assert_close(gaussian.flow(gaussian.flow(x, a, b), b, a), x)
    assert torch.equal(gaussian.flow(x.float(), MIDDLE, MIDDLE), x.float())


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (NOISE, DATA),
        (Point(1, 0.0, 1.0), DATA),
        (Point(157, 1.0, 157.0), Point(0.01, 1.0, 0.01)),
        (DATA, NOISE),
    ],
)
def test_adaptive_solve_meets_the_closed_form(gaussian: Gaussian, start: Point, end: Point) -> None:
    x = rand(4, *SHAPE, seed=2) * start.norm
    solution = exact_solution(gaussian, x, start, end, rtol=1e-8, atol=1e-8)
    truth = gaussian.flow(x, start, end)
    error = (solution.x - truth).square().mean((1, 2, 3)).sqrt() / end.norm
    assert float(error.max()) < 1e-6
    assert float((error * end.norm / solution.error).max()) < 3  # the estimate is honest


def test_halving_the_tolerance_bounds_the_error() -> None:
    mixture = make_mixture("cosine")
    x = rand(5, *SHAPE, seed=3)
    truth = exact_solution(mixture, x, NOISE, DATA, rtol=1e-9, atol=1e-9).x
    for tolerance in (1e-4, 1e-6):
        solution = exact_solution(mixture, x, NOISE, DATA, rtol=tolerance, atol=tolerance)
        error = (solution.x - truth).square().mean((1, 2, 3)).sqrt()
        assert float(error.max()) < 100 * tolerance
        assert float(error.max()) < 3 * float(solution.error.max())
        assert float(solution.error.max()) < 300 * tolerance


def test_there_and_back() -> None:
    mixture = make_mixture("full")
    x = mixture.sample(3, torch.Generator().manual_seed(4))
    noise = exact_solution(mixture, x, DATA, NOISE, rtol=1e-9, atol=1e-9).x
    back = exact_solution(mixture, noise, NOISE, DATA, rtol=1e-9, atol=1e-9).x
    torch.testing.assert_close(back, x, rtol=0, atol=1e-6)


def test_a_finite_set_ends_at_its_images() -> None:
    data = make_dataset()
    x = rand(3, *SHAPE, seed=5)
    end = exact_solution(data, x, NOISE, Point(0, 1.0, 1e-3), rtol=1e-6, atol=1e-6).x
    gap = (end[:, None] - (data.images / 127.5 - 1)).flatten(2).abs().amax(2).amin(1)
    assert float(gap.max()) < 0.01
    # At σ = 0 it is the very image that the solution is nearest to.
    whole = exact_solution(data, x, NOISE, DATA, rtol=1e-6, atol=1e-6)
    gap = (whole.x[:, None] - (data.images / 127.5 - 1)).flatten(2).abs().amax(2).amin(1)
    assert float(gap.max()) < 1e-6
    torch.testing.assert_close(whole.x, end, rtol=0, atol=0.01)
    assert float(whole.error.max()) < 1e-12


def test_cache_keeps_and_mends(tmp_path: Path) -> None:
    gaussian, x = make_gaussian(), rand(2, *SHAPE, seed=6)
    first = exact_solution(gaussian, x, NOISE, DATA, cache=tmp_path / "deep")
    (file,) = (tmp_path / "deep").iterdir()
    again = exact_solution(gaussian, x, NOISE, DATA, cache=tmp_path / "deep")
    assert torch.equal(first.x, again.x)
    assert torch.equal(first.error, again.error)
    assert first.evaluations == again.evaluations
    whole = file.read_bytes()
    for damaged in (b"", whole[:100], whole[: len(whole) // 2], b"PK\x03\x04" + whole[4:-30]):
        file.write_bytes(damaged)
        assert torch.equal(
            exact_solution(gaussian, x, NOISE, DATA, cache=tmp_path / "deep").x, first.x
        )
    exact_solution(make_gaussian("diagonal"), x, NOISE, DATA, cache=tmp_path / "deep")
    exact_solution(gaussian, x, NOISE, MIDDLE, cache=tmp_path / "deep")
    assert len(list((tmp_path / "deep").glob("*.npz"))) == 3
    assert len(list((tmp_path / "deep").iterdir())) == 4  # and the damaged one


def test_integrator_is_of_fifth_order() -> None:
    """On z' = z cos t, z = exp(sin t); error per tolerance falls as the local error control
    asks."""
    z = torch.ones(1, 1, dtype=torch.float64)
    errors, counts = [], []
    for tolerance in (1e-5, 1e-10):
        end, count = integrate(lambda t, z: z * math.cos(t), z, 0.0, 10.0, tolerance, tolerance)
        errors.append(abs(float(end) - math.exp(math.sin(10.0))))
        counts.append(count)
    slope = math.log(errors[0] / errors[1]) / math.log(counts[1] / counts[0])
    assert 4.2 < slope < 6.5


def test_bad_problems() -> None:
    gaussian, x = make_gaussian(), rand(2, *SHAPE)
    with pytest.raises(UserError, match="Tolerances"):
        exact_solution(gaussian, x, NOISE, DATA, rtol=0.0)
    with pytest.raises(UserError, match="noise level"):
        exact_solution(gaussian, x, NOISE, Point(0, 0.0, 0.0))
    with pytest.raises(UserError, match="shape"):
        exact_solution(gaussian, x[:, :1], NOISE, DATA)
    with pytest.raises(UserError, match="not finite"):
        exact_solution(gaussian, x * math.nan, NOISE, DATA)
