"""Checks of the counter and of memorising, on models whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diffdescent.base.errors import UserError
from diffdescent.core.process import VP
from diffdescent.lab.peculiarity.check import (
    HELD_OUT,
    OTHER_COUNTS,
    check_counter,
    check_memory,
    check_others,
    count_pieces,
)
from diffdescent.lab.peculiarity.figures import make_figures
from diffdescent.lab.peculiarity.species import SPECIES
from diffdescent.models.dataset import Dataset
from diffdescent.run.pieces import Pieces

pytest.importorskip("scipy", reason="counting limbs needs scipy")


def remembering(seed: int, n: int = 8) -> Dataset:
    pages, _ = make_figures(n, seed)
    return Dataset(torch.from_numpy(pages).float().div(127.5).sub(1)[:, None], VP.named())


def test_a_model_that_knows_the_figures_gives_them_back_and_another_does_not() -> None:
    """Denoised by the exact denoiser of the same eight figures nothing changes; by that of eight
    others, counts do."""
    assert (
        check_counter(remembering(HELD_OUT), 0.3, 8).wrong.count
        <= check_counter(None, 0.0, 8).wrong.count
    )
    assert check_counter(remembering(seed=4), 0.9, 8).wrong.count >= 3


def test_pieces_are_made_once_and_a_larger_check_takes_them_over(tmp_path: Path) -> None:
    small = check_counter(None, 0.0, 50, pieces=Pieces(tmp_path))
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    seen: list[int] = []
    large = check_counter(None, 0.0, 60, pieces=Pieces(tmp_path, progress=seen.append))
    assert len(before) == 1
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}.items() >= before.items()
    assert len(list(tmp_path.iterdir())) == count_pieces(60) == len(seen) == 2
    assert (small.wrong.total, large.wrong.total) == (50, 60)
    assert large.wrong.count >= small.wrong.count
    assert check_counter(None, 0.0, 60) == large  # as without pieces


def test_every_other_kind_is_of_no_species_and_found_peculiar() -> None:
    assert not {s.counts for s in OTHER_COUNTS.values()} & {s.counts for s in SPECIES.values()}
    assert len({s.counts for s in OTHER_COUNTS.values()}) == 10
    for kind in ("horse, 3 legs", "hand, 4 fingers", "person, 2 heads"):
        found = check_others(kind, 10)
        assert found.peculiar.count == 10
        assert found.wrong.count <= 1


def test_copies_are_noticed() -> None:
    model = remembering(seed=0, n=24)
    pages, _ = make_figures(24, seed=0)
    copied = check_memory(model, pages, 12, steps=8)
    assert max(copied.samples) < 0.1 * min(copied.held_out)
    assert copied.near.count == 12
    others, _ = make_figures(24, seed=9)
    fresh = check_memory(model, others, 12, steps=8)
    assert fresh.near.count <= 3
    assert np.quantile(np.array(fresh.samples), 0.5) > 0.1


def test_what_cannot_be_checked_is_said() -> None:
    with pytest.raises(UserError, match="at least 1"):
        check_counter(None, 0.0, 0)
    with pytest.raises(UserError, match="outside"):
        check_counter(None, -0.1, 5)
    with pytest.raises(UserError, match="need a model"):
        check_counter(None, 0.1, 5)
    with pytest.raises(UserError, match="shape"):
        check_memory(remembering(0), np.zeros((3, 28, 28), np.uint8), 5)
