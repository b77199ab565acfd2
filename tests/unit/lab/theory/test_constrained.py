"""Constrained sampling as averaged alternating projections: its rates, against the theory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import diffdescent as dd
from diffdescent import UserError
from diffdescent.core.process import Point
from diffdescent.lab.theory.constrained import (
    SetConstraint,
    SetDenoiser,
    alternating_projections,
    constrained_descent,
    levels,
    predicted,
)
from diffdescent.lab.theory.constrained_cases import SIZE, cut_sphere, some_points, subspaces
from diffdescent.lab.theory.constrained_table import rates, reached
from diffdescent.lab.theory.sets import Points, Sphere, Subspace
from diffdescent.models.dataset import Dataset

F64 = torch.float64


def test_the_denoiser_of_a_set_is_exact() -> None:
    """Of points it is that of the data set; of a subspace the projection; of a sphere it shrinks
    with the noise; and its ε belongs to its x0."""
    points = torch.randn(9, 4, generator=torch.Generator().manual_seed(1), dtype=F64)
    at = Point(0.7, 0.8, 0.56)
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(2), dtype=F64)
    process = dd.VP.named("linear")
    mine = SetDenoiser(Points(points), process)
    x0 = Dataset(points, process).evaluate(x, at, "x0", None)
    assert torch.allclose(mine.evaluate(x, at, "x0", None), x0, atol=1e-9)
    eps = (x - at.alpha * x0) / at.sigma
    assert torch.allclose(mine.evaluate(x, at, "eps", None), eps, atol=1e-9)
    plane = Subspace(torch.ones(4), torch.eye(4)[:2])
    z = x / at.alpha
    assert torch.allclose(
        SetDenoiser(plane).evaluate(x, at, "x0", None), plane.project(z).nearest, atol=1e-12
    )
    sphere = SetDenoiser(Sphere(torch.zeros(4), 2.0))
    near, far = (sphere.evaluate(x, Point(s, 1.0, s), "x0", None).norm(dim=1) for s in (0.01, 5.0))
    assert torch.allclose(near, torch.full((5,), 2.0, dtype=F64), atol=1e-2)
    assert (far < 1).all()
    assert sphere.fingerprint() != mine.fingerprint()


@pytest.mark.parametrize("degrees", [20.0, 40.0])
def test_a_step_keeps_what_the_angle_says(degrees: float) -> None:
    case, grid = subspaces(degrees), levels(40, 40.0, 1e-6)
    found = constrained_descent(case.data, case.allowed, case.shared, grid, n=16)
    assert found.factors()[-5:] == pytest.approx(predicted(found.sigma, case.cosine)[-5:], rel=1e-3)
    stochastic = constrained_descent(
        case.data, case.allowed, case.shared, grid, n=16, recipe="ddim(eta=1)"
    )
    expected = predicted(found.sigma, case.cosine, ancestral=True)
    course = np.median(stochastic.to_both, axis=1)
    measured = (course[-1] / course[20]) ** (1 / 20)
    assert measured == pytest.approx(float(expected[-1]), rel=0.02)
    rounds = alternating_projections(case.data, case.allowed, case.shared, levels(12, 40.0, 1.0))
    assert rounds.factors()[-1] == pytest.approx(math.cos(math.radians(degrees)) ** 2, rel=1e-3)


def test_many_small_steps_end_at_a_power_of_the_noise() -> None:
    """Of the distance within the span of both sets, which the first step's noise part is not."""
    case = subspaces(30)
    grid = levels(400, 10.0, 0.01)
    found = constrained_descent(case.data, case.allowed, case.shared, grid, n=8)
    kept = np.median(found.to_both[-1] / found.to_both[200])
    assert kept == pytest.approx((found.sigma[-1] / found.sigma[200]) ** 0.25, rel=0.02)


def test_near_a_cut_sphere_the_tangents_angle_counts() -> None:
    case, grid = cut_sphere(0.8), levels(60, 40.0, 1e-6)
    found = constrained_descent(case.data, case.allowed, case.shared, grid, n=16)
    assert found.factors()[-1] == pytest.approx(predicted(found.sigma, 0.8)[-1], rel=3e-3)
    assert np.median(found.to_constraint[-1]) < 1e-5
    assert np.median(found.to_data[-1]) > 1e-4  # the data are reached more slowly than σ falls


def test_without_a_constraint_the_distance_to_the_data_falls_as_the_noise() -> None:
    case, grid = subspaces(30), levels(10, 40.0, 0.1)
    whole = Subspace(torch.zeros(SIZE), torch.eye(SIZE))
    found = constrained_descent(case.data, whole, case.shared, grid, n=8)
    expected = found.sigma / found.sigma[0]
    assert np.median(found.to_data / found.to_data[0], axis=1) == pytest.approx(expected, rel=1e-9)


def test_points_are_reached_more_often_with_noise_than_by_projections_alone() -> None:
    rows = {row.sampler: row for row in reached(steps=20, n=128)}
    assert rows["ddim"].reached.low > rows["ddim"].alone.high
    assert rows["ddim"].reached.low > rows["alternating projections"].reached.high
    assert rows["ddim"].reached.high < 0.5  # most runs end between the sets, all the same


def test_rows_are_complete_and_can_be_written() -> None:
    rows = list(rates(steps=30, n=8))
    assert len(rows) == 12
    for row in rows:
        assert len(row.to_both) == len(row.course) == 31
        assert row.record()["sigma"][0] == pytest.approx(40.0)
        if row.sampler == "ddim" and "sphere" not in row.case:
            assert row.kept == pytest.approx(row.predicted, rel=5e-3)
            assert row.projections == pytest.approx(row.von_neumann, rel=5e-3)


def friedrichs_cosine(a: Subspace, b: Subspace) -> float:
    """cos θ of the smallest angle between two subspaces once what they share is left out; 0 where
    one holds the other."""
    cosines = torch.linalg.svdvals(a.basis.T @ b.basis)
    apart = cosines[cosines < 1 - 1e-9]
    return float(apart.max()) if len(apart) else 0.0


def test_angles_and_spaces() -> None:
    case = subspaces(25)
    assert isinstance(case.data, Subspace)
    assert isinstance(case.allowed, Subspace)
    assert friedrichs_cosine(case.data, case.allowed) == pytest.approx(case.cosine)
    assert friedrichs_cosine(case.data, case.data) == 0
    assert SetConstraint(case.allowed).affine
    assert not SetConstraint(cut_sphere(0.5).data).affine
    points = some_points(members=3, count=20)
    assert float(points.shared(points.data.data.values(torch.arange(3)).double()).max()) < 1e-6  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="take both from one space"):
        constrained_descent(case.data, Subspace(torch.zeros(3)), case.shared, levels(2, 1.0, 0.1))
