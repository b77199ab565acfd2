"""What explain says of a sampler: textbook weights, constants and stability, for chains whose
theory is known."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import diffdescent as dd
from diffdescent.core.solvers import SOLVERS
from diffdescent.lab.explain import explain, growth

PROCESS = dd.VP.named()
GRID = dd.grid("loglinear", PROCESS, 8)
TINY = dd.grid("explicit(ratio=[8, 7, 6, 5, 4, 3, 2, 1])", dd.VE(), 7)


@pytest.mark.parametrize(
    ("recipe", "order", "constant"),
    [
        ("ddim", 1, 1 / 2),
        ("ddim | momentum(-0.3)", 1, 0.5 * 0.7 / 1.3),
        ("ddim | momentum(0.2)", 1, 0.5 * 1.2 / 0.8),
        ("ddim | momentum(-0.8)", 1, 0.5 * 0.2 / 1.8),
        ("ge(gamma=2)", 1, -1 / 2),
        ("ge(gamma=1.2)", 1, 0.5 * (3 - 2.4)),
        ("ge(gamma=1.5)", 2, 5 / 12),
        ("ab(order=2)", 2, 5 / 12),
        ("ab(order=3)", 3, 3 / 8),
        ("plms", 4, 251 / 720),
        ("dpmpp(order=2)", 2, 5 / 12),
        ("dpmpp(order=3)", 3, 3 / 8),
    ],
)
def test_order_and_error_constant(recipe: str, order: int, constant: float) -> None:
    """Adams–Bashforth's (Hairer, Nørsett and Wanner, III.1); momentum's (1+β)/(1−β) and GE's 3 − 2γ
    of Euler's."""
    found = explain(dd.sampler(recipe), GRID).linear
    assert found is not None
    assert found.order == order
    assert found.constant == pytest.approx(constant, abs=2e-4)
    assert found.impulse.sum() == pytest.approx(1, abs=1e-4)
    if order == 1:
        assert found.over_euler == pytest.approx(2 * constant, abs=4e-4)


def test_estimates_are_the_methods_weights() -> None:
    assert explain(dd.sampler("ge(gamma=2)"), GRID).steps[3].weights == pytest.approx((2, -1))
    assert explain(dd.sampler("ge(gamma=2)"), GRID).steps[0].estimate == "ε"
    assert explain(dd.sampler("ge(gamma=2)"), GRID).steps[3].estimate == "2·ε − ε[−1]"
    assert explain(dd.sampler("plms"), TINY).steps[-1].weights == pytest.approx(
        (55 / 24, -59 / 24, 37 / 24, -9 / 24)
    )
    heun = explain(dd.sampler("heun"), TINY).steps
    assert [s.inner for s in heun[:2]] == [True, False]
    assert heun[1].weights == pytest.approx((0.5, 0.5))


def test_step_sizes_and_noise() -> None:
    steps = explain(dd.sampler("ddpm"), GRID).steps
    for s, (src, dst) in zip(steps, zip(GRID.points, GRID.points[1:], strict=False), strict=True):
        assert s.size == pytest.approx(1 - dst.ratio / src.ratio)
        # In σ̃ the fresh noise of ancestral sampling has variance σ_s²(1 − σ_s²/σ_t²).
        assert s.noise == pytest.approx(math.sqrt(1 - (dst.ratio / src.ratio) ** 2))
    assert not any(s.noise for s in explain(dd.sampler("ddim"), GRID).steps)


def test_the_table_names_estimate_update_and_noise() -> None:
    row = explain(dd.sampler("ge | momentum(-0.3)"), GRID).summary
    assert row["estimate"] == "2·ε − ε[−1]"
    assert "m ← −0.3·m + 1.3·r" in row["update"]
    assert row["noise"] == "0"
    assert "odd and even" in explain(dd.sampler("ddim | pnm(-0.3)"), GRID).summary["update"]
    assert "2 evaluations" in explain(dd.sampler("heun"), TINY).summary["estimate"]
    assert "fresh noise" in explain(dd.sampler("ddpm"), GRID).summary["noise"]


def test_stability_of_known_methods() -> None:
    z = np.array([-1.0, -0.5, -1.9, -2.1, -0.3 + 0.4j, 0.2 + 0j])
    np.testing.assert_allclose(growth(dd.sampler("ddim"), z), np.abs(1 + z), atol=1e-6)
    np.testing.assert_allclose(growth(dd.sampler("heun"), z), np.abs(1 + z + z**2 / 2), rtol=1e-5)

    def roots(*coefficients: complex) -> float:
        return float(np.abs(np.roots(coefficients)).max())

    for value in (-0.5, -1.5, 0.2):
        # ζ² = ζ + z(2ζ − 1), and heavy ball: (ζ − 1)(ζ − β) = z(1 − β)ζ.
        pair = np.array([value], dtype=complex)
        assert growth(dd.sampler("ge"), pair, 200)[0] == pytest.approx(
            roots(1, -1 - 2 * value, value), rel=0.02
        )
        ball = roots(1, -1.2 - 0.8 * value, 0.2)
        assert growth(dd.sampler("ddim | momentum(0.2)"), pair, 200)[0] == pytest.approx(
            ball, rel=0.05
        )


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_every_solver_can_be_explained(name: str) -> None:
    """Estimates sum to 1 wherever the step uses an evaluation, and the record is JSON without
    NaN."""
    found = explain(dd.sampler(name), GRID)
    for step in found.steps:
        assert sum(step.weights) == pytest.approx(1, abs=1e-9), step
    json.dumps(found.record(), allow_nan=False)
    assert (found.linear is None) == (found.why_not_linear is not None)


def test_chains_that_are_not_linear_are_refused_with_the_reason() -> None:
    for recipe, name in (
        ("ddim | threshold()", "threshold"),
        ("ge | dynamic_threshold()", "dynamic_threshold"),
    ):
        with pytest.raises(dd.UserError, match=f"'{name}' is not linear"):
            explain(dd.sampler(recipe), GRID)
    from diffdescent.core.transforms.pxp import PxP

    with pytest.raises(dd.UserError, match="not linear"):
        explain(dd.sampler("ddpm") | PxP(), GRID)
