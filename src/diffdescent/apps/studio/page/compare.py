"""The Compare tab."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from ..comparing import Comparison, Mistakes
from ..converged import Solutions
from ..exports import film, picture, record
from ..preparing import Mistake
from ..snippets import Snippets, snippets
from ..state import LANES
from ..views import data_address, lane, note, running
from .fields import Fields
from .lane import LaneFields

TEXTS = ("recipe", "python", "command", "diffusers")
WORK: dict[str, Any] = {
    "concurrency_id": "work", "concurrency_limit": 1, "show_progress": "hidden"
}  # fmt: skip
"""One visitor's work at a time; the others wait for their turn."""
KEPT_SECONDS = 1800
"""A comparison is forgotten so long after its visitor's last sign of life."""


class CompareTab:
    """Four lanes with their controls, previews and texts to copy."""

    def __init__(self, fields: Fields, solutions: Solutions) -> None:
        self._fields, self._solutions = fields, solutions
        with gr.Row():
            self.run = gr.Button("Run", variant="primary", elem_id="run")
            self.cancel = gr.Button("Cancel", elem_id="cancel")
            self.png = gr.Button("PNG", elem_id="png")
            self.json = gr.Button("JSON record", elem_id="json")
            self.gif = gr.Button("GIF", elem_id="gif")
        self.status = gr.HTML(elem_id="status", padding=False)
        self.slider = gr.Slider(
            0, 1, value=1, step=0.01, label="Back through the trajectory", elem_id="trajectory"
        )
        self.columns: list[gr.Column] = []
        self.lanes: list[LaneFields] = []
        self.shown: list[gr.HTML] = []
        self.texts: list[gr.Textbox] = []
        with gr.Row():
            for number in range(1, LANES + 1):
                with gr.Column(min_width=250) as column:
                    self.shown.append(gr.HTML(_empty(), elem_id=f"lane{number}", padding=False))
                    self.lanes.append(LaneFields(fields, number))
                    with gr.Accordion("To copy", open=False, elem_id=f"copy{number}"):
                        self.texts += [
                            gr.Textbox(
                                label=name, lines=2, max_lines=9, buttons=["copy"],
                                interactive=False, elem_id=f"{name}-text{number}",
                            )
                            for name in TEXTS
                        ]  # fmt: skip
                self.columns.append(column)
        self.kept = gr.State(None, time_to_live=KEPT_SECONDS)
        self.asked = gr.State(False)
        self.outputs: list[Any] = []

    def connect(self) -> Any:
        """The events, once all fields are there; the one that works is returned."""
        fields = self._fields
        self.outputs = [
            *self.shown, self.status, self.slider, self.kept, *self.texts, *fields.places
        ]  # fmt: skip
        self.slider.change(None, [self.slider], None, js="(share) => dd.scrub(share)")
        for button, make in ((self.png, _png), (self.json, _json), (self.gif, _gif)):
            _download(button, make, self.kept, self.status)
        return self.run.click(self.compare, fields.inputs, self.outputs, **WORK)

    def compare(self, *values: Any) -> Iterator[list[Any]]:
        """Run what the fields say, and show every evaluation."""
        try:
            setting = self._fields.setting(values)
            comparison = Comparison.of(setting, self._solutions)
        except Mistake as mistake:
            yield self._refused({mistake.place: mistake.sentence})
            return
        except Mistakes as mistakes:
            yield self._refused(mistakes.sentences)
            return
        state = setting.state
        model = state.model or self._fields.models.first
        copied = [
            snippets(setting, one, run.run, model)
            for one, run in zip(state.lanes, comparison.lanes, strict=True)
        ]
        yield [
            *[_empty()] * LANES, note("starting"), 1, gr.skip(), *_written(copied),
            *self._fields.sentences({}),
        ]  # fmt: skip
        same = [gr.skip()] * (len(self.texts) + len(self._fields.places))
        for changed in comparison.steps():
            lanes = [lane(comparison.lanes[i]) if i == changed else gr.skip() for i in range(LANES)]
            yield [*lanes, running(comparison), gr.skip(), gr.skip(), *same]
        kept = [gr.skip()] * LANES
        yield [*kept, running(comparison), gr.skip(), comparison, *same]

    def resume(self, asked: bool, *values: Any) -> Iterator[list[Any]]:
        """Run at once what an address has asked for."""
        if asked:
            yield from self.compare(*values)

    def _refused(self, mistakes: dict[str, str]) -> list[Any]:
        skipped = [gr.skip()] * (len(self.outputs) - len(self._fields.places))
        return [*skipped, *self._fields.sentences(mistakes)]


def _empty() -> str:
    return '<figure class="dd-lane"><div class="dd-empty"></div></figure>'


def _written(copied: list[Snippets]) -> list[str]:
    found = [getattr(one, name) for one in copied for name in TEXTS]
    return found + [""] * (LANES * len(TEXTS) - len(found))


def _download(button: gr.Button, make: Any, kept: gr.State, status: gr.HTML) -> None:
    """Save what ``make`` gives of the comparison, without a file on the server."""
    data = gr.Textbox(visible="hidden")
    name = gr.Textbox(visible="hidden")
    button.click(make, [kept], [data, name, status], show_progress="hidden", queue=False).then(
        None, [data, name], None, js="(data, name) => dd.save(data, name)", queue=False
    )


def _saved(comparison: Comparison | None, make: Any, kind: str, name: str) -> tuple[Any, str, Any]:
    if comparison is None:
        return "", "", note("There is nothing to save yet; run a comparison to its end first.")
    return data_address(make(comparison), kind), name, gr.skip()


def _png(comparison: Comparison | None) -> Any:
    return _saved(comparison, picture, "image/png", "comparison.png")


def _gif(comparison: Comparison | None) -> Any:
    return _saved(comparison, film, "image/gif", "trajectories.gif")


def _json(comparison: Comparison | None) -> Any:
    return _saved(comparison, lambda c: record(c).encode(), "application/json", "comparison.json")
