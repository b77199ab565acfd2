"""Figures are what they say, and the counter reads it back."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch

from diffdescent.base.errors import UserError
from diffdescent.base.image_sets import read_images
from diffdescent.lab.peculiarity.counter import count_limbs, wrong
from diffdescent.lab.peculiarity.figures import draw, make_figures, render, write_figures
from diffdescent.lab.peculiarity.species import SPECIES, Species, with_counts

pytest.importorskip("scipy", reason="counting limbs needs scipy")


def test_a_figure_depends_on_seed_and_index_alone() -> None:
    all_at_once, _ = make_figures(12, seed=3)
    later, _ = make_figures(4, seed=3, start=8)
    other, _ = make_figures(4, seed=4, start=8)
    assert np.array_equal(all_at_once[8:], later)
    assert not np.array_equal(other, later)


def test_rendering_is_the_coverage_of_the_capsules() -> None:
    """A far finer grid of point-in-capsule tests gives the same mean brightness, but for rounding
    at the edges."""
    figures = [draw(0, i) for i in range(6)]
    fine = (np.arange(32 * 8) + 0.5) / 8
    x, y = np.meshgrid(fine, fine, indexing="xy")
    for page, figure in zip(render(figures), figures, strict=True):
        inside = np.zeros(x.shape, bool)
        for x0, y0, x1, y1, r in figure.parts:
            length = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-12)
            t = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length, 0, 1)
            inside |= np.hypot(x - x0 - t * (x1 - x0), y - y0 - t * (y1 - y0)) <= r
        assert page.mean() / 255 == pytest.approx(inside.mean(), rel=0.03)


def test_species_are_drawn_equally_often_and_inside_the_image() -> None:
    pages, figures = make_figures(300, seed=1)
    names = [f.species.kind for f in figures]
    assert all(75 < names.count(name) < 125 for name in SPECIES)
    border = np.concatenate([pages[:, 0], pages[:, -1], pages[:, :, 0], pages[:, :, -1]], axis=1)
    assert border.max() <= 128


def test_the_counter_reads_held_out_figures() -> None:
    pages, figures = make_figures(400, seed=11)
    readings = count_limbs(pages)
    assert wrong(readings, [f.species.counts for f in figures]).mean() <= 0.01
    assert [a == b.species.kind for a, b in zip(readings.species, figures, strict=True)].count(
        False
    ) <= 4


@pytest.mark.parametrize(
    "species",
    [
        with_counts("person", legs=3),
        with_counts("person", legs=1),
        with_counts("person", arms=1),
        with_counts("person", heads=2),
        with_counts("person", heads=0),
        with_counts("horse", legs=3),
        with_counts("horse", legs=5),
        with_counts("hand", fingers=4),
        with_counts("hand", fingers=6),
    ],
    ids=lambda s: f"{s.kind}-{s.counts}",
)
def test_the_counter_reads_counts_that_no_species_has(species: Species) -> None:
    figures = []
    for index in range(40):
        with contextlib.suppress(UserError):  # some poses leave no room for one limb more
            figures.append(draw(5, index, [species]))
    assert len(figures) >= 20
    readings = count_limbs(render(figures))
    assert readings.peculiar.all()
    assert wrong(readings, [f.species.counts for f in figures]).mean() <= 0.05


def test_what_cannot_be_read_says_why() -> None:
    page, _ = make_figures(1, seed=0)
    empty = np.zeros_like(page)
    noise = np.random.default_rng(0).integers(0, 256, page.shape).astype(np.uint8)
    torn = page.copy()
    torn[0, :, 14:17] = 0
    thin = np.zeros_like(page)
    thin[0, 16, 4:28] = 255
    blurred = (page * 0.55).astype(np.uint8)
    reasons = count_limbs(np.concatenate([empty, noise, torn, thin, blurred])).unreadable
    assert reasons[0] == "empty"
    assert reasons[1] in ("blurred", "in pieces")
    assert reasons[2] == "in pieces"
    assert reasons[3] == "no body"
    assert reasons[4] == "blurred"


def test_bytes_and_floats_are_read_alike() -> None:
    pages, _ = make_figures(20, seed=2)
    floats = torch.from_numpy(pages)[:, None].float().div(127.5).sub(1)
    assert np.array_equal(count_limbs(pages).counts, count_limbs(floats).counts)
    assert np.array_equal(count_limbs(pages, batch=3).counts, count_limbs(pages).counts)


def test_colour_images_are_refused() -> None:
    with pytest.raises(UserError, match="grey images"):
        count_limbs(torch.zeros(2, 3, 32, 32))


def test_the_file_is_what_training_reads(tmp_path: Path) -> None:
    write_figures(tmp_path / "figures.npz", 30, seed=9)
    found = read_images(tmp_path / "figures.npz")
    pages, figures = make_figures(30, seed=9)
    assert found.shape == (1, 32, 32)
    assert np.array_equal(found.images[:, 0].numpy(), pages)
    assert found.labels is not None
    assert [list(SPECIES)[k] for k in found.labels] == [f.species.kind for f in figures]


def test_no_figures_and_too_many_limbs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least 1"):
        write_figures(tmp_path / "none.npz", 0)
    with pytest.raises(UserError, match="without touching"):
        draw(0, 0, [with_counts("hand", fingers=12)])
    with pytest.raises(UserError, match="species"):
        with_counts("horze", legs=3)
