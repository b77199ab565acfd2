"""Pictures of the laboratory that a reader can use: nothing saturates, no legend covers a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

import diffdescent as dd
from diffdescent.lab.explain import draw_stability, explain, growth
from diffdescent.lab.theory.lowrank import sweep
from diffdescent.lab.theory.pictures import draw_low_rank

VP = dd.VP.named("linear")


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are written while a test runs."""
    matplotlib.use("Agg")
    kept: list[Figure] = []
    monkeypatch.setattr(plt, "close", lambda figure: kept.append(figure))
    return kept


@pytest.mark.parametrize("text", ["ddim", "ge | momentum(-0.3)", "plms"])
def test_growth_is_told_apart_everywhere(text: str, tmp_path: Path, figures: list[Figure]) -> None:
    recipe = dd.sampler(text)
    found = explain(recipe, dd.grid("loglinear", VP, 8))
    draw_stability(found, recipe, tmp_path / "a.png")
    (mesh,) = (c for c in figures[0].axes[0].collections if isinstance(c, QuadMesh))
    corners = np.array([-4 - 3j, -4 + 3j, -4.0, 1.5 + 3j])
    assert mesh.norm.vmax == pytest.approx(min(100, growth(recipe, corners).max()), rel=0.05)
    shown = mesh.get_array()
    assert shown is not None
    saturated = np.mean(np.asarray(shown) >= 0.999 * float(mesh.norm.vmax or 0))
    assert saturated < 0.05


def test_legends_stand_beside_the_lines(tmp_path: Path, figures: list[Figure]) -> None:
    rows = sweep([0.1, 0.5], size=16, steps=4, n=8)
    draw_low_rank(rows, tmp_path / "a.png", "A title")
    figure = figures[0]
    figure.canvas.draw()
    for axes in figure.axes:
        legend: Any = axes.get_legend()
        assert legend.get_window_extent().y1 <= axes.get_window_extent().y0
        assert legend.get_window_extent().y0 >= 0
