"""Sample numbers as text: ``"0-3,8"`` for 0, 1, 2, 3 and 8."""

from __future__ import annotations

from diffdescent.base.errors import UserError

MOST_SAMPLES = 10_000_000
"""A run has at most this many samples."""


def ranges(samples: tuple[int, ...]) -> str:
    """Sample numbers as a text, in their order: (0, 1, 2, 7) → ``"0-2,7"``."""
    runs: list[list[int]] = []
    for i in samples:
        if runs and i == runs[-1][1] + 1:
            runs[-1][1] = i
        else:
            runs.append([i, i])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


def sample_range(part: str, first: str, last: str) -> range:
    """The sample numbers from ``first`` to ``last``, texts of digits.

    Raises :class:`UserError` for more than a run can have, and for numbers beyond measure.
    """
    if max(len(first), len(last)) > 100:
        raise UserError(
            f"The sample range {part[:40]!r} goes beyond {2**48 - 1}, the last sample of a seed."
        )
    begin, end = int(first), int(last) + 1
    if end - begin > MOST_SAMPLES:
        raise UserError(
            f"The sample range {part!r} has {end - begin} samples, and a run at most"
            f" {MOST_SAMPLES}; give a shorter one."
        )
    return range(begin, end)


def numbers(text: str) -> tuple[int, ...]:
    """``"0-3,8"`` → (0, 1, 2, 3, 8).

    Raises:
        UserError: anything else.
    """
    chosen: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        digits = first.isdecimal() and (not dash or last.isdecimal())
        found = sample_range(part, first, last if dash else first) if digits else range(0)
        if not found:
            raise UserError(
                f"Cannot read the sample range {part[:40]!r}; write for example 0-63 or"
                " 0-3,8,10-12."
            )
        chosen += found
        if len(chosen) > MOST_SAMPLES:
            raise UserError(f"A run has at most {MOST_SAMPLES} samples; give fewer.")
    return tuple(chosen)
