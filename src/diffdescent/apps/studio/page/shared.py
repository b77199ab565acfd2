"""The fields that all tabs share: model, label, guidance, budget, noise."""

from __future__ import annotations

from typing import Any

import gradio as gr

from diffdescent.base.errors import UserError
from diffdescent.guidance import parse_guidance
from diffdescent.guidance.elements import SOURCES

from ..chain import guidance_parts, problem, text_of, with_option
from ..models import Models
from ..state import COUNTED, LANES, State
from ..views import mistake
from .fields import Fields
from .lane import QUIET

NONE = "none"
READY = ("cfg", "apg", "cfgpp", "classifier")
"""Guidance that needs no file of the visitor's; any other is written as text."""


def shared_fields(fields: Fields, models: Models) -> None:
    """Lay out the fields above the tabs."""
    plain = State()
    with gr.Row():
        with gr.Column(min_width=200):
            model = fields.add(
                "model",
                gr.Dropdown(models.names, value=models.first, label="Model", elem_id="model"),
            )
        with gr.Column(min_width=140):
            label = fields.add(
                "label",
                gr.Dropdown(
                    ["", *models.labels(models.first)], value="", label="Label",
                    allow_custom_value=True, elem_id="label",
                ),
            )  # fmt: skip
        with gr.Column(min_width=140):
            kind = gr.Dropdown(
                [NONE, *(name for name in READY if name in SOURCES)], value=NONE, label="Guidance",
                elem_id="guidance-kind",
            )  # fmt: skip
        with gr.Column(min_width=160):
            scale = gr.Slider(0, 10, value=1, step=0.1, label="Guidance scale", elem_id="scale")
        with gr.Column(min_width=220):
            guidance = fields.add(
                "guidance",
                gr.Textbox(plain.guidance, label="Guidance, as text", placeholder=NONE),
            )
    with gr.Row():
        with gr.Column(min_width=120):
            fields.add(
                "budget",
                gr.Number(plain.budget, label="Budget", precision=0, elem_id="budget"),
            )
        with gr.Column(min_width=160):
            fields.add("counted", gr.Radio(list(COUNTED), value=plain.counted, label="counts"))
        for name, title in (("seed", "Seed"), ("sample", "First sample"), ("images", "Images")):
            with gr.Column(min_width=90):
                fields.add(
                    name, gr.Number(getattr(plain, name), label=title, precision=0, elem_id=name)
                )
        with gr.Column(min_width=150):
            fields.add(
                "converged",
                gr.Number(
                    plain.converged, label="Evaluations of the converged solution", precision=0,
                    elem_id="converged",
                ),
            )  # fmt: skip
        with gr.Column(min_width=190):
            fields.add(
                "lanes",
                gr.Slider(1, LANES, value=len(plain.lanes), step=1, label="Recipes"),
            )
    place = fields.problems["guidance"]
    model.change(_labels(models), [model], [label], **QUIET)
    gr.on([guidance.blur, guidance.submit], _left, [guidance], [kind, scale, place], **QUIET)
    kind.input(_chosen, [kind], [guidance], **QUIET)
    scale.input(_scaled, [guidance, scale], [guidance, place], **QUIET)


def _labels(models: Models) -> Any:
    def change(name: str) -> Any:
        return gr.update(choices=["", *models.labels(name)])

    return change


def _left(text: str) -> tuple[Any, Any, str]:
    """A text that was typed: its kind, its scale, and what is wrong with it."""
    if not text.strip():
        return NONE, gr.skip(), ""
    wrong = problem(lambda: parse_guidance(text))
    if wrong is not None:
        return gr.skip(), gr.skip(), mistake(wrong)
    first: Any = guidance_parts(text)[0]
    scale = getattr(first, "scale", None)
    kind = first.name if first.name in READY else gr.skip()
    return kind, scale if isinstance(scale, (int, float)) else gr.skip(), ""


def _chosen(kind: str) -> str:
    return "" if kind == NONE else text_of((SOURCES[kind](),))


def _scaled(text: str, value: float) -> tuple[Any, str]:
    try:
        if not text.strip():
            return gr.skip(), ""
        return text_of(with_option(guidance_parts(text), 0, "scale", value)), ""
    except UserError as error:
        return gr.skip(), mistake(str(error))
