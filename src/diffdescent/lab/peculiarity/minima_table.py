"""Peculiar and normal images side by side: every figure of both, and the difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffdescent.base.csv_text import csv_text
from diffdescent.base.files import write_atomically
from diffdescent.base.statistics import (
    Estimate,
    Share,
    mean_difference,
    mean_of,
    percent,
    plus_minus,
    points,
    share_difference,
    wilson,
)

from .minima import Array, Minima


@dataclass(frozen=True)
class Line:
    """One figure at one level: of peculiar images, of normal ones, and their difference, with 95 %
    intervals."""

    figure: str
    at: str
    peculiar: Estimate
    normal: Estimate
    difference: Estimate

    @property
    def texts(self) -> tuple[str, str, str]:
        """Peculiar, normal and difference: shares in per cent and points, means with ±."""
        if isinstance(self.peculiar, Share):
            return percent(self.peculiar), percent(self.normal), points(self.difference)
        return plus_minus(self.peculiar), plus_minus(self.normal), plus_minus(self.difference)


def compare(peculiar: Minima, normal: Minima) -> list[Line]:
    """All figures of both kinds side by side: means with normal intervals, shares with Wilson's."""
    lines = []
    for figure, a, b in (
        ("‖D(x, σ) − x‖/(σ√n)", peculiar.errors, normal.errors),
        ("log p/n, nats", peculiar.density, normal.density),
    ):
        lines += [_means(figure, f"σ = {ratio}", a[ratio], b[ratio]) for ratio in a]
    if len(peculiar.nearest) and len(normal.nearest):
        lines.append(
            _means(
                "RMS distance to the nearest training image", "", peculiar.nearest, normal.nearest
            )
        )
    for strength in peculiar.moved:
        at = f"noised to {strength:.0%}"
        lines.append(
            _means(
                "RMS change when it comes back",
                at,
                peculiar.moved[strength],
                normal.moved[strength],
            )
        )
        for figure, name in (
            ("comes back with the same counts", "same"),
            ("comes back as a species", "normal"),
            ("comes back peculiar", "peculiar"),
        ):
            odd, good = (
                wilson(int(getattr(m, name)[strength].sum()), m.n) for m in (peculiar, normal)
            )
            lines.append(Line(figure, at, odd, good, share_difference(odd, good)))
    return lines


def _means(figure: str, at: str, a: Array, b: Array) -> Line:
    return Line(figure, at, mean_of(a), mean_of(b), mean_difference(a, b))


def write_lines(lines: Sequence[Line], path: Path) -> None:
    """The lines as CSV, three numbers (value, low, high) for peculiar, normal and difference."""
    names = [
        f"{who}{x}" for who in ("peculiar", "normal", "difference") for x in ("", "_low", "_high")
    ]
    table: list[Sequence[object]] = [("figure", "at", *names)]
    for line in lines:
        numbers = [
            x
            for v in (line.peculiar, line.normal, line.difference)
            for x in (v.value, v.low, v.high)
        ]
        table.append((line.figure, line.at, *(f"{x:.4g}" for x in numbers)))
    write_atomically(path, csv_text(table).encode())
