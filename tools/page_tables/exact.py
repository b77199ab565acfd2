"""``docs/measurements.md``: distances to the exact solution of the bundled mixture."""

from __future__ import annotations

import functools

from tools.verdict_numbers import Cells, Number
from tools.verdict_tables import Maker, Row, Tables

from .crossed import crossed, each

TABLE = "tables/exact.csv"
GRIDS = {"quadratic": "quadratic", "loglinear": "log-linear"}
COMPARED = ("ge(gamma=2)", "ddim | momentum(beta=-0.3)")


def _code(recipe: str) -> str:
    escaped = recipe.replace("|", "\\|")
    return f"`{escaped}`"


def errors(tables: Tables, grid: str) -> list[list[str]]:
    """Each sampler's error by steps, a column's least one bold."""
    rows = [row for row in tables.read(TABLE) if row["grid"] == grid]
    counts = each(rows, "steps")
    least = {
        one["steps"]: min(float(row["rmse"]) for row in rows if row["steps"] == one["steps"])
        for one in counts
    }

    def cell(row: Row) -> str:
        error = Number(row["rmse"])
        return f"**{error:4}**" if error == least[row["steps"]] else f"{error:4}"

    return crossed(
        rows,
        "sampler",
        [(_code(one["sampler"]), one) for one in each(rows, "sampler")],
        [(one["steps"], one) for one in counts],
        cell,
    )


def over_ddim(tables: Tables) -> list[list[str]]:
    """Some samplers' errors over DDIM's on both grids, with their intervals."""
    rows = tables.read(TABLE)
    return crossed(
        rows,
        "over `ddim`",
        [
            (f"{_code(recipe)}, {words}", {"sampler": recipe, "grid": grid})
            for recipe in COMPARED
            for grid, words in GRIDS.items()
        ],
        [(one["steps"], one) for one in each(rows, "steps")],
        lambda row: format(Cells(row).interval, "3"),
    )


MAKERS: dict[str, Maker] = {
    "exact-over-ddim": over_ddim,
    **{f"exact-{grid}": functools.partial(errors, grid=grid) for grid in GRIDS},
}
