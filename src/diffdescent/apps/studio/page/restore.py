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
from ..restoration import RestorationRun, read_upload
from ..state import State
from .fields import Fields
from .lane import QUIET
from .work import checked_work, kept_work


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
        self.picture, self.job = kept_work(), kept_work()

    def connect(self) -> list[Any]:
        """The events; those that work are returned."""
        model = self._fields.components["model"]
        self.upload.upload(
            self.take, [self.upload, model], [self.upload, self.picture, self.problem, self.shown],
            show_progress="hidden",
        )  # fmt: skip
        model.change(lambda: None, None, [self.picture], **QUIET)  # type: ignore[attr-defined]
        inputs: list[Any] = [self.picture, *self._fields.inputs]
        return checked_work(
            self.button.click, self.check, inputs, self.job, self._fields.places, self.work,
            [self.shown, self.status],
        )  # fmt: skip

    def take(self, path: str, model: str) -> list[Any]:
        """Read an upload and remove its file."""
        try:
            shape = tuple(self._fields.models.get(model).shape or (3, 256, 256))
            picture = read_upload(Path(path), shape)
        except UserError as error:
            return [None, None, views.mistake(str(error)), gr.skip()]
        return [None, picture, "", views.image(picture, "the picture, cut to the model's size")]

    def check(self, picture: Tensor | None, *values: Any) -> list[Any]:
        """The restoration that the fields ask for, and what is wrong."""
        return self._fields.checked(values, lambda setting: RestorationRun.of(setting, picture))

    def work(self, found: RestorationRun) -> Iterator[list[str]]:
        """Restore, and show every evaluation."""
        yield [views.restoration(found), views.note("starting")]
        try:
            for _ in found.steps():
                where = views.note(f"evaluation {found.done} of {found.run.plan.nfe}")
                yield [views.restoration(found), where]
        except UserError as error:
            yield [views.restoration(found), views.mistake(str(error))]
            return
        yield [views.restoration(found), views.note("finished")]
