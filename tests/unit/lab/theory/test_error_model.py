"""The error model as measured: against its definition, on the ideal denoiser, and on Gaussians with
a closed form."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import diffdescent as dd
from diffdescent.lab.theory import ErrorModel, Points, Sphere, Subspace, Union, measure
from diffdescent.lab.theory.errors import Errors
from diffdescent.lab.theory.ideal import GRID, measure_ideal
from diffdescent.lab.theory.lowrank import BOUNDED, METRICS, _gain, low_rank, sweep
from diffdescent.lab.theory.sets.base import identity
from diffdescent.models.dataset import Dataset
from diffdescent.run import Progress, noise_for

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

    dd.sample(
        DATA, "ddim", steps=8, grid=GRID, n=5, callback=both, dtype=torch.float64, batch_size=5
    )
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
            np.testing.assert_allclose(
                found.values["turn"][i], (units[i] - units[i - 1]).norm(dim=1), atol=1e-9
            )
            released = (x0s[-1] - y[index]).norm(dim=1) / dist
            np.testing.assert_allclose(
                found.values["eta_released"][i - 1], released, rtol=1e-7, atol=1e-9
            )
            np.testing.assert_allclose(
                found.values["nu_released"][i - 1], 4 * sigmas[-1] / dist, rtol=1e-9
            )
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
    """Small η at high noise (both point at the set) and at low noise (one image is left); always
    within diam/dist."""
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


def test_a_row_of_the_sweep_recomputed_by_hand() -> None:
    """A Gaussian of rank 4 in 16 dimensions: DDIM, GE, the exact flow, η and the bounds in plain
    NumPy."""
    size, rank, steps, n = 16, 4, 5, 24
    (row,) = sweep([rank / size], size=size, steps=steps, n=n)
    generator = torch.Generator().manual_seed(0)
    turn = np.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64).numpy())[
        0
    ]
    model, _, covariance = low_rank(size, rank, 1.0, generator)
    assert float(np.trace(covariance.numpy())) == pytest.approx(rank)
    values, vectors = np.linalg.eigh(covariance.numpy())
    values, span = np.clip(values, 0, None), vectors[:, -rank:]
    levels = dd.grid("loglinear", model.process, steps).ratio
    # The start is noise of the size of a unit-variance state; in x/α.
    start = noise_for(0, range(n), (size,)).double().numpy() * math.hypot(1, levels[0])
    rows = {"ddim": start @ vectors, "ge": start @ vectors}
    before = 0.0
    eta: dict[str, list[list[float]]] = {name: [] for name in METRICS}
    for sigma, after in pairwise(levels):
        noised = vectors @ np.diag((values + 1e-12 + sigma**2) ** -0.5) @ vectors.T
        fixed = turn @ np.diag(np.logspace(0, -1, size)) @ turn.T
        plain = rows["ddim"] @ vectors.T
        x0 = (rows["ddim"] * values / (values + sigma**2)) @ vectors.T
        for name, a in zip(METRICS, (np.eye(size), noised, fixed), strict=True):
            nearest = (span @ np.linalg.lstsq(a @ span, a @ plain.T, rcond=None)[0]).T
            error, distance = (np.linalg.norm((y - nearest) @ a.T, axis=1) for y in (x0, plain))
            eta[name].append((error / distance).tolist())
        eps = rows["ge"] * sigma / (values + sigma**2)
        rows["ge"] = rows["ge"] + (after - sigma) * (
            eps if sigma == levels[0] else 2 * eps - before
        )
        before = eps
        rows["ddim"] = rows["ddim"] + (after - sigma) * rows["ddim"] * sigma / (values + sigma**2)
    for name in METRICS:
        np.testing.assert_allclose(
            row.eta[name], np.median(eta[name], axis=1), rtol=1e-5, err_msg=name
        )
    exact = start @ vectors * np.sqrt((values + levels[-1] ** 2) / (values + levels[0] ** 2))
    gain = np.linalg.norm(rows["ddim"] - exact) / np.linalg.norm(rows["ge"] - exact)
    assert row.gain[METRICS[0]].value == pytest.approx(gain, rel=1e-4)
    in_fixed = [np.linalg.norm((rows[k] - exact) @ vectors.T @ fixed.T) for k in ("ddim", "ge")]
    assert row.gain[METRICS[2]].value == pytest.approx(in_fixed[0] / in_fixed[1], rel=1e-4)
    for found in row.gain.values():
        assert found.low < found.high < 3 * found.low
    # On a subspace DDIM's distance falls exactly as σ does, in any fixed metric.
    beta = 1 - levels[1:] / levels[:-1]
    for name in BOUNDED:
        worst = np.max(eta[name], axis=1)
        bounds = np.prod(np.maximum(1 - beta * (1 + worst), 0)), np.prod(1 + beta * (worst - 1))
        np.testing.assert_allclose(
            row.bounds[name], (bounds[0], levels[-1] / levels[0], bounds[1]), rtol=1e-4
        )


def test_the_gain_is_a_ratio_of_rmse_with_an_interval() -> None:
    same = _gain(np.array([4.0, 8, 12]), np.array([1.0, 2, 3]), 0)
    assert (same.value, same.low, same.high) == pytest.approx((2, 2, 2))
    squares = np.random.default_rng(3).chisquare(4, (2, 400))
    found = _gain(4 * squares[0], squares[1], 0)
    gain, low, high = found.value, found.low, found.high
    assert gain == pytest.approx(2 * math.sqrt(squares[0].mean() / squares[1].mean()))
    # The delta method: √(Var(a)/mean² + Var(b)/mean²)/2 of the gain is its standard error, 1.96 of
    # it each way.
    error = gain / 2 * math.sqrt(sum(s.var() / s.mean() ** 2 for s in squares) / 400)
    assert (high - low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.1)
    assert low < gain < high


def test_full_rank_has_no_distance() -> None:
    (row,) = sweep([1.0], size=8, steps=4, n=16)
    assert math.isnan(row.eta_at(METRICS[0], 1.0))
    assert row.bounds == {}
    with pytest.raises(dd.UserError, match="d/n"):
        sweep([0.0])


class Killed(BaseException):
    """What ends a run in its middle."""


def killed_after(batches: int) -> Callable[[Progress], None]:
    def stop(at: Progress) -> None:
        if at.batch == batches and at.index == 2:
            raise Killed

    return stop


def runs(k: Points) -> dict[str, Callable[..., Errors]]:
    """The measurements that are kept, of 10 trajectories, 3 at a time."""
    common: dict[str, Any] = {"steps": 4, "n": 10, "batch_size": 3, "seed": 5}
    return {
        "ideal": lambda **more: measure_ideal(DATA, "ddpm", **common, **more),
        "measure": lambda **more: measure(DATA, k, "ddpm", **common, **more),
    }


@pytest.mark.parametrize("name", ["ideal", "measure"])
def test_a_killed_measurement_goes_on_and_gives_the_same_numbers(name: str, tmp_path: Path) -> None:
    run = runs(Points(DATA))[name]
    whole = run()
    with pytest.raises(Killed):
        run(cache=tmp_path, callback=killed_after(2))
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == 2  # of 4 batches
    kept[0].write_bytes(kept[0].read_bytes()[:-50])  # and one of them was damaged
    seen: list[int] = []
    again = run(cache=tmp_path, callback=lambda at: seen.append(at.batch))
    assert len(set(seen)) == 3  # the whole one is not computed again
    assert again.samples == whole.samples == tuple(range(10))
    assert again.points == whole.points
    for quantity, values in whole.values.items():
        np.testing.assert_array_equal(again.values[quantity], values, err_msg=quantity)
    run(cache=tmp_path, callback=killed_after(0))  # all is there: nothing runs


def test_other_settings_are_other_pieces(tmp_path: Path) -> None:
    """Whatever changes a number changes the names of its files; more trajectories go on where fewer
    ended."""
    base: dict[str, Any] = {"steps": 3, "n": 2, "batch_size": 2, "cache": tmp_path}
    other = Dataset(IMAGES[:40], dd.VP.named())
    measure(DATA, Points(DATA), "ge", **base)
    measure(DATA, Points(DATA), "ge", **{**base, "seed": 1})
    measure(DATA, Points(DATA), "ddim", **{**base, "grid": "karras"})
    measure(DATA, Points(other), "ge", **base)
    measure(other, Points(DATA), "ge", **base)
    measure(DATA, Sphere(torch.zeros(1, 4, 4), 2.0), "ge", **base)
    measure(DATA, Sphere(torch.zeros(1, 4, 4), 3.0), "ge", **base)
    assert len(list(tmp_path.iterdir())) == 7
    more = measure(DATA, Points(DATA), "ge", **{**base, "n": 4})
    assert len(list(tmp_path.iterdir())) == 8
    np.testing.assert_array_equal(
        more.values["eta"], measure(DATA, Points(DATA), "ge", steps=3, n=4).values["eta"]
    )
    with pytest.raises(dd.UserError, match="not start"):
        measure(DATA, Points(DATA), "ge", start=torch.zeros(1, 1, 4, 4), **base)
    with pytest.raises(dd.UserError, match="at least 1"):
        measure(DATA, Points(DATA), "ge", **{**base, "n": 0})


def test_sets_are_told_apart() -> None:
    far = Subspace(torch.full((1, 4, 4), 50.0))
    sets = [
        Points(DATA), Points(Dataset(IMAGES[1:], dd.VE())), far, Subspace(torch.zeros(1, 4, 4)),
        Subspace(torch.zeros(1, 4, 4), torch.eye(16)[:2]), Sphere(torch.zeros(1, 4, 4), 1.0),
        Union([Points(DATA), far]), Union([Points(DATA), Subspace(torch.full((1, 4, 4), 60.0))]),
    ]  # fmt: skip
    assert len({identity(k) for k in sets}) == len(sets)
    assert identity(Points(IMAGES)) == identity(Points(DATA))


def test_a_killed_sweep_goes_on_and_gives_the_same_rows(tmp_path: Path) -> None:
    fractions, options = (
        (0.02, 0.05, 1.0),
        {"size": 8, "steps": 3, "n": 6},
    )  # the first two are both of rank 1
    whole = sweep(fractions, **options)  # type: ignore[arg-type]

    def stop(done: int) -> None:
        if done == 2:
            raise Killed

    with pytest.raises(Killed):
        sweep(fractions, cache=tmp_path, progress=stop, **options)  # type: ignore[arg-type]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(before) == 2
    again = sweep(fractions, cache=tmp_path, **options)  # type: ignore[arg-type]
    assert [row.record() for row in again[:2]] == [row.record() for row in whole[:2]]
    assert again[2].gain == whole[2].gain
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())


def test_low_noise_errors_are_told_against_sigma_root_d() -> None:
    found = measure_ideal(DATA, steps=5, n=3, intrinsic=4.0)
    expected = found.values["eta"] * found.values["dist"] / (found.ratios[:, None] * 2)
    np.testing.assert_allclose(found.near_error, expected)  # type: ignore[arg-type]
    assert found.summary()[0]["error_over_sigma_root_d"][1] == pytest.approx(
        float(np.median(expected[0]))
    )
    assert "error_over_sigma_root_d" not in measure_ideal(DATA, steps=2, n=1).summary()[0]
    for wrong in (0.0, 17.0):
        with pytest.raises(dd.UserError, match="dimension"):
            measure_ideal(DATA, steps=2, n=1, intrinsic=wrong)
