"""Improved precision and recall against the definition, written out with loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from diffdescent.evaluate import precision_recall
from diffdescent.evaluate.half_sampling import halves

K = 3


def by_hand(points: Tensor, manifold: Tensor) -> float:
    """The part of ``points`` within the K-th neighbour's distance of some point of ``manifold``."""
    reach = []
    for i, centre in enumerate(manifold):
        others = sorted(float((centre - o).norm()) for j, o in enumerate(manifold) if j != i)
        reach.append(others[K - 1])
    hits = [
        any(float((p - c).norm()) <= r for c, r in zip(manifold, reach, strict=True))
        for p in points
    ]
    return sum(hits) / len(hits)


def sets(n: int = 45, m: int = 52, d: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    # Far from zero, where distances by ‖a‖² + ‖b‖² − 2ab would be noise without centring.
    samples = 0.7 * torch.randn(n, d, generator=generator) + 0.4 + 1000
    return samples, torch.randn(m, d, generator=generator) + 1000


@pytest.fixture(autouse=True, params=[1024, 10])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_recall, "_ROWS", request.param)


def test_precision_and_recall_are_the_definition() -> None:
    samples, reference = sets()
    precision = float(precision_recall.precision(samples, reference).double().mean())
    recall = precision_recall.recall(precision_recall.coverage(samples, reference))
    assert 0 < recall < precision < 1
    assert precision == by_hand(samples, reference)
    assert recall == by_hand(reference, samples)


def test_halves_are_the_definition_on_each_half() -> None:
    samples, reference = sets()
    found = precision_recall.coverage(samples, reference)
    for mask in halves(len(samples), 8, seed=3):
        assert precision_recall.recall(found, mask) == by_hand(reference, samples[mask])


def test_copies_of_one_image_have_balls_of_radius_zero() -> None:
    reference = torch.tensor([[0.0, 0.0]] * 5 + [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0]])
    collapsed = torch.tensor([[0.0, 0.0]] * 6)
    assert precision_recall.precision(collapsed, reference).all()
    # Only the five at the same place are covered, and not their neighbours.
    assert precision_recall.recall(
        precision_recall.coverage(collapsed, reference)
    ) == pytest.approx(5 / 9)


def test_a_set_covers_itself() -> None:
    samples, _ = sets()
    assert precision_recall.precision(samples, samples).all()
    assert precision_recall.recall(precision_recall.coverage(samples, samples)) == 1
