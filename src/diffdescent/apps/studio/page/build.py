"""The whole page: shared fields, tabs, the address."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import gradio as gr

from diffdescent.base.errors import UserError

from ..chain import strength
from ..converged import Solutions
from ..models import Models
from ..state import LANES, State
from ..views import mistake, note
from .compare import CompareTab
from .fields import Fields
from .lane import QUIET
from .others import LandscapeTab, ReadTab, SweepTab
from .restore import RestoreTab
from .shared import shared_fields

INTRO = (
    "**diffdescent studio**. A diffusion sampler is an optimizer: watch up to four of them from the"
    " same noise. The address holds everything that is set here."
)


def build(models: Models) -> Any:
    """The page for these models."""
    fields, solutions = Fields(models), Solutions()
    with gr.Blocks(
        title="diffdescent studio", analytics_enabled=False, fill_width=True, delete_cache=(60, 60)
    ) as page:
        gr.Markdown(INTRO, elem_id="intro")
        shared_fields(fields, models)
        fields.add("tab", gr.Textbox("compare", visible="hidden"))
        told = gr.HTML(elem_id="address-problem", elem_classes="dd-problem", padding=False)
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs:
            with gr.Tab("Compare", id="compare") as compare_tab:
                compare = CompareTab(fields, solutions)
            with gr.Tab("Read", id="read") as read_tab:
                read = ReadTab(fields)
            with gr.Tab("X/Y", id="sweep") as sweep_tab:
                sweep = SweepTab(fields, solutions)
            with gr.Tab("Landscape", id="landscape") as landscape_tab:
                landscape = LandscapeTab(fields)
            with gr.Tab("Restore", id="restore") as restore_tab:
                restore = RestoreTab(fields, restore_tab)
        read.connect(read_tab)
        for worker in (compare, sweep, landscape, restore):
            worker.cancel.click(None, None, None, cancels=worker.connect(), queue=False).then(
                _cancelled, None, [worker.status], queue=False, show_progress="hidden"
            )
        for tab, name in (
            (compare_tab, "compare"),
            (read_tab, "read"),
            (sweep_tab, "sweep"),
            (landscape_tab, "landscape"),
            (restore_tab, "restore"),
        ):
            tab.select(lambda name=name: name, None, [fields.components["tab"]], **QUIET)
        count = fields.components["lanes"]
        count.change(_visible, [count], compare.columns, **QUIET)  # type: ignore[attr-defined]
        gr.on(
            [one.change for one in fields.inputs],  # type: ignore[attr-defined]
            None,
            fields.inputs,
            None,
            js=f"(...values) => dd.address({json.dumps(fields.plain)}, values)",
        )
        views = [one for lane in compare.lanes for one in (lane.beta, lane.gamma, lane.version)]
        restored = page.load(
            _restore(fields), None, [*fields.inputs, tabs, told, compare.asked, *views], **QUIET
        )
        compare.resume(
            restored.then(None, None, None, js="() => { document.body.dataset.ready = 'yes'; }")
        )
    return page


def _cancelled() -> str:
    """What stands where a run was, once its last preview has come."""
    time.sleep(0.4)
    return note("cancelled")


def _visible(count: float) -> list[Any]:
    return [gr.update(visible=i < int(count)) for i in range(LANES)]


def _restore(fields: Fields) -> Any:
    def restore(request: gr.Request) -> list[Any]:
        """Fill the fields from the address; a view that was sent is run at once."""
        found = dict(request.query_params)
        try:
            state, wrong = State.of_query(found), ""
        except UserError as error:
            state, wrong = State(), mistake(str(error))
        ours = any(name in found for name in ("recipe1", "model")) and state.tab == "compare"
        asked = ours and not wrong
        values = fields.values(state)
        return [*values, gr.Tabs(selected=state.tab), wrong, asked, *_lane_views(fields, values)]

    return restore


def _lane_views(fields: Fields, values: list[Any]) -> list[Any]:
    """What the sliders show of each recipe, and what its controls are made of."""
    shown = dict(zip(fields.components, values, strict=True))
    found: list[Any] = []
    for i in range(1, LANES + 1):
        recipe, grid = shown[f"recipe{i}"], shown[f"grid{i}"]
        sliders: list[Any] = [gr.skip(), gr.skip()]
        with suppress(UserError):
            sliders = [strength(recipe, "momentum"), strength(recipe, "ge")]
        found += [*sliders, f"{recipe} @ {grid}"]
    return found
