"""Statements 1, 2, 5, 6 and 7 of the theory on sets whose distance is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.core.process import Point
from diffdescent.lab.theory import (
    Points,
    Set,
    Sphere,
    Subspace,
    Union,
    gradient,
    least_squares_gamma,
    levina_bickel,
    manifold_reach,
    neighbour_distances,
    smoothed,
    support,
    transformed,
    two_nn,
)
from diffdescent.lab.theory.noised import noised_projection
from diffdescent.lab.theory.sets.sphere import _von_mises_fisher
from diffdescent.models.dataset import Dataset
from diffdescent.models.gaussian import Gaussian
from diffdescent.models.mixture import Mixture

N = 6
GENERATOR = torch.Generator().manual_seed(3)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


ORIGIN, ROWS, CLOUD = normal(N), normal(2, N), normal(40, N)
SETS: dict[str, Set] = {
    "point": Subspace(ORIGIN),
    "subspace": Subspace(ORIGIN, ROWS),
    "sphere": Sphere(ORIGIN, 1.7),
    "circle in a plane": Sphere(ORIGIN, 1.7, ROWS),
    "finite set": Points(CLOUD),
    "union": Union([Subspace(ORIGIN, ROWS), Subspace(ORIGIN + 3, ROWS[:1])]),
}
X = 2 * normal(30, N)


def brute(name: str, x: Tensor) -> Tensor:
    """Distances by other means: least squares, closed forms, all pairs."""
    away = x - ORIGIN
    on_rows = torch.linalg.lstsq(ROWS.T, away.T).solution.T @ ROWS
    if name == "point":
        return away.norm(dim=1)
    if name == "subspace":
        return (away - on_rows).norm(dim=1)
    if name == "sphere":
        return (away.norm(dim=1) - 1.7).abs()
    if name == "circle in a plane":
        return torch.hypot((away - on_rows).norm(dim=1), on_rows.norm(dim=1) - 1.7)
    if name == "finite set":
        return torch.cdist(x, CLOUD).min(dim=1).values
    line = ROWS[:1] / ROWS[:1].norm()
    other = x - ORIGIN - 3
    return torch.minimum((away - on_rows).norm(dim=1), (other - other @ line.T @ line).norm(dim=1))


@pytest.mark.parametrize("name", SETS)
def test_distances_and_that_projections_attain_them(name: str) -> None:
    found = SETS[name].project(X)
    torch.testing.assert_close(found.distance, brute(name, X), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        (X - found.nearest).norm(dim=1), found.distance, rtol=1e-12, atol=1e-12
    )
    assert SETS[name].project(found.nearest).distance.max() < 1e-12  # projections lie on the set


@pytest.mark.parametrize("name", SETS)
def test_statement_1_the_gradient_of_half_the_squared_distance(name: str) -> None:
    """∇½dist² = x − proj(x), against central differences of the brute-force distance."""
    found, h = SETS[name].project(X), 1e-6
    numeric = torch.stack(
        [
            (brute(name, X + h * e) ** 2 - brute(name, X - h * e) ** 2) / (4 * h)
            for e in torch.eye(N).double()
        ],
        dim=1,
    )
    torch.testing.assert_close(numeric, X - found.nearest, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient(found, X) * found.distance[:, None], X - found.nearest)


@pytest.mark.parametrize("name", SETS)
def test_statement_7_the_gradient_of_dist_is_constant_towards_the_projection(name: str) -> None:
    found = SETS[name].project(X)
    unit = gradient(found, X)
    for share in (0.3, 0.9):
        between = X + share * (found.nearest - X)
        torch.testing.assert_close(
            gradient(SETS[name].project(between), between), unit, rtol=1e-9, atol=1e-9
        )


def test_the_gradient_on_the_set_and_at_a_spheres_center_is_finite() -> None:
    on = SETS["sphere"].project(X).nearest
    assert torch.isfinite(gradient(SETS["sphere"].project(on), on)).all()
    center = SETS["sphere"].project(ORIGIN[None])
    assert center.distance.item() == pytest.approx(1.7)
    assert (center.nearest - ORIGIN).norm().item() == pytest.approx(1.7)


SMOOTHED: dict[str, Set] = {
    **SETS,
    "pair": Sphere(ORIGIN, 1.7, ROWS[:1]),
    "circle": SETS["circle in a plane"],
    "soft union": Union([SETS["circle in a plane"], SETS["finite set"]]),
    "metric": transformed(SETS["finite set"], torch.eye(N).double() + 0.3 * normal(N, N)),
}


@pytest.mark.parametrize("sigma", [0.05, 0.5, 3.0])
@pytest.mark.parametrize("name", SMOOTHED)
def test_statement_6_the_gradient_of_the_smoothed_distance(name: str, sigma: float) -> None:
    """Its gradient against central differences of its value."""
    h, k = 1e-5, SMOOTHED[name]
    numeric = torch.stack(
        [
            (smoothed(k, X + h * e, sigma).value - smoothed(k, X - h * e, sigma).value) / (2 * h)
            for e in torch.eye(N)
        ],
        dim=1,
    )
    torch.testing.assert_close(smoothed(k, X, sigma).gradient, numeric, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 3.0])
def test_statement_6_on_a_finite_set(sigma: float) -> None:
    """−σ² log Σ exp(−d²/2σ²), whose gradient is σε of the exact denoiser."""
    value, slope = smoothed(SETS["finite set"], X, sigma)
    torch.testing.assert_close(
        value, -(sigma**2) * (-(torch.cdist(X, CLOUD) ** 2) / (2 * sigma**2)).logsumexp(1)
    )
    eps = Dataset(CLOUD, dd.VE())(X, Point(sigma, 1.0, sigma)).to("eps", X)
    torch.testing.assert_close(slope, sigma * eps)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 3.0])
def test_statement_6_on_surfaces_by_sums_over_many_points(sigma: float) -> None:
    """Circle, line and pair of points: the integral over the set as a sum of small cells."""
    plane = torch.linalg.qr(ROWS.T)[0].T
    angles = torch.arange(20_000).double() * 2 * math.pi / 20_000
    circle = ORIGIN + 1.7 * (angles.cos()[:, None] * plane[0] + angles.sin()[:, None] * plane[1])
    steps = torch.arange(-60.0, 60.0, 0.005, dtype=torch.float64)
    unit = ROWS[:1] / ROWS[:1].norm()
    cells: dict[str, tuple[Set, Tensor, float]] = {
        "circle": (SETS["circle in a plane"], circle, 1.7 * 2 * math.pi / 20_000),
        "line": (Subspace(ORIGIN, ROWS[:1]), ORIGIN + steps[:, None] * unit, 0.005),
        "pair": (SMOOTHED["pair"], torch.cat((ORIGIN + 1.7 * unit, ORIGIN - 1.7 * unit)), 1.0),
    }
    for name, (k, places, size) in cells.items():
        logs = -(torch.cdist(X, places) ** 2) / (2 * sigma**2)
        expected = -(sigma**2) * (logs.logsumexp(1) + math.log(size))
        torch.testing.assert_close(
            smoothed(k, X, sigma).value, expected, rtol=1e-8, atol=1e-8, msg=name
        )


def test_statement_6_on_spheres_by_bessel_functions() -> None:
    """∫ exp(κ cos θ) = (2π)^{D/2} κ^{1−D/2} I_{D/2−1}(κ) over the unit sphere in R^D, mean cosine
    I_{D/2}/I_{D/2−1}."""
    special = pytest.importorskip("scipy.special")
    kappa = np.array([1e-3, 0.3, 2.0, 40.0, 3e3, 2e6])
    for size in (2, 3, 7, 60):
        mass, cosine = _von_mises_fisher(torch.from_numpy(kappa), size)
        order = size / 2 - 1
        scaled = special.ive(order, kappa)
        known = (scaled > 1e-300) & (kappa > 1e-2)
        logs = (
            size / 2 * math.log(2 * math.pi)
            - order * np.log(kappa)
            + np.log(np.maximum(scaled, 1e-300))
            + kappa
        )
        np.testing.assert_allclose(mass.numpy()[known], logs[known], rtol=1e-9)
        ratio = special.ive(order + 1, kappa) / np.maximum(scaled, 1e-300)
        np.testing.assert_allclose(cosine.numpy()[known], ratio[known], rtol=1e-8)
        surface = math.log(2) + size / 2 * math.log(math.pi) - math.lgamma(size / 2)
        assert _von_mises_fisher(torch.zeros(1, dtype=torch.float64), size)[
            0
        ].item() == pytest.approx(surface)


def test_statement_7_gamma_solves_a_weighted_least_squares_problem() -> None:
    """min ‖(e − ε_t, e − ε_{t+1})‖_W over all e, as a linear system for random W; γ = 2 is one of
    many answers."""
    for _ in range(20):
        root = normal(2, 2)
        w = root @ root.T + 0.01 * torch.eye(2)
        a, b, c = float(w[0, 0]), float(w[0, 1]), float(w[1, 1])
        now, before = normal(N), normal(N)
        big = torch.kron(w, torch.eye(N, dtype=torch.float64))
        both = torch.cat((torch.eye(N), torch.eye(N))).double()  # e ↦ (e, e)
        best = torch.linalg.solve(both.T @ big @ both, both.T @ big @ torch.cat((now, before)))
        gamma = least_squares_gamma(a, b, c)
        torch.testing.assert_close(best, gamma * now + (1 - gamma) * before)
    assert least_squares_gamma(1.5, -1.0, 0.75) == pytest.approx(2)
    assert least_squares_gamma(1.0, 0.0, 1.0) == 0.5
    with pytest.raises(dd.UserError, match="positive definite"):
        least_squares_gamma(1.0, 1.0, 1.0)


def test_the_smoothed_distance_tends_to_the_distance() -> None:
    points = Points(CLOUD)
    value, slope = points.smoothed(X, 1e-3)
    found = points.project(X)
    torch.testing.assert_close(value, found.distance**2 / 2, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(slope, X - found.nearest)
    for k in (points, SETS["subspace"], SETS["sphere"], SETS["union"]):
        with pytest.raises(dd.UserError, match="σ > 0"):
            smoothed(k, X, 0.0)
    torch.testing.assert_close(
        smoothed(SETS["sphere"], X, 1e-4).gradient, X - SETS["sphere"].project(X).nearest
    )
    with pytest.raises(dd.UserError, match="no smoothed distance"):
        smoothed(object(), X, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("dimension", [2, 10])
def test_statement_5_low_noise_on_subspaces_and_spheres(dimension: int) -> None:
    """reach ≥ σ√n: ‖proj(x_σ) − x_0‖ is about σ√d, and for a subspace exactly distributed so."""
    size, sigma, count = 60, 0.05, 400
    rows = normal(dimension, size)
    flat = Subspace(torch.zeros(size), rows)
    x0 = flat.project(normal(count, size)).nearest
    error = noised_projection(flat, x0, [sigma]).error[0]
    assert math.sqrt((error**2).mean()) == pytest.approx(sigma * math.sqrt(dimension), rel=0.1)
    ball = Sphere(torch.zeros(size), 4.0, normal(dimension + 1, size))  # reach 4 > σ√n = 0.39
    noised = noised_projection(ball, ball.project(normal(count, size)).nearest, [sigma])
    assert (noised.error[0] < 2 * sigma * math.sqrt(dimension)).mean() > 0.95
    assert noised.dimension == dimension


def test_statement_5_high_noise_the_hull_bounds_the_error() -> None:
    """Any x̂0 in the convex hull errs by at most diam(K), and by that much where it is K's other
    end."""
    points = Points(CLOUD)
    true = float(torch.pdist(CLOUD).max())
    x = 30 * normal(50, N)
    found = points.project(x)
    chances = torch.rand(200, len(CLOUD), generator=GENERATOR, dtype=torch.float64) ** 20
    hull = torch.cat((CLOUD, (chances / chances.sum(1, keepdim=True)) @ CLOUD))
    assert torch.cdist(hull, found.nearest).max() <= true
    at = Point(20.0, 1.0, 20.0)
    error = (Dataset(CLOUD, dd.VE())(x, at).to("x0", x) - found.nearest).norm(dim=1)
    assert (error / found.distance <= true / found.distance).all()
    pair = torch.stack((ORIGIN, -ORIGIN))
    assert (ORIGIN - Points(pair).project(-3 * ORIGIN[None]).nearest[0]).norm() == pytest.approx(
        2 * ORIGIN.norm()
    )
    assert Points(pair).diameter == pytest.approx(2 * float(ORIGIN.norm()))
    assert true <= points.diameter <= 2 * true


def test_nearest_images_of_uint8_data_in_chunks() -> None:
    images = torch.randint(0, 256, (37, 1, 3, 3), generator=GENERATOR, dtype=torch.uint8)
    data = Dataset(images, dd.VE(), chunk=5)
    x = torch.randn(9, 1, 3, 3, generator=GENERATOR)
    distance, index = data.neighbours(x, 4)
    every = torch.cdist(x.flatten(1).double(), images.flatten(1).double() * 2 / 255 - 1)
    expected = every.topk(4, dim=1, largest=False)
    torch.testing.assert_close(distance, expected.values)
    assert torch.equal(index, expected.indices)
    assert data.neighbours(data.values(torch.tensor([7])))[0].item() == 0
    with pytest.raises(dd.UserError, match="37 images"):
        data.neighbours(x, 38)


def test_reach_of_a_finite_set_is_half_the_least_distance() -> None:
    assert Points(CLOUD).reach == pytest.approx(float(torch.pdist(CLOUD).min()) / 2)
    twice = torch.cat((CLOUD, CLOUD[:1]))
    near = neighbour_distances(Points(twice), 2)
    assert near.duplicates == 2
    assert len(near.distance) == 39


def test_intrinsic_dimension_and_reach_of_spheres() -> None:
    """Points on a sphere of known dimension and radius in 20 dimensions."""
    for d in (1, 3):
        y = normal(1500, d + 1)
        ball = 2.5 * y / y.norm(dim=1, keepdim=True)
        rows, _ = torch.linalg.qr(normal(20, d + 1))
        points = Points(ball @ rows.T)
        near = neighbour_distances(points, 12, sample=800)
        assert two_nn(near) == pytest.approx(d, rel=0.12)
        assert levina_bickel(near) == pytest.approx(d, rel=0.12)
        few = near._replace(
            distance=near.distance[:40], others=near.others[:40], which=near.which[:40]
        )
        # Tangents from neighbours are tilted, which lowers the estimate (to 0.7 … 0.8 of it on
        # spheres).
        assert 0.6 * 2.5 < manifold_reach(points, few, d) < 1.02 * 2.5


def test_mahalanobis_distance_is_the_euclidean_one_after_the_map() -> None:
    matrix = torch.eye(N).double() + 0.3 * normal(N, N)
    for name in ("point", "subspace", "finite set"):
        found = transformed(SETS[name], matrix).project(X)  # type: ignore[arg-type]
        torch.testing.assert_close(((X - found.nearest) @ matrix.T).norm(dim=1), found.distance)
        # No other point of the set is nearer in this metric.
        others = (
            CLOUD
            if name == "finite set"
            else ORIGIN + (normal(200, 2) @ ROWS if name == "subspace" else 0)
        )
        rest = ((X[:, None] - others) @ matrix.T).norm(dim=-1).flatten(1).min(dim=1).values
        assert (found.distance <= rest + 1e-12).all()
    with pytest.raises(dd.UserError, match="Sphere"):
        transformed(SETS["sphere"], matrix)


def test_supports_of_exact_models() -> None:
    factors = torch.zeros(5, 2).double()
    factors[1, 0], factors[3, 1] = 2.0, 1.0
    mean = torch.arange(5.0).double()
    flat = support(Gaussian(mean, 1e-6, dd.VE(), factors=factors), share=0.999)
    assert flat.dimension == 2
    x = normal(4, 5)
    away = x - mean
    away[:, [1, 3]] = 0
    torch.testing.assert_close(flat.project(x).distance, away.norm(dim=1))
    both = support(
        Mixture(torch.ones(2), torch.stack((mean, mean + 9)), torch.full((2, 5), 1e-6), dd.VE(),
                factors=factors.expand(2, 5, 2)), share=0.999,
    )  # fmt: skip
    torch.testing.assert_close(both.project(x).distance, away.norm(dim=1))
    with pytest.raises(dd.UserError, match="does not say which set"):
        support(object())


def test_wrong_shapes_are_told() -> None:
    with pytest.raises(dd.UserError, match="shape"):
        SETS["subspace"].project(torch.zeros(2, 3))
    with pytest.raises(dd.UserError, match="radius"):
        Sphere(ORIGIN, -1)
    with pytest.raises(dd.UserError, match="Directions"):
        Subspace(ORIGIN, torch.zeros(2, 3))
