"""Two parameters over ranges, as images and as distances; the same as a file for ``diffdescent
study``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.grammar import read_value
from diffdescent.core.model_info import info
from diffdescent.core.process import Array
from diffdescent.core.recipe import Recipe
from diffdescent.guidance import apply_guidance
from diffdescent.lab.study import make_study
from diffdescent.lab.study.cells import NONE, USUAL, Cell, expand, labels_for, variables
from diffdescent.models.exact import Exact
from diffdescent.run import Batch, Run, prepare, watch

from .comparing import page
from .converged import Solution, Solutions, key_of, rms, solve
from .preparing import MOST_EVALUATIONS, Mistake, Setting, at, check_shared

MOST_CELLS = 64
BUDGETS = ("nfe", "steps")
FULL_SIZE = 256
"""Images of each cell in the study that is saved."""


def values_of(text: str, place: str) -> list[Any]:
    """``"-0.3, 0, 0.2"``, or ``"0:1:5"`` for five values from 0 to 1. Raises :class:`Mistake`."""
    if text.count(":") == 2:
        low, high, count = (_value(part, place) for part in text.split(":"))
        if _is(low, int, float) and _is(high, int, float) and _is(count, int):
            return [float(f"{v:.6g}") for v in np.linspace(low, high, min(count, MOST_CELLS + 1))]
        raise Mistake(
            place,
            f"Cannot read the range {text!r}; write the first value, the last one and how many, for"
            " example 0:1:5.",
        )
    parts = [part for part in text.split(",") if part.strip()]
    if not parts:
        raise Mistake(place, "There are no values; write for example -0.3, 0, 0.2 or 0:1:5.")
    return [_value(part, place) for part in parts]


def _value(text: str, place: str) -> Any:
    return at(place, lambda: read_value(text.strip()))


def _is(value: object, *kinds: type) -> bool:
    """Whether a value is a number of these kinds, and if it counts something, at least 1."""
    return type(value) in kinds and (kinds != (int,) or value >= 1)  # type: ignore[operator]


def study_of(setting: Setting) -> dict[str, Any]:
    """The sweep as the entries of a study file. Raises :class:`Mistake`."""
    state, sweep = setting.state, setting.state.sweep
    named = at(
        "sweep.sampler",
        lambda: variables(sweep.sampler) | variables(sweep.grid) | variables(state.guidance),
    )
    axes = {"x": (sweep.x.strip(), sweep.xs), "y": (sweep.y.strip(), sweep.ys)}
    if axes["x"][0] == axes["y"][0]:
        raise Mistake("sweep.y", "The two parameters are the same; choose another for y.")
    if axes["x"][0] in BUDGETS and axes["y"][0] in BUDGETS:
        raise Mistake("sweep.y", "nfe and steps are both the budget; choose another parameter.")
    parameters: dict[str, list[Any]] = {}
    budget: dict[str, list[Any]] = {
        "nfe" if state.counted == "evaluations" else "steps": [state.budget]
    }
    for axis, (name, text) in axes.items():
        if name not in (*BUDGETS, *named):
            raise Mistake(f"sweep.{axis}", str(unknown("parameter", name, [*BUDGETS, *named])))
        values = values_of(text, f"sweep.{axis}s")
        if name in BUDGETS:
            budget = {name: values}
        else:
            parameters[name] = values
    if (count := _cells(axes)) > MOST_CELLS:
        raise Mistake("sweep.xs", f"The studio shows at most {MOST_CELLS} cells, not {count}.")
    labels = state.label.strip()
    exact = isinstance(setting.model, Exact) and not labels and setting.guidance is None
    return {
        "title": f"{sweep.x} × {sweep.y} on {state.model or info(setting.model).name}",
        "model": state.model or info(setting.model).name,
        "samplers": [sweep.sampler],
        "grids": [sweep.grid.strip() or USUAL],
        **({"parameters": parameters} if parameters else {}),
        **budget,
        **({"guidance": [state.guidance]} if setting.guidance else {}),
        **({"labels": labels} if labels else {}),
        "seeds": [state.seed],
        "n": FULL_SIZE,
        "metrics": ["rmse" if exact else "solution_rmse"],
    }


def _cells(axes: dict[str, tuple[str, str]]) -> int:
    x, y = (len(values_of(text, f"sweep.{axis}s")) for axis, (_, text) in axes.items())
    return x * y


def study_text(setting: Setting) -> str:
    """The study file, with how to run it. Raises :class:`Mistake`."""
    import yaml

    values = study_of(setting)
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=95)
    return f"# diffdescent study sweep.yaml --out sweep\n{text}"


@dataclass
class SweepRun:
    """A sweep under way: ``tiles[y][x]`` the sheet of a cell, ``distances`` (Y, X) to the converged
    solution, NaN where it is not known; ``left_out`` why a cell has no images."""

    setting: Setting
    cells: dict[tuple[int, int], Cell]
    xs: list[Any]
    ys: list[Any]
    solutions: Solutions
    left_out: dict[tuple[int, int], str] = field(default_factory=dict)
    tiles: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    distances: Array = field(init=False)
    note: str = ""

    def __post_init__(self) -> None:
        self.distances = np.full((len(self.ys), len(self.xs)), np.nan)

    @classmethod
    def of(cls, setting: Setting, solutions: Solutions) -> SweepRun:
        """Everything laid out, nothing evaluated. Raises :class:`Mistake`."""
        check_shared(replace(setting, state=replace(setting.state, guidance="")))
        sweep, values = setting.state.sweep, study_of(setting)
        config = at("sweep.sampler", lambda: make_study(values, "The sweep"))
        xs, ys = values_of(sweep.xs, "sweep.xs"), values_of(sweep.ys, "sweep.ys")

        def guide(text: str, recipe: Recipe) -> Any:
            model = setting.model
            return (model, recipe) if text == NONE else apply_guidance(text, model, recipe)

        cells, left_out = at("sweep.sampler", lambda: expand(config, guide, {}))
        placed: dict[tuple[int, int], Cell] = {}
        for cell in cells:
            if cell.steps > MOST_EVALUATIONS:
                raise Mistake("sweep.xs", f"The studio runs at most {MOST_EVALUATIONS} steps.")
            if cell.steps not in values.get("steps", [cell.steps]):
                raise Mistake(
                    "sweep.sampler",
                    f"{cell.sampler} on {cell.grid} has {cell.steps} steps, whatever is asked for;"
                    " vary another parameter than steps.",
                )
            known = {**dict(cell.parameters), "nfe": cell.asked, "steps": cell.steps}
            placed[ys.index(known[sweep.y.strip()]), xs.index(known[sweep.x.strip()])] = cell
        made = cls(setting, placed, xs, ys, solutions)
        if left_out:
            made.note = f"{len(left_out)} cells cannot be run: {left_out[0].reason.rstrip('.')}."
        return made

    def steps(self) -> Iterator[None]:
        """The work, an evaluation at a time."""
        for number, (place, cell) in enumerate(self.cells.items(), 1):
            yield from self._cell(place, cell, f"cell {number} of {len(self.cells)}")
        self.note = "finished"
        yield

    def _cell(self, place: tuple[int, int], cell: Cell, title: str) -> Iterator[None]:
        state = replace(self.setting.state, guidance="" if cell.guidance == NONE else cell.guidance)
        setting = replace(self.setting, state=state)
        samples = range(state.sample, state.sample + state.images)
        try:
            run = prepare(
                setting.model,
                cell.sampler,
                guidance=setting.guidance,
                steps=cell.steps,
                grid=cell.grid,
                samples=samples,
                seed=cell.seed,
                labels=labels_for(cell.labels, setting.model, samples),
            )
            self.note = title
            for one in watch(run):
                if isinstance(one, Batch):
                    self.tiles[place] = page(one.images)
                    yield
                    yield from self._measure(setting, run, place, one.images)
                yield
        except UserError as error:
            self.left_out[place] = str(error)

    def _measure(
        self, setting: Setting, run: Run, place: tuple[int, int], images: Tensor
    ) -> Iterator[None]:
        """The distance of a cell's images to the converged solution, which many cells share."""
        if not setting.state.converged:
            return
        key, title = key_of(setting, run), self.note
        solution = self.solutions.get(key)
        for one in solve(setting, run) if solution is None else ():
            if isinstance(one, Solution):
                solution = one
                self.solutions.keep(key, one)
            else:
                self.note = f"{title}: converged solution, evaluation {one}"
                yield
        if solution is not None:
            self.distances[place] = rms(images, solution.images)
