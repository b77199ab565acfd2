"""Scores by name: intervals that hold what they promise, notes, and metrics that cannot be
computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import pytest
import torch

from diffdescent.base.errors import UserError
from diffdescent.evaluate import (
    ALIASES,
    METRICS,
    Features,
    Metric,
    Reference,
    Task,
    Values,
    make_reference,
    metric_name,
    possible,
    register,
    score,
)
from diffdescent.evaluate.half_sampling import halves, interval

NAMES = tuple(METRICS)
"""All metrics that are registered: those of the package, and of modules given by ``pytest -p``."""
OURS = ("fd", "sfd", "is", "agreement", "precision", "recall", "kid")
"""Those that the tests name one by one; a new one joins the others by itself."""


def features(n: int, seed: int, shift: float = 0.0, d: int = 4) -> Features:
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + shift
    return Features(x, x.square(), (2 * x).softmax(1))


def labelled(n: int, seed: int, shift: float = 0.0, d: int = 4) -> Features:
    """The same with classes that were asked for, so that every metric can be computed."""
    return dataclasses.replace(features(n, seed, shift, d), labels=torch.arange(n) % d)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return make_reference(features(150, seed=0))


@pytest.mark.parametrize("name", NAMES)
def test_intervals_cover_the_expectation_at_this_number_of_images(
    name: str, reference: Reference
) -> None:
    """100 sets of images: the 95 % intervals hold the mean score of such sets about as often as
    they say."""
    found = [
        score(labelled(80, 1000 + trial, shift=0.8), reference, [name], seed=trial, resamples=50)[0]
        for trial in range(100)
    ]
    truth = sum(s.value for s in found) / len(found)
    hits = sum(s.known and s.contains(truth) for s in found)
    # 100 trials at 95 % have a standard error of 2.2 %.
    assert hits / len(found) >= 0.88, f"{name} covers {hits / len(found):.3f}"
    width = sum(s.high - s.low for s in found if s.known) / len(found)
    spread = torch.tensor([s.value for s in found]).std()
    assert width < 1.5 * 2 * 1.96 * spread, (
        f"{name} is too wide: {width:.3g} for ±1.96·{spread:.3g}"
    )


def test_the_bias_of_a_distance_is_found(reference: Reference) -> None:
    few = [
        score(features(60, seed=s, shift=0.4), reference, ["fd"], resamples=40)[0]
        for s in range(40)
    ]
    many = score(features(60_000, seed=99, shift=0.4), reference, ["fd"], resamples=0)[0].value
    excess = sum(s.value for s in few) / len(few) - many
    estimate = sum(s.bias for s in few if s.bias is not None) / len(few)
    assert excess > 0.05
    assert estimate == pytest.approx(excess, rel=0.5)


def test_halves_are_keyed_and_halves() -> None:
    a = halves(21, 5, seed=3)
    assert a.shape == (5, 21)
    assert (a.sum(1) == 10).all()
    assert torch.equal(a[:2], halves(21, 2, seed=3))
    assert not torch.equal(a, halves(21, 5, seed=4))
    # Every item is as likely as any other: 1000 draws of a half, each within five standard errors.
    share = halves(30, 1000, seed=0).double().mean(0)
    assert (share - 0.5).abs().max() < 5 * 0.5 / 1000**0.5


def test_an_interval_is_centred_on_the_value() -> None:
    over_halves = torch.tensor([10.0, 12.0]).repeat(500)
    found = interval(2.0, over_halves, 10)
    assert (found.low, found.high, found.bias) == pytest.approx((2 - 1.96, 2 + 1.96, 9.0), abs=2e-3)
    cut = interval(2.0, over_halves, 10, (1.0, 3.0))
    assert (cut.low, cut.high) == (1.0, 3.0)


def test_values_do_not_depend_on_the_seed_and_intervals_do(reference: Reference) -> None:
    x = labelled(50, seed=5)
    a, b, again = (score(x, reference, NAMES, seed=s, resamples=20) for s in (0, 1, 0))
    assert [s.value for s in a] == [s.value for s in b]
    assert [s.low for s in a] != [s.low for s in b]
    assert a == again
    assert [s.value for s in score(x, reference, NAMES, resamples=0)] == pytest.approx(
        [s.value for s in a], rel=1e-12
    )


def test_names_aliases_and_the_nearest_of_a_wrong_one(reference: Reference) -> None:
    assert [metric_name(n) for n in ("FID", "sfid", " is ")] == ["fd", "sfd", "is"]
    found = score(features(20, seed=1), reference, ["fid", "fd", "is"])
    assert [s.metric for s in found] == ["fd", "is"]
    with pytest.raises(UserError, match=r"Unknown metric 'precison'; did you mean 'precision'\?"):
        score(features(20, seed=1), reference, ["precison"])


def test_what_features_and_reference_allow(reference: Reference) -> None:
    full, pool = features(20, seed=1), Features(features(20, seed=1).pool)
    moments = Reference(reference.moments)

    def ours(names: Iterable[str]) -> list[str]:
        return [name for name in names if name in OURS]

    assert possible(labelled(20, seed=1), reference) == list(METRICS)
    assert ours(possible(full, reference)) == [name for name in OURS if name != "agreement"]
    assert ours(possible(pool, reference)) == ["fd", "precision", "recall", "kid"]
    assert ours(possible(full, moments)) == ["fd", "is"]
    assert ours(possible(full, None)) == ["is"]
    assert ours(s.metric for s in score(full, moments)) == ["fd", "is"]
    with pytest.raises(UserError, match="nothing to compare with; give a reference"):
        score(full, None, ["fd"])
    with pytest.raises(
        UserError, match="Inception Score cannot be computed: it looks at class probabilities"
    ):
        score(pool, reference, ["is"])
    with pytest.raises(UserError, match="at least 4 images on each side, not 3"):
        score(features(3, seed=1), reference, ["recall"])


def test_agreement_is_a_share_of_the_images() -> None:
    probs = torch.eye(4).repeat(25, 1)
    labels = torch.arange(100) % 4
    labels[:30] += 1
    found = score(Features(torch.zeros(100, 2), probs=probs, labels=labels), None, ["agreement"])[0]
    assert found.value == pytest.approx(0.7)
    assert found.known
    assert found.high is not None
    half = 1.96 * (0.7 * 0.3 / 100) ** 0.5
    assert (found.low, found.high) == pytest.approx((0.7 - half, 0.7 + half), abs=0.02)


def test_fewer_images_than_features_are_noted(reference: Reference) -> None:
    wide = make_reference(features(150, seed=0, d=40))
    found = score(features(30, seed=1, d=40), wide, ["fd"])[0]
    assert found.bias is None  # the halves' excess is no estimate of it here
    assert str(found.notes[1]).startswith("30 images for 40 features: their covariance is singular")
    assert "too large by an unknown amount" in str(found.notes[1])
    more = score(features(50, seed=1, d=40), wide, ["fd"])[0]
    assert more.high is not None
    assert more.bias is not None
    assert more.bias > more.high - more.value
    assert str(more.notes[1]).startswith(
        "with 50 images the distance is too large by more than its interval reaches, here by"
    )
    far = make_reference(Features(features(150, seed=0).pool + 3))
    assert (
        len(score(features(300, seed=1), far, ["fd"])[0].notes) == 1
    )  # the unknown protocol alone
    few = score(features(50, seed=1, d=40), make_reference(features(30, seed=0, d=40)), ["fd"])[0]
    assert (
        sum("the reference has 30 images for 40 features" in str(note) for note in few.notes) == 1
    )


@pytest.mark.parametrize("resamples", [1, -1])
def test_a_single_half_has_no_spread(reference: Reference, resamples: int) -> None:
    with pytest.raises(UserError, match="at least 2 random halves, or 0"):
        score(features(20, seed=1), reference, ["fd"], resamples=resamples)


def test_a_handful_of_images_has_a_value_and_no_interval(reference: Reference) -> None:
    found = score(labelled(5, seed=1), reference, NAMES)
    assert all(not s.known and s.bias is None for s in found)
    assert all(s.count == 5 for s in found)


def test_the_protocol_is_in_the_result(reference: Reference) -> None:
    x = features(20, seed=1)
    found = score(
        Features(x.pool, protocol={"network": "taps"}), reference, ["kid"], seed=3, resamples=10
    )[0]
    assert found.protocol == {
        "metric": "kid",
        "kernel": "(x·y/d + 1)³",
        "estimator": "unbiased, all pairs",
        "features": {"network": "taps"},
        "reference": {"name": "reference", "count": 150},
        "interval": {"method": "random halves", "resamples": 10, "seed": 3},
    }


def test_progress_is_told(reference: Reference) -> None:
    seen: list[tuple[str, int, int]] = []
    score(
        features(20, seed=1),
        reference,
        ["fd", "is"],
        resamples=5,
        progress=lambda *at: seen.append(at),
    )
    assert ("fd", 3, 5) in seen
    assert seen[-1] == ("is", 1, 1)


def declared(**changed: Any) -> Metric:
    """A metric of one's own: minus the mean length of an image's features."""

    def length(task: Task) -> Values:
        each = -task.images.pool.double().norm(dim=1)
        over = None if task.masks is None else task.masks.double() @ each / task.masks.sum(1)
        return float(each.mean()), over

    plain = Metric("length", "Length", higher=True, needs="pool", against=None, compute=length)
    return dataclasses.replace(plain, **changed)


def test_a_value_beyond_the_bounds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x = features(40, seed=1)
    monkeypatch.setitem(METRICS, "length", declared())
    for resamples in (0, 20):
        with pytest.raises(UserError, match=r"'length' is -\d.* beyond its bounds .* say bounds="):
            score(x, None, ["length"], resamples=resamples)
    monkeypatch.setitem(METRICS, "length", declared(bounds=(-100.0, 0.0)))
    (found,) = score(x, None, ["length"], resamples=20)
    assert found.low < found.value < found.high < 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"needs": "pol"}, "word for needs= of the metric 'length': 'pol'; did you mean 'pool'"),
        ({"against": "images"}, "word for against= of the metric 'length': 'images'"),
        ({"bounds": (1.0, 0.0)}, "lowest and the highest"),
        ({"name": "Length"}, "lower case.* write 'length'"),
        ({"aliases": ("l ",)}, "'l '.* lower case.* write 'l'"),
        ({"aliases": ("fid",)}, "'fid': that is the 'Fréchet distance' of diffdescent"),
    ],
)
def test_a_declaration_is_checked(changed: dict[str, Any], message: str) -> None:
    known, aliases = dict(METRICS), dict(ALIASES)
    with pytest.raises(UserError, match=message):
        register(declared(**changed))
    assert (known, aliases) == (METRICS, ALIASES)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "a number and its values on the halves .* not None"),
        (0.5, "a number and its values on the halves .* not a float"),
        ((torch.tensor([0.5]), None), r".* not a tuple of a tensor of shape \(1,\), None"),
        ((0.5, [0.1, 0.2]), r"a tensor of shape \(20,\) .* not a list"),
        ((0.5, torch.zeros(19)), r"a tensor of shape \(20,\) .* not a tensor of shape \(19,\)"),
    ],
)
def test_what_compute_gives_is_checked(
    given: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METRICS, "length", declared(compute=lambda task: given))
    with pytest.raises(UserError, match=f"The metric 'length' must give {message}"):
        score(features(40, seed=1), None, ["length"], resamples=20)


def test_equal_sets_score_perfectly(reference: Reference) -> None:
    assert reference.features is not None
    found = {s.metric: s.value for s in score(reference.features, reference)}
    assert found["fd"] == pytest.approx(0, abs=1e-6)
    assert found["sfd"] == pytest.approx(0, abs=1e-5)
    assert found["precision"] == found["recall"] == 1
    assert (
        found["kid"] < 0
    )  # unbiased: two samples of one distribution are at 0 on average, a set to itself below
