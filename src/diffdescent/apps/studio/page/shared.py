"""The fields that all tabs share: model, label, guidance, budget, noise."""

from __future__ import annotations

from typing import Any

import gradio as gr

from diffdescent.base.errors import UserError
from diffdescent.guidance import parse_guidance
from diffdescent.guidance.elements import SOURCES

from ..chain import guidance_parts, problem, text_of, with_option
from ..models import Models
from ..preparing import MOST_IMAGES
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
    with gr.Row(equal_height=True):
        with gr.Column(min_width=200):
            model = fields.add(
                "model",
                gr.Dropdown(
                    models.names, value=models.first, label="Model", info="what draws the images",
                    elem_id="model",
                ),
            )  # fmt: skip
        with gr.Column(min_width=140):
            label = fields.add(
                "label",
                gr.Dropdown(
                    ["", *models.labels(models.first)], value="", label="Class",
                    info="what they show; empty: anything", allow_custom_value=True,
                    elem_id="label",
                ),
            )  # fmt: skip
        with gr.Column(min_width=140):
            kind = gr.Dropdown(
                [NONE, *(name for name in READY if name in SOURCES)], value=NONE, label="Guidance",
                info="pushes towards the class", elem_id="guidance-kind",
            )  # fmt: skip
        with gr.Column(min_width=160):
            scale = gr.Slider(
                0, 10, value=1, step=0.1, label="Scale", info="how strongly", elem_id="scale"
            )
        with gr.Column(min_width=220):
            guidance = fields.add(
                "guidance",
                gr.Textbox(
                    plain.guidance, label="Guidance as text", placeholder=NONE,
                    info="as on the command line: cfg(scale=3)",
                ),
            )  # fmt: skip
    with gr.Row(equal_height=True):
        _number(fields, "budget", "Budget", "of an image", 110)
        with gr.Column(min_width=170):
            fields.add(
                "counted",
                gr.Radio(
                    list(COUNTED), value=plain.counted, label="The budget counts",
                    info="evaluations of the network, or steps",
                ),
            )  # fmt: skip
        _number(fields, "images", "Images", f"of a recipe, 1 to {MOST_IMAGES}", 110)
        _number(fields, "seed", "Seed", "of the noise", 110)
        _number(fields, "sample", "First image", "its number in the seed", 110)
        _number(fields, "converged", "Converged solution", "its evaluations; 0: none", 190)
        with gr.Column(min_width=170):
            fields.add(
                "lanes",
                gr.Slider(
                    1, LANES, value=len(plain.lanes), step=1, label="Recipes", info="side by side"
                ),
            )
    place = fields.problems["guidance"]
    model.change(_labels(models), [model], [label], **QUIET)
    gr.on([guidance.blur, guidance.submit], _left, [guidance], [kind, scale, place], **QUIET)
    kind.input(_chosen, [kind], [guidance], **QUIET)
    scale.input(_scaled, [guidance, scale], [guidance, place], **QUIET)


def _number(fields: Fields, name: str, title: str, note: str, width: int) -> None:
    """A column with the field of one number of the state."""
    with gr.Column(min_width=width):
        fields.add(
            name,
            gr.Number(getattr(State(), name), label=title, info=note, precision=0, elem_id=name),
        )


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
