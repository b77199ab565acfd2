"""The inner products that hold after a projection, scopes, gates, and vectors of norm zero."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.core.transforms import StepParts
from diffdescent.guidance import Conflicts, Delta

EXACT = 1e-13


def parts(n: int = 400, seed: int = 0) -> StepParts:
    """Random triples (den, div, cls) in few dimensions, (n, 1, 1, 3), so that every gate and its
    opposite occur."""
    generator = torch.Generator().manual_seed(seed)
    return StepParts(*torch.randn(3, n, 1, 1, 3, generator=generator, dtype=torch.float64))


def kept(given: StepParts, conflicts: Conflicts, delta: Delta = Delta()) -> StepParts:  # noqa: B008
    return conflicts.kept(given, delta)


def dot(a: Tensor | None, b: Tensor | None) -> Tensor:
    assert a is not None
    assert b is not None
    return (a * b).flatten(1).sum(1)


def test_guidance_against_denoising_alone() -> None:
    """⟨ĝ_cls, g_den⟩ = ⟨ĝ_den, g_cls⟩ = 0 and ⟨ĝ_cls, ĝ_den⟩ = −⟨g_cls, g_den⟩ sin²φ, where they
    conflict."""
    given = parts()
    result = kept(given, Conflicts(("cls-den",)))
    raw = dot(given.guidance, given.denoise)
    clash = raw < 0
    assert 0.4 < clash.double().mean() < 0.6
    assert dot(result.guidance, given.denoise)[clash].abs().max() < EXACT
    assert dot(result.denoise, given.guidance)[clash].abs().max() < EXACT
    sine2 = 1 - raw**2 / (dot(given.guidance, given.guidance) * dot(given.denoise, given.denoise))
    assert torch.allclose(
        dot(result.guidance, result.denoise)[clash], (-raw * sine2)[clash], atol=EXACT, rtol=0
    )
    for ours, theirs in zip(result, given, strict=True):
        assert torch.equal(ours[~clash], theirs[~clash])


def test_both_pairs() -> None:
    """⟨ĝ_cls, g_div⟩ = ⟨ĝ_div, g_cls⟩ = 0 where guidance and noise conflict; the first pair may
    turn negative again."""
    given = parts()
    result = kept(given, Conflicts())
    clash = dot(given.guidance, given.diversity) < 0
    assert dot(result.guidance, given.diversity)[clash].abs().max() < EXACT
    assert dot(result.diversity, given.guidance)[clash].abs().max() < EXACT
    again = dot(result.guidance, given.denoise) < -EXACT
    assert bool(again.any())
    assert not bool((again & ~clash).any())


@pytest.mark.parametrize("delta", [Delta(0, 0, 0, 0), Delta(0.5, 0.25, 2, 0.1)])
def test_delta_scales_what_is_taken_away(delta: Delta) -> None:
    given = parts()
    whole, some = Conflicts().removed(given, Delta()), Conflicts().removed(given, delta)
    assert torch.allclose(some.denoise, whole.denoise * delta.den, atol=EXACT, rtol=0)
    assert some.diversity is not None
    assert whole.diversity is not None
    assert torch.allclose(some.diversity, whole.diversity * delta.div, atol=EXACT, rtol=0)
    if not any(delta):
        assert not any(bool(part.any()) for part in some)


def test_the_gates_differ_on_some_triples() -> None:
    """9% of random triples in three dimensions, fewer in many."""
    given = parts(20000)
    a, b = kept(given, Conflicts()), kept(given, Conflicts(gate="pair"))
    share = ((a.guidance - b.guidance).abs() > EXACT).flatten(1).any(1).double().mean()
    assert 0.08 < share < 0.10


def test_noise_against_denoising() -> None:
    """The ablation: last, each loses its projection on the other's raw vector."""
    given = parts()
    result = kept(given, Conflicts(("den-div",)))
    clash = dot(given.denoise, given.diversity) < 0
    assert dot(result.denoise, given.diversity)[clash].abs().max() < EXACT
    assert dot(result.diversity, given.denoise)[clash].abs().max() < EXACT
    assert torch.equal(result.guidance, given.guidance)


def test_scopes() -> None:
    """A batch is one long vector, and a channel is a sample of its own."""
    generator = torch.Generator().manual_seed(1)
    given = StepParts(*torch.randn(3, 6, 4, 5, 2, generator=generator, dtype=torch.float64))
    long = StepParts(*(p.reshape(1, 1, 1, -1) for p in given if p is not None))
    channels = StepParts(*(p.reshape(24, 1, 5, 2) for p in given if p is not None))
    for scope, other in (("batch", long), ("channel", channels)):
        ours, theirs = kept(given, Conflicts(scope=scope)), kept(other, Conflicts())  # type: ignore[arg-type]
        for a, b in zip(ours, theirs, strict=True):
            assert a is not None
            assert b is not None
            assert torch.allclose(a, b.reshape(a.shape), atol=EXACT, rtol=0)


def test_a_zero_vector_disables_only_its_own_sample() -> None:
    given = parts()
    given.guidance[3] = 0
    given.denoise[4] = 0
    result = kept(given, Conflicts())
    assert all(part is not None and part.isfinite().all() for part in result)
    for ours, theirs in zip(result, given, strict=True):
        assert torch.equal(ours[3], theirs[3])
    others = [i for i in range(400) if i not in (3, 4)]
    alone = kept(StepParts(*(p[others] for p in given if p is not None)), Conflicts())
    for ours, theirs in zip(result, alone, strict=True):
        assert torch.equal(ours[others], theirs)
    released = kept(given, Conflicts(("cls-den",), gate="pair", zero="batch"))
    assert torch.equal(released.guidance, given.guidance)
    assert torch.equal(released.denoise, given.denoise)


def test_a_vector_too_small_to_be_squared_is_zero() -> None:
    """In float32 the squares of 1e-22 have no digits left; the released rule would project on it
    all the same."""
    single = StepParts(*(p.float() for p in parts() if p is not None))
    given = single._replace(guidance=single.guidance * 1e-22)
    assert not bool(Conflicts().removed(given, Delta()).denoise.any())
    fine = single._replace(guidance=single.guidance * 1e-15)
    whole = Conflicts(("cls-den",)).removed(single, Delta()).denoise
    assert torch.allclose(
        Conflicts(("cls-den",)).removed(fine, Delta()).denoise, whole, rtol=1e-4, atol=1e-5
    )


def test_no_noise_no_diversity() -> None:
    given = parts()
    quiet = StepParts(given.denoise, None, given.guidance)
    result = Conflicts().removed(quiet, Delta())
    assert result.diversity is None
    assert torch.equal(result.guidance, Conflicts(("cls-den",)).removed(given, Delta()).guidance)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": ("cls-dev",)}, "cls-den"),
        ({"pairs": ()}, "at least one"),
        ({"scope": "image"}, "sample"),
        ({"gate": "paired"}, "pair"),
        ({"partner": "row"}, "raw"),
        ({"zero": "all"}, "own"),
    ],
)
def test_mistakes(options: dict[str, object], message: str) -> None:
    with pytest.raises(dd.UserError, match=message):
        Conflicts(**options)  # type: ignore[arg-type]
