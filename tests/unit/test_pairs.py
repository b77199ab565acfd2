"""The intervals of two timings taken in turn."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.pairs import HEAD, compared


def test_pairs_are_drawn_together() -> None:
    """Where ours is always a third of theirs, the ratio is known, however the machine varies."""
    theirs = np.random.default_rng(0).uniform(1e-6, 9e-6, 15)
    found = compared(list(theirs / 3), list(theirs))
    assert tuple(found) == HEAD
    assert [found[k] for k in ("value", "low", "high")] == pytest.approx([1 / 3] * 3, rel=1e-9)
    assert found["theirs"] == pytest.approx(np.median(theirs) * 1e6)
    assert found["ours_low"] < found["ours"] < found["ours_high"] < found["theirs_high"]
    assert found["n"] == 15
