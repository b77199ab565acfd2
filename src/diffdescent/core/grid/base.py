"""What a grid is, and the names under which grids are built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from typing import Literal

import numpy as np

from diffdescent.base.errors import UserError, unknown
from diffdescent.base.notebook import curve_svg, table_html
from diffdescent.base.words import counted, shown
from diffdescent.core.grammar import print_call
from diffdescent.core.namespace import GRID_NAMES
from diffdescent.core.options import check_option, keywords_of
from diffdescent.core.process import Array, Point, Process

End = Literal["zero", "first"] | float
"""Where a grid ends: ``"zero"`` (σ = 0), ``"first"`` (the process's lowest level, ᾱ_0 of a VP
network), or a σ̃."""
EXPLICIT = "explicit"
"""The grid of levels that are given: they would make a long name, so this is its whole name."""


@dataclass(frozen=True, eq=False)
class Grid:
    """N + 1 noise levels on the host: ``t``, ``alpha``, ``sigma`` are float64 of shape (N + 1,).

    ``t`` is what the network is given at each level. ``name`` is the text that makes the grid
    again, of a grid by name. ``notes`` say what building it changed (duplicates removed).

    Raises:
        UserError: unless there are at least two levels and σ̃ is strictly monotone.
    """

    process: Process
    t: Array
    alpha: Array
    sigma: Array
    name: str = EXPLICIT
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in ("t", "alpha", "sigma"):
            array = np.array(getattr(self, field), dtype=np.float64)
            array.setflags(write=False)
            object.__setattr__(self, field, array)
        if (
            self.t.ndim != 1
            or not self.t.shape == self.alpha.shape == self.sigma.shape
            or len(self.t) < 2
        ):
            raise UserError(
                "A grid needs at least two levels with one t, α and σ each, not shapes"
                f" {self.t.shape}, {self.alpha.shape}, {self.sigma.shape}; ask for at least one"
                " step."
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            change = np.sign(np.diff(self.ratio))
        if not (np.all(change < 0) or np.all(change > 0)):
            bad = int(np.argmax(change != change[0])) if change[0] != 0 else 0
            raise UserError(
                f"The grid {self.name!r} is not strictly monotone in σ/α at step {bad}:"
                f" {self.ratio[bad]:.6g} is followed by {self.ratio[bad + 1]:.6g}; remove repeated"
                " or unordered levels."
            )

    def __repr__(self) -> str:
        ends = f"σ/α {self.ratio[0]:.4g} … {self.ratio[-1]:.4g}"
        return f"Grid({self.name}, {counted(self.steps, 'step')}, {ends})"

    def _repr_html_(self) -> str:
        """The levels as a table with their curve, for notebooks."""
        rows = [
            [str(i), *(f"{v:.5g}" for v in (at.t, at.ratio, at.alpha, at.sigma))]
            for i, at in enumerate(self.points)
        ]
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        levels = table_html(("step", "t", "σ/α", "α", "σ"), rows)
        curve = curve_svg(self.ratio.tolist(), "step", "σ/α")
        return f"<b>{escape(repr(self))}</b>{notes}<br>{curve}{levels}"

    @property
    def steps(self) -> int:
        """N."""
        return len(self.t) - 1

    @property
    def ratio(self) -> Array:
        """σ̃ = σ/α at each level."""
        with np.errstate(divide="ignore"):
            return np.asarray(self.sigma / self.alpha)

    @property
    def lam(self) -> Array:
        """λ = log(α/σ) at each level."""
        with np.errstate(divide="ignore"):
            return np.asarray(-np.log(self.ratio))

    @property
    def descending(self) -> bool:
        """Whether the grid removes noise (a reversed grid adds it)."""
        return bool(self.ratio[0] > self.ratio[-1])

    @cached_property  # solvers ask for it at each of their steps
    def points(self) -> tuple[Point, ...]:
        """The levels, from the start to the end."""
        return tuple(
            Point(*map(float, level)) for level in zip(self.t, self.alpha, self.sigma, strict=True)
        )

    def at_ratio(self, ratio: float) -> Point:
        """The process's level at σ̃ = ``ratio``, for inner stages."""
        return self.process.at_ratio(ratio)

    def at_time(self, t: float) -> Point:
        """The process's level at time ``t``, for inner stages."""
        return self.process.point(t)

    def reversed(self) -> Grid:
        """The same levels from the end to the start (inversion: image to noise)."""
        return replace(
            self,
            t=self.t[::-1],
            alpha=self.alpha[::-1],
            sigma=self.sigma[::-1],
            name=f"{self.name}, reversed",
        )

    def ending_at(self, end: Point) -> Grid:
        """The same levels with another end."""
        levels = zip((self.t, self.alpha, self.sigma), end, strict=True)
        t, alpha, sigma = (np.append(values[:-1], last) for values, last in levels)
        return replace(self, t=t, alpha=alpha, sigma=sigma)

    def tail(self, start: int) -> Grid:
        """The grid from level ``start`` on."""
        return replace(self, t=self.t[start:], alpha=self.alpha[start:], sigma=self.sigma[start:])


Builder = Callable[..., Grid]
GRIDS: dict[str, Builder] = GRID_NAMES.table("grid")


def register(name: str) -> Callable[[Builder], Builder]:
    """Make a builder known by ``name``.

    Raises:
        UserError: a name that is taken, and an option without an annotation.
    """

    def add(builder: Builder) -> Builder:
        keywords_of(builder)
        GRID_NAMES.add("grid", name, builder)
        return builder

    return add


def make_grid(name: str, process: Process, steps: int, **options: object) -> Grid:
    """The grid ``name`` for ``process`` with ``steps`` steps.

    Raises:
        UserError: an unknown name, unknown options, values that their annotations do not allow, for
            fewer than one step, and a builder that returns something else.
    """
    if name not in GRIDS:
        raise unknown("grid", name, GRIDS)
    if not isinstance(process, Process):
        raise UserError(
            f"A grid needs a process, such as dd.VP.named() or that of a model, not"
            f" {shown(process)}."
        )
    if not isinstance(steps, int) or steps < 1:
        raise UserError(
            f"A grid needs at least 1 step, and a whole number of them, not {shown(steps)}."
        )
    known = keywords_of(GRIDS[name])
    for key in options:
        if key not in known:
            raise unknown(f"option for {name!r}:", key, known)
    checked = {key: check_option(name, key, value, known[key]) for key, value in options.items()}
    grid: object = GRIDS[name](process, steps, **checked)
    if not isinstance(grid, Grid):
        raise UserError(
            f"The builder of the grid {name!r} must return a Grid, not {type(grid).__name__}; end"
            " it with from_ratios(…) or from_times(…)."
        )
    return grid if name == EXPLICIT else replace(grid, name=_text(name, checked))


def _text(name: str, options: Mapping[str, object]) -> str:
    """The text that makes a grid again; what is a default already is left out."""
    known = inspect.signature(GRIDS[name]).parameters
    changed = {key: value for key, value in options.items() if value != known[key].default}
    return print_call(name, changed)
