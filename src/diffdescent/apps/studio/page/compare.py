"""The Compare tab."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from ..comparing import FRAMES, Comparison, Mistakes
from ..converged import Solutions
from ..exports import film, picture, record
from ..preparing import Mistake
from ..snippets import Snippets, snippets
from ..state import LANES
from ..views import data_address, lane, note, running
from .fields import Fields
from .lane import LaneFields
from .work import checked_work, kept_work

TEXTS = ("recipe", "python", "command", "diffusers")
NAMES = {
    "recipe": "Recipe",
    "python": "Python",
    "command": "Command line",
    "diffusers": "In a diffusers pipeline",
}
HELP = (
    "A recipe is a solver and, after `|`, what changes its steps: `ddim | momentum(beta=-0.3)`."
    " Change the text, the sliders or *All options*, and press **Run**. Under each image stands its"
    " distance (RMSE) to the converged solution, where the model ends from the same noise with many"
    " evaluations: smaller is better."
)
SECONDS = 0.2
"""Between two messages of long runs and of the converged solution: a browser on a busy machine
falls behind a flood of them, and answers no click. Runs of up to :data:`FRAMES` evaluations show
every one."""


class CompareTab:
    """Four lanes with their controls, previews and texts to copy."""

    def __init__(self, fields: Fields, solutions: Solutions) -> None:
        self._fields, self._solutions = fields, solutions
        gr.Markdown(HELP, elem_classes="dd-help")
        with gr.Row():
            self.run = gr.Button("Run", variant="primary", elem_id="run")
            self.cancel = gr.Button("Cancel", elem_id="cancel")
            self.png = gr.Button("Save PNG", elem_id="png")
            self.json = gr.Button("Save record", elem_id="json")
            self.gif = gr.Button("Save GIF", elem_id="gif")
        self.status = gr.HTML(elem_id="status", padding=False)
        self.slider = gr.Slider(
            0, 1, value=1, step=0.01, label="Look back (0: the first estimate, 1: the image)",
            elem_id="trajectory",
        )  # fmt: skip
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
                                label=NAMES[name], lines=2, max_lines=16, buttons=["copy"],
                                interactive=False, elem_id=f"{name}-text{number}",
                            )
                            for name in TEXTS
                        ]  # fmt: skip
                self.columns.append(column)
        self.kept = kept_work()
        self.asked = gr.State(False)

    def connect(self) -> list[Any]:
        """The events, once all fields are there; those that work are returned."""
        self.slider.change(None, [self.slider], None, js="(share) => dd.scrub(share)")
        for button, make in ((self.png, _png), (self.json, _json), (self.gif, _gif)):
            _download(button, make, self.kept, self.status)
        return self.on(self.run.click, self.check, self._fields.inputs)

    def resume(self, event: Any) -> None:
        """Run at once what an address has asked for, after ``event``."""
        self.on(event.then, self._checked_if_asked, [self.asked, *self._fields.inputs])

    def on(self, event: Any, check: Any, inputs: list[Any]) -> list[Any]:
        """Check and work after an event."""
        said = [self.slider, *self.texts, *self._fields.places]
        moving = [*self.shown, self.status]
        return checked_work(event, check, inputs, self.kept, said, self.work, moving)

    def check(self, *values: Any) -> list[Any]:
        """The comparison that the fields ask for, what can be copied, and what is wrong."""
        fields = self._fields
        try:
            setting = fields.setting(values)
            comparison = Comparison.of(setting, self._solutions)
        except Mistake as mistake:
            return self._refused({mistake.place: mistake.sentence})
        except Mistakes as mistakes:
            return self._refused(mistakes.sentences)
        state = setting.state
        model = state.model or fields.models.first
        copied = [snippets(setting, number, model) for number in range(len(state.lanes))]
        return [comparison, 1, *_written(copied), *fields.sentences({})]

    def work(self, comparison: Comparison) -> Iterator[list[str]]:
        """Run a comparison, and show every evaluation."""
        shown, changed, said = [_empty()] * LANES, set[int](), 0.0
        yield [*shown, note("starting")]
        for number in comparison.steps():
            one = None if number is None else comparison.lanes[number]
            changed |= set() if number is None else {number}
            every = one is not None and (one.nfe <= FRAMES or one.finished)
            if not every and time.monotonic() - said < SECONDS:
                continue
            for i in changed:
                shown[i] = lane(comparison.lanes[i])
            changed, said = set(), time.monotonic()
            yield [*shown, running(comparison)]
        yield [*shown, running(comparison)]

    def _checked_if_asked(self, asked: bool, *values: Any) -> Iterator[list[Any]]:
        if asked:
            yield self.check(*values)

    def _refused(self, mistakes: dict[str, str]) -> list[Any]:
        skipped = [gr.skip()] * (1 + len(self.texts))
        return [None, *skipped, *self._fields.sentences(mistakes)]


def _empty() -> str:
    return '<figure class="dd-lane"><div class="dd-empty"></div></figure>'


def _written(copied: list[Snippets]) -> list[str]:
    found = [getattr(one, name) for one in copied for name in TEXTS]
    return found + [""] * (LANES * len(TEXTS) - len(found))


def _download(button: gr.Button, make: Any, kept: gr.State, status: gr.HTML) -> None:
    """Save what ``make`` gives of the comparison, without a file on the server. The page keeps none
    of it: a browser lays out every field, of megabytes too."""
    data = gr.Textbox(visible="hidden")
    name = gr.Textbox(visible="hidden")
    button.click(make, [kept], [data, name, status], show_progress="hidden", queue=False).then(
        None, [data, name], [data, name], queue=False,
        js="(data, name) => { dd.save(data, name); return ['', '']; }",
    )  # fmt: skip


def _saved(comparison: Comparison | None, make: Any, kind: str, name: str) -> tuple[Any, str, Any]:
    shown = comparison is not None and any(lane.frames for lane in comparison.lanes)
    if comparison is None or not comparison.finished or not shown:
        return "", "", note("There is nothing to save yet; run a comparison to its end first.")
    return data_address(make(comparison), kind), name, gr.skip()


def _png(comparison: Comparison | None) -> Any:
    return _saved(comparison, picture, "image/png", "comparison.png")


def _gif(comparison: Comparison | None) -> Any:
    return _saved(comparison, film, "image/gif", "trajectories.gif")


def _json(comparison: Comparison | None) -> Any:
    return _saved(comparison, lambda c: record(c).encode(), "application/json", "comparison.json")
