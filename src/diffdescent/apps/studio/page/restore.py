"""The Restore tab."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.operators import OPERATORS
from diffdescent.guidance.restoration import METHODS

from .. import views
from ..restoration import MOST_BYTES, TOO_LARGE, RestorationRun, read_upload
from ..state import State
from .fields import Fields
from .lane import QUIET
from .work import checked_work, kept_work

HELP = (
    "A picture is damaged (*what is done to it*, then noise), and the model draws what it may have"
    " been. Upload one of at most 8 MB, or let the model draw it. PSNR says how near the mean of"
    " the samples is to the picture: more is better."
)


class RestoreTab:
    """A picture, an operator, a method; the samples as they come."""

    def __init__(self, fields: Fields, tab: gr.Tab) -> None:
        self._fields = fields
        plain = State().restore
        gr.Markdown(HELP, elem_classes="dd-help")
        with gr.Row():
            with gr.Column(min_width=220):
                self.upload = gr.File(label="A picture", elem_id="upload", height=150)
                gr.HTML(
                    f'<p class="dd-mistake" role="alert" data-most="{MOST_BYTES}"'
                    f' data-sentence="{escape(TOO_LARGE, quote=True)}" hidden></p>',
                    elem_id="problem-size", elem_classes="dd-problem", padding=False,
                )  # fmt: skip
                self.problem = gr.HTML(
                    elem_id="problem-upload", elem_classes="dd-problem", padding=False
                )
            for name, title, known in (
                ("operator", "What is done to it", OPERATORS), ("method", "Method", METHODS)
            ):  # fmt: skip
                with gr.Column(min_width=200):
                    chosen = gr.Dropdown(
                        sorted(known), label=title, value=_name(getattr(plain, name))
                    )
                    text = fields.add(
                        f"restore.{name}",
                        gr.Textbox(
                            getattr(plain, name), label="with its options, as text",
                            elem_id=f"restore-{name}",
                        ),
                    )  # fmt: skip
                    chosen.input(lambda name: name, [chosen], [text], **QUIET)
                    # Not at its change: see LaneFields.
                    seen = [text.blur, text.submit, tab.select]
                    gr.on(seen, _chosen(known), [text], [chosen], **QUIET)
        with gr.Row():
            for name, title, digits in (
                ("noise", "Noise added to what is measured", None),
                ("evaluations", "Evaluations of a sample", 0), ("samples", "Samples", 0),
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
        model.change(  # type: ignore[attr-defined]
            _dropped, [self.picture], [self.picture, self.problem], **QUIET
        )
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
        return [None, picture, "", views.uploaded(picture)]

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


def _name(text: str) -> str:
    """The operator or the method that a text begins with."""
    return text.partition("(")[0].strip()


def _chosen(known: Collection[str]) -> Any:
    def show(text: str) -> Any:
        return _name(text) if _name(text) in known else None

    return show


def _dropped(picture: Tensor | None) -> tuple[None, Any]:
    """A picture that was cut to the size of another model is no longer there."""
    if picture is None:
        return None, gr.skip()
    return None, views.mistake("The picture was cut for another model; upload it again.")
