"""One recipe of the Compare tab: its text, and controls that write it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from diffdescent.base.errors import UserError
from diffdescent.core.grid import GRIDS
from diffdescent.core.recipe import grid_call, parse
from diffdescent.core.solvers import SOLVERS
from diffdescent.core.transforms import TRANSFORMS

from ..chain import (
    Parts,
    grid_text,
    problem,
    recipe_parts,
    strength,
    text_of,
    with_option,
    with_solver,
    with_strength,
    with_transforms,
)
from ..controls import Control, controls_of, grid_controls
from ..state import State
from ..views import mistake
from .fields import Fields

USUAL = "usual"
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "trigger_mode": "always_last"}
"""Events of fields: they do not wait for the work of another visitor."""


class LaneFields:
    """The fields of lane ``number`` (from 1) and its controls.

    The texts are what counts: a control changes the text, and a text that was typed and left makes
    the controls anew (``version`` is what they were made of). A text is looked at when it is left
    and not at each key: Gradio repeats the ``change`` of a text that is being typed without end.
    """

    def __init__(self, fields: Fields, number: int) -> None:
        shown = State().lanes[number - 1]
        name = f"{number}"
        self.recipe = fields.add(
            f"recipe{name}",
            gr.Textbox(shown.recipe, label=f"Recipe {name}", elem_id=f"recipe{name}"),
        )
        self.beta = _strength(
            "momentum β (0: none)", shown.recipe, "momentum", -0.95, 0.95, f"beta{name}"
        )
        self.gamma = _strength(
            "gradient estimation γ (1: none)", shown.recipe, "ge", 1, 4, f"gamma{name}"
        )
        self.grid = fields.add(
            f"grid{name}",
            gr.Textbox(
                shown.grid, label="Grid of noise levels", placeholder=USUAL, elem_id=f"grid{name}"
            ),
        )
        self.budget = fields.add(
            f"budget{name}",
            gr.Number(
                shown.budget, label="Own budget (0: the one above)", precision=0, minimum=0,
                elem_id=f"budget{name}",
            ),
        )  # fmt: skip
        self.version = gr.Textbox("", visible="hidden", elem_classes="dd-gone")
        recipe_place, grid_place = fields.problems[f"recipe{name}"], fields.problems[f"grid{name}"]
        with gr.Accordion("All options", open=False, elem_id=f"options{name}"):
            self._controls(name, recipe_place, grid_place)

        for field, look, place in (
            (self.recipe, _left, recipe_place),
            (self.grid, _left_grid, grid_place),
        ):
            gr.on(
                [field.blur, field.submit],
                look,
                [self.recipe, self.grid, self.version],
                [self.beta, self.gamma, place, self.version],
                **QUIET,
            )
        for slider, transform in ((self.beta, "momentum"), (self.gamma, "ge")):
            slider.input(
                _setter(transform),
                [self.recipe, slider, self.version],
                [self.recipe, recipe_place, self.version],
                **QUIET,
            )

    def _controls(self, name: str, recipe_place: gr.HTML, grid_place: gr.HTML) -> None:
        def show(recipe: str, grid: str) -> None:
            self._recipe_controls(name, recipe, recipe_place)
            self._grid_controls(name, grid, grid_place)

        gr.render(
            inputs=[self.recipe, self.grid], triggers=[self.version.change], show_progress="hidden"
        )(show)

    def _recipe_controls(self, name: str, text: str, place: gr.HTML) -> None:
        try:
            parts = recipe_parts(text)
        except UserError:
            return  # said next to the text
        names = [part.name for part in parts]
        solver = gr.Dropdown(
            sorted({*SOLVERS, names[0]}), value=names[0], label="Solver", elem_id=f"solver{name}"
        )
        chain = gr.Dropdown(
            sorted(TRANSFORMS), value=names[1:], label="Transforms", multiselect=True
        )
        outputs = [self.recipe, place, self.version]
        solver.input(
            _rebuilt(lambda p, v: with_solver(p, v)), [self.recipe, solver, self.version], outputs,
            **QUIET,
        )  # fmt: skip
        chain.input(
            _rebuilt(lambda p, v: with_transforms(p, v)), [self.recipe, chain, self.version],
            outputs, **QUIET,
        )  # fmt: skip
        for i, part in enumerate(parts):
            for control in controls_of(part):
                shown = component(control, f"{part.name}: {control.option}")
                shown.input(
                    _option(i, control), [self.recipe, shown], [self.recipe, place], **QUIET
                )

    def _grid_controls(self, name: str, text: str, place: gr.HTML) -> None:
        try:
            kind, values = grid_call(text) if text.strip() else (USUAL, {})
        except UserError:
            return
        chosen = gr.Dropdown([USUAL, *sorted(GRIDS)], value=kind, label="Grid")
        chosen.input(
            lambda name: ("" if name == USUAL else name, f"@ {name}"),
            [chosen],
            [self.grid, self.version],
            **QUIET,
        )
        for control in grid_controls(kind, values) if kind != USUAL else ():
            shown = component(control, f"{kind}: {control.option}")
            shown.input(_grid_option(control), [self.grid, shown], [self.grid, place], **QUIET)


def component(control: Control, label: str) -> Any:
    """The Gradio component of a control."""
    if control.kind == "slider":
        return gr.Slider(
            control.low, control.high, value=control.shown, step=control.step, label=label,
            info=control.note,
        )  # fmt: skip
    if control.kind == "choice":
        return gr.Dropdown(
            list(control.choices), value=control.shown, label=label, info=control.note
        )
    if control.kind == "number":
        return gr.Number(control.shown, label=label, info=control.note)
    return gr.Textbox(control.shown, label=label, info=control.note, lines=1)


def _strength(
    label: str, recipe: str, transform: str, low: float, high: float, name: str
) -> gr.Slider:
    return gr.Slider(
        low, high, value=strength(recipe, transform), step=0.05, label=label, elem_id=name
    )


def _left(recipe: str, grid: str, version: str) -> tuple[Any, Any, str, str]:
    """A recipe that was typed: the two sliders, and what is wrong with it."""
    wrong = problem(lambda: parse(recipe))
    if wrong is not None:
        return gr.skip(), gr.skip(), mistake(wrong), version
    return strength(recipe, "momentum"), strength(recipe, "ge"), "", f"{recipe} @ {grid}"


def _left_grid(recipe: str, grid: str, version: str) -> tuple[Any, Any, str, str]:
    wrong = problem(lambda: grid_call(grid)) if grid.strip() else None
    made = version if wrong else f"{recipe} @ {grid}"
    return gr.skip(), gr.skip(), mistake(wrong), made


def _setter(transform: str) -> Any:
    def change(text: str, value: float, version: str) -> tuple[Any, str, str]:
        try:
            made = with_strength(text, transform, value)
            return made, "", f"{made} @"
        except UserError as error:
            return gr.skip(), mistake(str(error)), version

    return change


def _rebuilt(edit: Any) -> Any:
    def change(text: str, value: Any, version: str) -> tuple[Any, str, str]:
        try:
            made = text_of(edit(recipe_parts(text), value))
            return made, "", f"{made} @"
        except UserError as error:
            return gr.skip(), mistake(str(error)), version

    return change


def _option(index: int, control: Control) -> Any:
    def change(text: str, value: Any) -> tuple[Any, str]:
        try:
            parts: Parts = recipe_parts(text)
            return text_of(with_option(parts, index, control.option, control.read(value))), ""
        except UserError as error:
            return gr.skip(), mistake(str(error))

    return change


def _grid_option(control: Control) -> Any:
    def change(text: str, value: Any) -> tuple[Any, str]:
        try:
            name, values = grid_call(text)
            return grid_text(name, {**values, control.option: control.read(value)}), ""
        except UserError as error:
            return gr.skip(), mistake(str(error))

    return change
