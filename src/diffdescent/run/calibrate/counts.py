"""How many evaluations, trajectories and levels a calibration takes, and what it refuses."""

from __future__ import annotations

from diffdescent.base.errors import UserError
from diffdescent.core.spectrum import Bands

FEWEST, MOST = 3, 12
FIT_SAMPLES, CHOICE_SAMPLES, HELD_SAMPLES = 1_000_000, 1_500_000, 2_000_000
"""The first sample numbers of the fit, of the choice between two fits, and of the held-out noises:
far from those of ordinary runs."""
CHOICE = 16
"""Noises on which the end-to-end fit must be nearer than the local one to be taken."""
SEARCHED = DIFFERED = 24
"""Trajectories that judge a grid; and those of the derivatives from 7 evaluations on, which are
dear."""
ROUNDS = {3: 5, 4: 4, 5: 2, 6: 2}
"""Rounds end to end, for each number of evaluations; none for more."""


def check_counts(nfe: int, count: int, held_out: int, levels: int) -> None:
    """Refuse numbers that make no fit, before anything is loaded or computed.

    Args:
        nfe: network evaluations of the sampler.
        count: noises that are fitted to.
        held_out: noises that judge.
        levels: evaluations of the teacher.

    Raises:
        UserError: one that is too small or too large, with the least that will do.
    """
    if not FEWEST <= nfe <= MOST:
        raise UserError(
            f"A calibrated sampler has {FEWEST} to {MOST} evaluations, not {nfe}; with more a fixed"
            " sampler is as good, with fewer no sampler is."
        )
    if count < max(8, 2 * nfe) or held_out < 8:
        raise UserError(
            f"{count} trajectories and {held_out} held-out ones are too few for {nfe} evaluations;"
            f" give at least {max(8, 2 * nfe)} and 8."
        )
    if levels < 4 * nfe:
        raise UserError(
            f"A teacher of {levels} levels is too coarse for {nfe} evaluations; give at least"
            f" {4 * nfe}."
        )


def check_knots(bands: Bands, shape: tuple[int, ...]) -> None:
    """Refuse more knots than images of this shape (C, H, W) have frequencies for: raises
    :class:`UserError` with the most that will do."""
    if _all_used(bands, shape):
        return
    size = min(shape[-2:])
    counts = range(bands.count - 1, 0, -1)
    most = next((n for n in counts if _all_used(Bands.for_size(size, n), shape)), 1)
    raise UserError(
        f"Images of {shape[-2]}x{shape[-1]} have no frequency for some of {bands.count} bands; give"
        f" at most {most} (8 are usual)."
    )


def _all_used(bands: Bands, shape: tuple[int, ...]) -> bool:
    """Whether some frequency counts at each knot."""
    return bool((bands.hats(*shape[-2:]).reshape(bands.count, -1).sum(1) > 0).all())
