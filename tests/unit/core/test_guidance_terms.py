"""What guidance leaves with an evaluation, taken through batches and added up."""

from __future__ import annotations

import torch

from diffdescent.core.guidance_terms import UNGUIDED, GuidanceTerms
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.process import Point

ONE, TWO = torch.full((2, 3), 1.0), torch.full((2, 3), 2.0)


def test_terms_are_true_where_there_is_one() -> None:
    assert not UNGUIDED
    assert not GuidanceTerms()
    for name in ("mean", "score", "direction", "x0"):
        assert GuidanceTerms(**{name: torch.zeros(2)})  # a zero is guidance too


def test_a_gradient_goes_where_it_acts() -> None:
    assert GuidanceTerms.gradient("mean", ONE).mean is ONE
    assert GuidanceTerms.gradient("score", ONE).score is ONE


def test_two_guidances_add_up() -> None:
    both = GuidanceTerms(score=ONE, x0=ONE) + GuidanceTerms(score=TWO, direction=TWO)
    assert both.mean is None
    assert both.score is not None
    assert torch.equal(both.score, ONE + TWO)
    assert (both.direction is TWO, both.x0 is ONE) == (True, True)


def test_terms_that_are_missing_are_filled() -> None:
    both = GuidanceTerms(score=ONE).over(GuidanceTerms(score=TWO, mean=TWO))
    assert (both.score is ONE, both.mean is TWO, both.x0 is None) == (True, True, True)


def test_micro_batches_are_joined_and_cut() -> None:
    joined = GuidanceTerms.cat([GuidanceTerms(x0=ONE), GuidanceTerms(x0=TWO)]).first(3)
    assert joined.x0 is not None
    assert torch.equal(joined.x0, torch.cat([ONE, TWO])[:3])
    assert joined.score is None


def test_evaluations_of_micro_batches_are_joined() -> None:
    how = conversion("eps", Point(1.0, 0.6, 0.8))
    first = Prediction(ONE, how, TWO, GuidanceTerms(score=ONE))
    second = Prediction(TWO, how, ONE, GuidanceTerms(score=TWO))
    both = Prediction.cat([first, second], 3)
    assert torch.equal(both.raw, torch.cat([ONE, TWO])[:3])
    assert both.variance is not None
    assert torch.equal(both.variance, torch.cat([TWO, ONE])[:3])
    assert both.guidance.score is not None
    assert torch.equal(both.guidance.score, torch.cat([ONE, TWO])[:3])
    plain = Prediction.cat([Prediction(ONE, how), Prediction(TWO, how)], 4)
    assert (plain.variance, plain.guidance) == (None, UNGUIDED)
