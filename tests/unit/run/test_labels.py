"""Labels as a text: by name, by number, all of them in turn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import diffdescent as dd
from diffdescent.run.inputs import labels_of_text


def test_cycle_goes_round_over_the_labels_that_there_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "some.npz", images=images, labels=np.array([3, 5, 3, 5]))
    model = dd.load_model(f"images:{tmp_path / 'some.npz'}")
    assert labels_of_text("cycle", model) == [3, 5]
    drawn = dd.sample(model, "ddim", steps=2, n=3, labels="cycle")
    assert drawn.record.labels == (3, 5, 3)
    assert labels_of_text("cycle", dd.load_model("mnist")) == list(range(10))


def test_a_name_comes_before_a_number() -> None:
    model = dd.load_model("cifar10")
    assert labels_of_text("frog, 2,airplane", model) == [6, 2, 0]
    with pytest.raises(dd.UserError, match="out of range"):
        labels_of_text("10", model)
    with pytest.raises(dd.UserError, match="Unknown class"):
        labels_of_text("frog;cat", model)
