"""The Restore tab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.operators import OPERATORS
from diffdescent.guidance.restoration import METHODS

from .. import views
from ..preparing import Mistake
from ..restoration import RestorationRun, read_upload
from ..state import State
from .compare import KEPT_SECONDS, WORK
from .fields import Fields
from .lane import QUIET


class RestoreTab:
    """A picture, an operator, a method; the samples as they come."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        plain = State().restore
        with gr.Row():
            with gr.Column(min_width=220):
                self.upload = gr.File(
                    label="A picture (at most 8 MB; without one the model draws it)",
                    elem_id="upload", height=120,
                )  # fmt: skip
                self.problem = gr.HTML(elem_id="problem-upload", elem_classes="dd-problem")
            for name, title, known in (
                ("operator", "Operator", OPERATORS), ("method", "Method", METHODS)
            ):  # fmt: skip
                with gr.Column(min_width=200):
                    chosen = gr.Dropdown(sorted(known), label=title, value=None)
                    text = fields.add(
                        f"restore.{name}",
                        gr.Textbox(
                            getattr(plain, name), label=f"{title}, as text",
                            elem_id=f"restore-{name}",
                        ),
                    )  # fmt: skip
                    chosen.input(lambda name: name, [chosen], [text], **QUIET)
        with gr.Row():
            for name, title, digits in (
                ("noise", "Noise of the measurement", None), ("evaluations", "Evaluations", 0),
                ("samples", "Samples", 0),
            ):  # fmt: skip
                with gr.Column(min_width=140):
                    fields.add(
                        f"restore.{name}",
                        gr.Number(getattr(plain, name), label=title, precision=digits),
                    )
        with gr.Row():
            self.button = gr.Button("Restore", variant="primary", elem_id="restore")
            self.cancel = gr.Button("Cancel", elem_id="restore-cancel")
        self.status = gr.HTML(elem_id="restore-status", padding=False)
        self.shown = gr.HTML(elem_id="restored", padding=False)
        self.picture = gr.State(None, time_to_live=KEPT_SECONDS)

    def connect(self) -> Any:
        """The events; the one that works is returned."""
        model = self._fields.components["model"]
        self.upload.upload(
            self.take, [self.upload, model], [self.upload, self.picture, self.problem, self.shown],
            show_progress="hidden",
        )  # fmt: skip
        model.change(lambda: None, None, [self.picture], **QUIET)  # type: ignore[attr-defined]
        outputs = [self.shown, self.status, *self._fields.places]
        inputs: list[Any] = [self.picture, *self._fields.inputs]
        return self.button.click(self.restore, inputs, outputs, **WORK)

    def take(self, path: str, model: str) -> list[Any]:
        """Read an upload and remove its file."""
        try:
            shape = tuple(self._fields.models.get(model).shape or (3, 256, 256))
            picture = read_upload(Path(path), shape)
        except UserError as error:
            return [None, None, views.mistake(str(error)), gr.skip()]
        return [None, picture, "", views.image(picture, "the picture, cut to the model's size")]

    def restore(self, picture: Tensor | None, *values: Any) -> Iterator[list[Any]]:
        """Measure and restore, and show every evaluation."""
        fields = self._fields
        skipped = [gr.skip()] * len(fields.places)
        try:
            found = RestorationRun.of(fields.setting(values), picture)
        except Mistake as mistake:
            sentences = fields.sentences({mistake.place: mistake.sentence})
            yield [gr.skip(), gr.skip(), *sentences]
            return
        yield [views.restoration(found), views.note("starting"), *fields.sentences({})]
        try:
            for _ in found.steps():
                where = views.note(f"evaluation {found.done} of {found.run.plan.nfe}")
                yield [views.restoration(found), where, *skipped]
        except UserError as error:
            yield [gr.skip(), views.mistake(str(error)), *skipped]
            return
        yield [gr.skip(), views.note("finished"), *skipped]
