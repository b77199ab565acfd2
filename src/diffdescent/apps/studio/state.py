"""What a visitor sees, as one frozen value that fits into an address."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from diffdescent.base.errors import UserError, unknown

LANES = 4
"""Recipes side by side, at most."""
LONGEST = 600
"""Characters of one entry of an address, at most."""
TABS = ("compare", "read", "sweep", "landscape", "restore")
COUNTED = ("evaluations", "steps")


@dataclass(frozen=True)
class Lane:
    """One recipe: its text, its grid (empty: the usual one), and its own budget (0: that of
    all)."""

    recipe: str = "ddim"
    grid: str = ""
    budget: int = 0


@dataclass(frozen=True)
class Sweep:
    """Two parameters over values: names in braces of ``sampler``, ``grid`` and ``guidance``, or
    ``nfe``; values as ``-0.3, 0, 0.2`` or ``0:1:5`` (five from 0 to 1)."""

    sampler: str = "ddim | ge(gamma={gamma}) | momentum(beta={beta})"
    grid: str = "loglinear"
    x: str = "beta"
    xs: str = "-0.3, -0.1, 0, 0.1, 0.3"
    y: str = "gamma"
    ys: str = "1, 1.5, 2, 2.5"


@dataclass(frozen=True)
class Scene:
    """A landscape: noisy neighbours of every state with their standard deviation, steps of the
    ancestral run that ends at the reference."""

    around: int = 8
    spread: float = 1.0
    reference: int = 100


@dataclass(frozen=True)
class Reading:
    """The error model against which grids are checked: the denoiser's relative error η and the band
    ν."""

    eta: float = 0.06
    nu: float = 4.0


@dataclass(frozen=True)
class Restoring:
    """A restoration: what measures the picture, the standard deviation of the measurement's noise,
    the method, its evaluations and how many samples it draws. The picture is not part of an
    address."""

    operator: str = "blur(sigma=2)"
    noise: float = 0.05
    method: str = "diffpir"
    evaluations: int = 20
    samples: int = 4


@dataclass(frozen=True)
class State:
    """Everything that a view follows from.

    ``counted`` says what a budget counts. ``sample`` is the first of ``images`` sample numbers.
    ``converged`` are the evaluations of the run that stands for the converged solution, 0 for
    none.
    """

    model: str = ""
    tab: str = "compare"
    lanes: tuple[Lane, ...] = (
        Lane("ddim"),
        Lane("ddim | ge"),
        Lane("unipc"),
        Lane("ddim | momentum(beta=-0.3)"),
    )
    counted: str = "evaluations"
    budget: int = 8
    seed: int = 0
    sample: int = 0
    images: int = 4
    label: str = ""
    guidance: str = ""
    converged: int = 64
    reading: Reading = field(default_factory=Reading)
    sweep: Sweep = field(default_factory=Sweep)
    scene: Scene = field(default_factory=Scene)
    restore: Restoring = field(default_factory=Restoring)

    def query(self) -> str:
        """The state as the query of an address: every entry that is not the default."""
        return urlencode(list(_entries(self, type(self)())))

    @classmethod
    def of_query(cls, query: str | Mapping[str, str]) -> State:
        """The state that an address holds; entries that are not ours are left alone.

        Raises :class:`UserError` for an entry that is no number where it must be one, and for one
        that is too long.
        """
        found = dict(parse_qsl(query, keep_blank_values=True) if isinstance(query, str) else query)
        for name, text in found.items():
            if len(text) > LONGEST:
                raise UserError(
                    f"The entry {name!r} of the address has {len(text)} characters; at most"
                    f" {LONGEST} are read."
                )
        state = typing.cast(State, _filled(cls(), found, ""))
        if state.tab not in TABS:
            raise unknown("tab", state.tab, TABS)
        if state.counted not in COUNTED:
            raise unknown("count", state.counted, COUNTED)
        return state


def _entries(value: Any, plain: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for one in dataclasses.fields(value):
        mine, usual = getattr(value, one.name), getattr(plain, one.name)
        if dataclasses.is_dataclass(mine):
            yield from _entries(mine, usual, f"{prefix}{one.name}.")
        elif one.name == "lanes":
            for i, lane in enumerate(mine, 1):
                yield f"recipe{i}", lane.recipe
                yield from ((f"{k}{i}", v) for k, v in _entries(lane, Lane()) if k != "recipe")
        elif mine != usual:
            yield f"{prefix}{one.name}", f"{mine}"


def _filled(value: Any, found: Mapping[str, str], prefix: str) -> Any:
    """``value`` with what ``found`` says of its fields."""
    changes: dict[str, Any] = {}
    for one in dataclasses.fields(value):
        name, before = f"{prefix}{one.name}", getattr(value, one.name)
        if dataclasses.is_dataclass(before):
            changes[one.name] = _filled(before, found, f"{name}.")
        elif one.name == "lanes":
            given = [i for i in range(1, LANES + 1) if f"recipe{i}" in found]
            if given:
                changes["lanes"] = tuple(_lane(found, i) for i in given)
        elif name in found:
            changes[one.name] = _read(name, found[name], type(before))
    return dataclasses.replace(value, **changes)


def _lane(found: Mapping[str, str], number: int) -> Lane:
    own = {
        one.name: _read(f"{one.name}{number}", found[f"{one.name}{number}"], type(one.default))
        for one in dataclasses.fields(Lane)
        if f"{one.name}{number}" in found
    }
    return Lane(**own)


def _read(name: str, text: str, kind: type[Any]) -> Any:
    try:
        return kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise UserError(f"{name} of the address must be {wanted}, not {text!r}.") from None
