"""The error model as measured: against its definition, on the ideal denoiser, and on Gaussians with a closed form."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

import diffdescent as dd
from diffdescent.models.dataset import Dataset
from diffdescent.theory import ErrorModel, Points, Subspace, measure
from diffdescent.theory.ideal import GRID, measure_ideal
from diffdescent.theory.lowrank import METRICS, low_rank, sweep

GENERATOR = torch.Generator().manual_seed(5)
IMAGES = torch.randint(0, 256, (60, 1, 4, 4), generator=GENERATOR, dtype=torch.uint8)
DATA = Dataset(IMAGES, dd.VP.named(), chunk=17)


def test_every_quantity_is_its_definition() -> None:
    """Recomputed from the states by brute force, with no code of the theory."""
    seen: list[tuple[dd.Point, torch.Tensor, torch.Tensor]] = []
    probe = ErrorModel(Points(DATA))

    def both(at: dd.Progress) -> None:
        probe(at)
        seen.append((at.at, at.x.double().flatten(1), at.x0.double().flatten(1)))

    dd.sample(DATA, "ddim", steps=8, grid=GRID, n=5, callback=both, dtype=torch.float64, batch_size=5)
    found = probe.result()
    y = IMAGES.flatten(1).double() * 2 / 255 - 1
    units, sigmas, x0s = [], [], []
    for i, (point, native, x0) in enumerate(seen):
        x = native / point.alpha
        dist, index = torch.cdist(x, y).min(dim=1)
        sigma = point.sigma / point.alpha
        eps = (native - point.alpha * x0) / point.sigma
        np.testing.assert_allclose(
            found.values["eta"][i], ((sigma * eps - (x - y[index])).norm(dim=1) / dist), atol=1e-9
        )
        np.testing.assert_allclose(found.values["nu"][i], 4 * sigma / dist, rtol=1e-9)
        np.testing.assert_allclose(found.values["norm"][i], eps.norm(dim=1) / 4, rtol=1e-9)
        units.append((x - y[index]) / dist[:, None])
        if i:
            np.testing.assert_allclose(found.values["turn"][i], (units[i] - units[i - 1]).norm(dim=1), atol=1e-9)
            released = (x0s[-1] - y[index]).norm(dim=1) / dist
            np.testing.assert_allclose(found.values["eta_released"][i - 1], released, rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(found.values["nu_released"][i - 1], 4 * sigmas[-1] / dist, rtol=1e-9)
        sigmas.append(sigma)
        x0s.append(x0)
    assert np.isnan(found.values["turn"][0]).all()
    assert np.isnan(found.values["eta_released"][-1]).all()


def test_batches_change_nothing() -> None:
    whole = measure(DATA, Points(DATA), "ge", steps=5, n=6, batch_size=6)
    parts = measure(DATA, Points(DATA), "ge", steps=5, n=6, batch_size=4)
    for name, values in whole.values.items():
        np.testing.assert_allclose(parts.values[name], values, rtol=1e-9, atol=1e-12, err_msg=name)
    assert parts.samples == tuple(range(6))


def test_the_ideal_denoisers_single_pass_is_the_measurement() -> None:
    ideal = measure_ideal(DATA, steps=6, n=7, batch_size=4)
    plain = measure(DATA, Points(DATA), "ddim", steps=6, grid=GRID, n=7)
    for name, values in plain.values.items():
        np.testing.assert_allclose(ideal.values[name], values, rtol=1e-6, atol=1e-9, err_msg=name)


def test_statement_2_the_ideal_denoiser_projects_at_both_ends() -> None:
    """Small η at high noise (both point at the set) and at low noise (one image is left); always within diam/dist."""
    found = measure_ideal(DATA, steps=20, n=30)
    eta = found.quantile("eta", 0.5)
    assert eta[0] < 0.01
    assert eta[-1] < 1e-6
    assert eta.max() > 0.02
    assert np.all(found.values["eta"] <= found.far_bound)
    assert np.nanmedian(found.values["norm"]) == pytest.approx(1, abs=0.1)
    bound, band = found.holds_with(0.95)
    assert np.mean(found.values["eta"] <= bound) >= 0.94
    assert band >= 1


def test_numbers_are_json_and_csv() -> None:
    found = measure_ideal(DATA, steps=4, n=3)
    rows = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert [row["evaluation"] for row in rows] == [0, 1, 2, 3]
    assert rows[0]["turn"] is None
    low, middle, high = rows[1]["eta"]
    assert low <= middle <= high
    lines = found.csv().splitlines()
    assert len(lines) == 1 + 4 * 3
    assert lines[0].startswith("evaluation,t,sigma,sample,dist,eta,nu")


def test_pure_noise_has_no_distance_and_is_left_out() -> None:
    flow = Dataset(IMAGES, dd.Flow())
    found = measure(flow, Points(flow), "ddim", steps=4, n=2)
    assert np.isnan(found.values["dist"][0]).all()
    assert np.isfinite(found.values["eta"][1:]).all()
    assert found.summary()[0]["sigma"] is None


def test_shapes_must_agree() -> None:
    with pytest.raises(dd.UserError, match="shape"):
        measure(DATA, Subspace(torch.zeros(3, 2, 2)), "ddim", steps=2)
    with pytest.raises(dd.UserError, match="Nothing was measured"):
        ErrorModel(Points(DATA)).result()


def test_low_rank_gaussians_have_the_closed_form_error() -> None:
    """η² = Σ (σ²/(v + σ²))² x_i² / ‖Px − x‖² along K, and in the metric of the noised data with weights 1/(v + σ²)."""
    (row,) = sweep([0.25], size=16, steps=5, n=64, decay=1.0)
    generator = torch.Generator().manual_seed(1)
    model, k, covariance = low_rank(16, 4, 1.0, generator)
    values = torch.linalg.eigvalsh(covariance)[-4:]
    assert float(values.mean()) == pytest.approx(1, rel=1e-9)
    x = 3 * torch.randn(5, 16, generator=generator, dtype=torch.float64)
    sigma = 0.7
    x0 = model(x, dd.Point(0.0, 1.0, sigma)).to("x0", x)
    found = k.project(x)
    _, vectors = torch.linalg.eigh(covariance)
    along = (x @ vectors[:, -4:]) * sigma**2 / (values + sigma**2)
    torch.testing.assert_close((x0 - found.nearest).norm(dim=1), along.norm(dim=1), rtol=1e-5, atol=1e-6)
    # At high noise both metrics tend to √(d/(n − d)); at low noise the data's own metric forgives what lies along K.
    assert row.eta_at(METRICS[0], 30) == pytest.approx(math.sqrt(4 / 12), rel=0.25)
    assert row.eta_at(METRICS[1], 30) == pytest.approx(row.eta_at(METRICS[0], 30), rel=0.02)
    assert row.eta_at(METRICS[1], 0.1) < 0.5 * row.eta_at(METRICS[0], 0.1)
    assert row.lower is not None
    assert row.upper is not None
    assert row.measured is not None
    assert row.lower <= row.measured <= row.upper


def test_full_rank_has_no_distance() -> None:
    (row,) = sweep([1.0], size=8, steps=4, n=16)
    assert math.isnan(row.eta_at(METRICS[0], 1.0))
    assert row.measured is None
    assert row.gain_interval[0] <= row.gain <= row.gain_interval[1]
    with pytest.raises(dd.UserError, match="d/n"):
        sweep([0.0])
