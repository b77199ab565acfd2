"""Cells that start from the same noise are told apart by paired differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from diffdescent.evaluate import Features, Score, make_reference, rmse_score, score
from diffdescent.lab.study.paired import PairedEstimate

N, SETS = 100, 100
REFERENCE = make_reference(
    Features(torch.randn(400, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
)


def estimate(found: Score) -> PairedEstimate:
    assert found.known
    return PairedEstimate(
        found.value, found.low, found.high, {0: torch.tensor(found.draws, dtype=torch.float64)}
    )


def features(seed: int, apart: float = 0.05) -> tuple[torch.Tensor, torch.Tensor]:
    """What two samplers make of the same noise: images that differ by a shift and a little of their
    own."""
    generator = torch.Generator().manual_seed(1000 + seed)
    noise, own = torch.randn(2, N, 4, generator=generator, dtype=torch.float64)
    return 1.1 * noise + 0.5, 1.1 * noise + 0.55 + apart * own


def frechet(seed: int) -> tuple[Score, Score]:
    one, two = (score(Features(x), REFERENCE, ["fd"], resamples=50)[0] for x in features(seed))
    return one, two


def agreement(seed: int) -> tuple[Score, Score]:
    labels = torch.arange(N) % 4
    found = [
        score(
            Features(x, probs=(x + 2 * torch.eye(4)[labels]).softmax(1), labels=labels),
            None,
            ["agreement"],
        )[0]
        for x in features(seed, 0.4)  # so that some samples change their class
    ]
    return found[0], found[1]


def rmse(seed: int) -> tuple[Score, Score]:
    one, two = (rmse_score(x.square().mean(1), resamples=50) for x in features(seed))
    return one, two


@pytest.mark.parametrize(("scores", "narrower"), [(frechet, 4), (agreement, 1.5), (rmse, 4)])
def test_the_paired_interval_is_narrow_and_covers_the_truth(
    scores: Callable[[int], tuple[Score, Score]], narrower: float
) -> None:
    pairs = [tuple(map(estimate, scores(seed))) for seed in range(SETS)]
    gaps = [two.minus(one) for one, two in pairs]
    truth = sum(gap.value for gap in gaps) / SETS
    covered = sum(gap.low <= truth <= gap.high for gap in gaps) / SETS
    assert 0.88 <= covered <= 0.99  # 95 %, known to ±0.04 by so many sets
    paired = sum(gap.high - gap.low for gap in gaps) / SETS
    unpaired = sum(torch.tensor([e.high - e.low for e in pair]).norm() for pair in pairs) / SETS
    assert unpaired > narrower * paired
    # The intervals of the values themselves meet in nearly all sets; paired, they tell which
    # sampler is which.
    meet = sum(one.high > two.low for one, two in pairs) / SETS
    apart = sum(gap.low > 0 for gap in gaps) / SETS
    assert meet > 0.95
    if scores is not agreement:
        assert apart > 0.9


def test_independent_seeds_add_their_variances() -> None:
    found = [frechet(seed)[0] for seed in range(2)]
    one, two = (
        PairedEstimate(f.value, f.low, f.high, {seed: torch.tensor(f.draws)})
        for seed, f in enumerate(found)
    )
    gap = two.minus(one)
    halves = [estimate(f).high - f.value for f in found]
    assert gap.high - gap.value == pytest.approx((halves[0] ** 2 + halves[1] ** 2) ** 0.5, rel=1e-5)
    assert one.minus(one).high == 0
