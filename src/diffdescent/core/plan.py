"""A sampler as a table: the rows of a general linear method, in float64, before any network is
seen.

A plan says, for every network evaluation, where the network is asked and which linear combination
of what is known comes next. What is known after the evaluation of a row:

* ``base``     the last committed state ``x_n``,
* ``current``  the state at which the network was just evaluated (``base`` itself unless the row is
  an inner stage),
* ``evals``    the kept evaluations, newest first; ``evals[0]`` is the one just taken,
* ``z``        fresh unit noise of each output that asks for it.

Runge–Kutta, multistep, predictor–corrector and stochastic methods are all tables of this one form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from html import escape
from typing import get_args

from diffdescent.base.notebook import table_html
from diffdescent.base.words import counted

from .grid import Grid
from .predict import Basis
from .process import Point
from .spectrum.rows import Spectral

_SAME = 1e-9
"""Levels whose σ/α differ relatively by no more are one level: it may be computed in two ways."""


@dataclass(frozen=True)
class Output:
    """One new state: x = base·x_base + current·x_current + Σ_j evals[j]·h_j + noise·z.

    ``point`` is the noise level of the new state. A *commit* ends a step: it becomes the base, and
    displacement transforms act on it. Otherwise the state is provisional: only the place of the
    next evaluation. ``log_var`` = (log β̃, log β) scales the noise by a learned variance in between
    instead of ``noise``. ``spread`` is the standard deviation by which guidance moves the mean,
    where it is not the noise's (a last step that draws none).

    ``spectral`` are coefficients that depend on the spatial frequency. They take the place of
    ``base`` and ``evals``, which then hold their means, for readers of the table.
    """

    point: Point
    commit: bool = True
    base: float = 0.0
    current: float = 0.0
    evals: tuple[float, ...] = ()
    noise: float = 0.0
    draw: int = 0
    log_var: tuple[float, float] | None = None
    spread: float | None = None
    spectral: Spectral | None = None

    def at_band(self, group: int, knot: int) -> Output:
        """The output with the coefficients of one knot of one group of channel axes."""
        if self.spectral is None:
            return self
        base, evals = self.spectral.at(group, knot)
        return replace(self, base=base, evals=evals, spectral=None)


@dataclass(frozen=True)
class Row:
    """One evaluation and what follows from it.

    The network is asked at ``at`` and the evaluation is read as ``basis``. ``outputs`` are computed
    in order, a committed one becoming the ``base`` of the next; ``current`` stays the state that
    was evaluated. ``keep`` lists the indices of the evaluations (newest first) that stay for the
    next row; the newest is kept as ``keep_basis`` (default: ``basis``) of the point where it was
    taken and never converted again. ``order`` is the local order the row was built for (what a
    table prints; a start-up row has a lower one).
    """

    step: int
    at: Point
    basis: Basis
    outputs: tuple[Output, ...]
    keep: tuple[int, ...] = ()
    order: int = 1
    keep_basis: Basis | None = None


@dataclass(frozen=True)
class Plan:
    """A validated table of rows for one grid.

    ``start`` are outputs taken before the first evaluation (churn). ``single`` says that every row
    is one step: it is evaluated where the last one ended, and commits once. ``spectral`` is one of
    the outputs' coefficients over the spatial frequency, if any has them. Raises ``ValueError`` on
    construction when a row refers to an evaluation that is not kept, a coefficient is not finite,
    spectral coefficients are not those of single deterministic steps, a basis is not "x0" or
    "eps", or the last row does not commit at the grid's end: those are mistakes in a solver, not in
    a user's input.
    """

    grid: Grid
    rows: tuple[Row, ...]
    start: tuple[Output, ...] = ()
    name: str = ""
    stochastic: bool = field(init=False)
    single: bool = field(init=False)
    spectral: Spectral | None = field(init=False)

    def __post_init__(self) -> None:
        known = 0
        for i, row in enumerate(self.rows):
            known += 1
            for basis in (row.basis, row.keep_basis or row.basis):
                if basis not in get_args(Basis):
                    raise ValueError(
                        f"{self.name}: row {i} has the basis {basis!r}; it must be 'x0' or 'eps'."
                    )
            for out in row.outputs:
                numbers = (out.base, out.current, out.noise, *out.evals)
                if not all(map(math.isfinite, numbers)):
                    raise ValueError(
                        f"{self.name}: row {i} has a coefficient that is not finite: {numbers}."
                    )
                if len(out.evals) > known:
                    raise ValueError(
                        f"{self.name}: row {i} uses {len(out.evals)} evaluations, {known} are kept."
                    )
            if not row.outputs:
                raise ValueError(f"{self.name}: row {i} has no output.")
            if any(not 0 <= k < known for k in row.keep):
                raise ValueError(f"{self.name}: row {i} keeps evaluations {row.keep} of {known}.")
            known = len(row.keep)
        if not self.rows or not self.rows[-1].outputs[-1].commit:
            raise ValueError(f"{self.name}: the last row must commit the result.")
        last, end = self.rows[-1].outputs[-1].point.ratio, float(self.grid.ratio[-1])
        if not math.isclose(last, end, rel_tol=_SAME):
            raise ValueError(
                f"{self.name}: the last row commits at σ/α = {last:.6g}, and must commit at the"
                f" grid's end, {end:.6g}."
            )
        noisy = any(
            o.noise or o.log_var
            for o in self.start + tuple(o for r in self.rows for o in r.outputs)
        )
        object.__setattr__(self, "stochastic", noisy)
        object.__setattr__(
            self, "single", all(len(r.outputs) == 1 and r.outputs[0].commit for r in self.rows)
        )
        object.__setattr__(self, "spectral", self._one_spectral())

    def __repr__(self) -> str:
        made = f"{counted(self.steps, 'step')}, {counted(self.nfe, 'evaluation')}"
        kind = ", stochastic" if self.stochastic else ""
        return f"Plan({self.name} on {self.grid.name}, {made}{kind})"

    def _repr_html_(self) -> str:
        """The rows as a table, for notebooks."""
        head = ("step", "evaluated at σ/α", "as", "order", "→ σ/α", "x", "evaluations", "noise")
        rows = []
        for row in self.rows:
            for out in row.outputs:
                own = (f"{out.base + out.current:.5g}", ", ".join(f"{w:.4g}" for w in out.evals))
                place = f"{out.point.ratio:.5g}" + ("" if out.commit else " (inside)")
                known = (str(row.step), f"{row.at.ratio:.5g}", row.basis, str(row.order), place)
                rows.append((*known, *own, f"{out.noise:.4g}"))
        return f"<b>{escape(repr(self))}</b>{table_html(head, rows)}"

    def _one_spectral(self) -> Spectral | None:
        """The first spectral coefficients, after a look at all of them."""
        outputs = [*self.start, *(out for row in self.rows for out in row.outputs)]
        found = [out for out in outputs if out.spectral is not None]
        kinds = {(o.spectral.axes, o.spectral.bands) for o in found if o.spectral is not None}
        if len(kinds) > 1:
            raise ValueError(f"{self.name}: its rows have different axes or bands.")
        if any(o.spectral is not None and len(o.spectral.evals) != len(o.evals) for o in found):
            raise ValueError(
                f"{self.name}: a row's spectral coefficients are not its evaluations'."
            )
        kept = all(r.keep_basis in (None, r.basis) for r in self.rows)
        if found and (self.stochastic or not self.single or not kept):
            raise ValueError(f"{self.name}: spectral coefficients need single deterministic steps.")
        if any(o.current for o in found):
            raise ValueError(f"{self.name}: a spectral row acts on its base, not on ``current``.")
        return found[0].spectral if found else None

    def at_band(self, group: int, knot: int) -> Plan:
        """The plan that one knot of one group of channel axes sees; a plan without spectral
        coefficients is itself."""
        if self.spectral is None:
            return self
        rows = tuple(
            replace(r, outputs=tuple(o.at_band(group, knot) for o in r.outputs)) for r in self.rows
        )
        start = tuple(o.at_band(group, knot) for o in self.start)
        return replace(self, rows=rows, start=start)

    @property
    def nfe(self) -> int:
        """Network evaluations per sample."""
        return len(self.rows)

    @property
    def steps(self) -> int:
        """Committed steps."""
        return sum(out.commit for row in self.rows for out in row.outputs)

    def with_rows(self, rows: tuple[Row, ...], name: str) -> Plan:
        """The same plan with other rows (what a linear transform returns)."""
        return replace(self, rows=rows, name=name)


def transfer(src: Point, dst: Point, basis: Basis) -> tuple[float, float]:
    """The DDIM transfer x_s = a·x_t + b·h with h the estimate of x0 or ε.

    x0-form: a = σ_s/σ_t, b = α_s − α_t σ_s/σ_t, finite at α_t = 0 and at σ_s = 0.
    ε-form: a = α_s/α_t, b = σ_s − α_s σ_t/α_t, finite at σ_t = 0 and at σ_s = 0.
    (Song et al. 2021, eq. 12; Salimans and Ho 2022, eq. 8.)
    """
    if basis == "x0":
        a = dst.sigma / src.sigma
        return a, dst.alpha - src.alpha * a
    a = dst.alpha / src.alpha
    return a, dst.sigma - src.sigma * a


def basis_at(src: Point, preferred: Basis) -> Basis:
    """``preferred``, unless it is undetermined at ``src``: x0-form at α = 0, ε-form at σ = 0."""
    if src.alpha == 0:
        return "x0"
    if src.sigma == 0:
        return "eps"
    return preferred


def euler_row(step: int, src: Point, dst: Point, basis: Basis, keep: tuple[int, ...] = ()) -> Row:
    """One DDIM step: exact when the estimate is constant along it. What is kept is kept as
    ``basis``."""
    read = basis_at(src, basis)
    a, b = transfer(src, dst, read)
    return Row(step, src, read, (Output(dst, base=a, evals=(b,)),), keep, keep_basis=basis)
