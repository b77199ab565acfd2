"""A fitted solver as data, and its file: JSON, versioned, without code.

With y = x/α and e_n = ε(α y_n, σ̃_n) at the file's levels σ̃_0 > … > σ̃_{N−1},

    ŷ_0 = start(f)·ŷ,    ŷ_{n+1} = base_n(f)·ŷ_n + Σ_j evals_{n,j}(f)·ê_{n−j},

where a hat is the cosine transform in the file's channel axes and every coefficient is a curve
over the radial frequency (newest evaluation first). Levels and rows do not depend on how a process
counts its times or scales its states. Numbers are written as the shortest decimals that give the
same float64.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from diffdescent.base.errors import UserError
from diffdescent.base.hashes import json_hash
from diffdescent.base.reading import read_json, shown

from .axes import Axes
from .bands import Bands
from .rows import Curves

FORMAT, VERSION = "diffdescent-solver", 1
FITTED_FOR: dict[str, type] = {
    "model": str, "fingerprint": str, "guidance": str, "labels": str, "process": dict,
    "shape": list, "settings": dict,
}  # fmt: skip
KINDS: dict[type, str] = {str: "a text", dict: "an object", list: "a list"}
NUMBERS = ("prediction", "levels", "axes", "bands", "start", "rows")
"""The fields that make the images."""
LARGEST = 1e4
"""A coefficient beyond this is a damaged file, not a sampler."""


@dataclass(frozen=True)
class FittedRow:
    """One step: ``base`` multiplies the state, ``evals`` the evaluations, newest first."""

    base: Curves
    evals: tuple[Curves, ...] = ()


@dataclass(frozen=True, eq=False)
class FittedSolver:
    """What a calibrated file holds.

    ``levels`` are the σ/α at which the network is asked, falling; ``end`` is that of the result.
    ``fitted_for`` says for which model, process, guidance and shape, ``fit`` how, and ``report``
    what was measured on samples that took no part in the fit.
    """

    name: str
    levels: tuple[float, ...]
    end: float
    axes: Axes
    bands: Bands
    start: Curves
    rows: tuple[FittedRow, ...]
    fitted_for: Mapping[str, Any] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)
    made_with: str = ""

    @property
    def nfe(self) -> int:
        """Network evaluations."""
        return len(self.levels)

    @property
    def digest(self) -> str:
        """What identifies the sampler: its numbers, whatever else the file says."""
        return json_hash({key: self._content[key] for key in NUMBERS}, 16)

    def to_json(self) -> str:
        """The text of the file."""
        lines = [
            f"  {json.dumps(key)}: {_rows_text(value) if key == 'rows' else _text(value)}"
            for key, value in self._content.items()
        ]
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @property
    def _content(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "fitted_for": self.fitted_for,
            "report": self.report,
            "fit": self.fit,
            "prediction": "eps",
            "levels": {"unit": "sigma/alpha", "asked": list(self.levels), "end": self.end},
            "axes": {
                "name": self.axes.name,
                "matrix": self.axes.matrix,
                "groups": self.axes.groups,
            },
            "bands": {"unit": "sqrt((k/H)^2 + (l/W)^2)", "knots": self.bands.knots},
            "start": self.start,
            "rows": [{"base": row.base, "evals": row.evals} for row in self.rows],
            "made_with": self.made_with,
            "licence": "CC0-1.0",
        }


def _rows_text(rows: Any) -> str:
    """A line for each row."""
    return "[\n    " + ",\n    ".join(map(_text, rows)) + "\n  ]"


def _text(value: Any) -> str:
    """JSON as everybody reads it: NaN and Inf are mistakes."""
    return json.dumps(value, allow_nan=False)


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return True


def load_fitted(path: Path) -> FittedSolver:
    """The solver in a file.

    Raises :class:`UserError` where there is no such file, where it is not one of ours, and for a
    field that is missing or out of its range.
    """
    try:
        content = read_json(path, "calibrated sampler")
    except UserError as error:
        problem = "there is no such file" if not _there(path) else str(error).rpartition(";")[0]
        raise UserError(
            f"The calibrated sampler {shown(path)} cannot be read: {problem or error}; give"
            " the JSON file that diffdescent calibrate wrote."
        ) from None
    return _Reader(str(path)).solver(content)


@dataclass(frozen=True)
class _Reader:
    """Turns JSON into a solver, one checked field after the other."""

    path: str

    def error(self, what: str) -> UserError:
        return UserError(f"{self.path!r} is not a usable calibrated sampler: {what}; fit it again.")

    def solver(self, content: object) -> FittedSolver:
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise self.error(f"its format is not {FORMAT!r}")
        if content.get("version") != VERSION:
            raise UserError(
                f"{self.path!r} has version {content.get('version')!r} of its format, and this"
                f" diffdescent reads version {VERSION}; update diffdescent, or fit it again."
            )
        if content.get("prediction") != "eps":
            raise self.error("its prediction is not 'eps'")
        levels = self.part(content, "levels")
        asked = tuple(
            self.number(v, "levels.asked") for v in self.items(levels, "asked", "levels.")
        )
        end = self.number(levels.get("end"), "levels.end")
        falling = all(a > b for a, b in zip((*asked,), (*asked[1:], end), strict=True))
        if not asked or not falling or end < 0:
            raise self.error("levels.asked and levels.end must fall and not be negative")
        axes, bands = self.axes(self.part(content, "axes")), self.bands(self.part(content, "bands"))
        rows = tuple(
            self.row(row, i, axes, bands) for i, row in enumerate(self.items(content, "rows"))
        )
        if len(rows) != len(asked):
            raise self.error(f"it has {len(rows)} rows for {len(asked)} levels")
        for i, (row, after) in enumerate(pairwise(rows)):
            if len(after.evals) > len(row.evals) + 1:  # a row keeps what it has, and no more
                raise self.error(f"rows[{i + 1}] uses evaluations that rows[{i}] has not kept")
        return FittedSolver(
            name="".join(filter(str.isprintable, str(content.get("name") or Path(self.path).stem))),
            levels=asked,
            end=end,
            axes=axes,
            bands=bands,
            start=self.curves(content.get("start"), "start", axes, bands),
            rows=rows,
            fitted_for=self.known(self.part(content, "fitted_for")),
            fit=self.part(content, "fit"),
            report=self.part(content, "report"),
            made_with=str(content.get("made_with", "")),
        )

    def known(self, value: dict[str, Any]) -> dict[str, Any]:
        """For what it was fitted; what is left out is not known."""
        for key, kind in FITTED_FOR.items():
            if not isinstance(value.get(key), kind | None):
                raise self.error(f"fitted_for.{key} is not {KINDS[kind]}")
        return value

    def row(self, value: object, index: int, axes: Axes, bands: Bands) -> FittedRow:
        where = f"rows[{index}]"
        if not isinstance(value, dict):
            raise self.error(f"{where} is not an object")
        evals = self.items(value, "evals", f"{where}.")
        if not 1 <= len(evals) <= index + 1:
            raise self.error(f"{where}.evals must hold 1 to {index + 1} coefficients")
        return FittedRow(
            self.curves(value.get("base"), f"{where}.base", axes, bands),
            tuple(self.curves(c, f"{where}.evals[{j}]", axes, bands) for j, c in enumerate(evals)),
        )

    def axes(self, value: Mapping[str, Any]) -> Axes:
        matrix = tuple(
            tuple(self.number(v, "axes.matrix") for v in self.list(row, "axes.matrix"))
            for row in self.items(value, "matrix", "axes.")
        )
        groups = self.items(value, "groups", "axes.")
        if not groups or not all(isinstance(g, int) and 0 <= g < len(groups) for g in groups):
            raise self.error("axes.groups must be whole numbers from 0")
        return Axes(str(value.get("name", "")), matrix, tuple(groups))

    def bands(self, value: Mapping[str, Any]) -> Bands:
        return Bands(
            tuple(self.number(k, "bands.knots") for k in self.items(value, "knots", "bands."))
        )

    def curves(self, value: object, where: str, axes: Axes, bands: Bands) -> Curves:
        found = tuple(
            tuple(self.number(v, where) for v in self.list(curve, where))
            for curve in self.list(value, where)
        )
        if len(found) != axes.count or any(len(curve) != bands.count for curve in found):
            raise self.error(f"{where} must hold {axes.count} curves of {bands.count} numbers each")
        return found

    def part(self, content: Mapping[str, Any], key: str) -> dict[str, Any]:
        value = content.get(key)
        if not isinstance(value, dict):
            raise self.error(f"{key} is missing or not an object")
        return value

    def items(self, content: Mapping[str, Any], key: str, where: str = "") -> list[Any]:
        return self.list(content.get(key), where + key)

    def list(self, value: object, where: str) -> list[Any]:
        if not isinstance(value, list):
            raise self.error(f"{where} is missing or not a list")
        return value

    def number(self, value: object, where: str) -> float:
        number = value if isinstance(value, (int, float)) else float("nan")
        if isinstance(value, bool) or not abs(number) <= LARGEST:  # NaN is not
            raise self.error(f"{where} must hold finite numbers of at most {LARGEST:g}")
        return float(number)
