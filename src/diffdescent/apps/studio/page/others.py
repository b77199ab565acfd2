"""The Read, X/Y and Landscape tabs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
import numpy as np

from diffdescent.base.errors import UserError
from diffdescent.run import Run

from .. import views
from ..converged import Solutions
from ..pictures import draw_heat_map, drawn
from ..preparing import Mistake, Setting, at, prepare_lane
from ..reading import read
from ..scenes import Scene, check_scene, draw_scene
from ..state import State
from ..sweeping import SweepRun, study_text
from .fields import Fields
from .work import checked_work, kept_work

READ = (
    "What the recipes of the Compare tab do at each step, worked out without running the model."
    " η and ν are the error model under which a grid is checked: how wrong the denoiser may be, and"
    " by which factor σ may miss the distance to the data."
)
SWEEP = (
    "Two parameters of a recipe over ranges, as images and as distances to the converged solution."
    " A parameter is a name in braces in the recipe, the grid or the guidance, or `nfe`"
    " (evaluations) or `steps`. Values are `-0.3, 0, 0.2`, or `0:1:5` for five from 0 to 1."
)
LANDSCAPE = (
    "The paths of the recipes of the Compare tab for their first image, drawn in a plane, among"
    " noisy points around them. Dark points are denoised to something near the reference ★, the end"
    " of a long run from the same start that draws new noise at each step (`ddpm`). The recipes are"
    " on their way to another image: nearer to the reference is not better."
)


class ReadTab:
    """Levels, weights, E-step and PM-step of the recipes of the Compare tab."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        plain = State().reading
        gr.Markdown(READ, elem_classes="dd-help")
        with gr.Row():
            with gr.Column(min_width=160):
                fields.add(
                    "reading.eta",
                    gr.Number(plain.eta, label="η", info="relative error of the denoiser"),
                )
            with gr.Column(min_width=160):
                fields.add(
                    "reading.nu",
                    gr.Number(plain.nu, label="ν", info="how far σ may be from the distance"),
                )
            self.button = gr.Button("Read", variant="primary", elem_id="read")
        self.shown = gr.HTML(elem_id="reading", padding=False)

    def connect(self, tab: gr.Tab) -> None:
        """Read when the tab is opened, and when it is asked for."""
        outputs = [self.shown, *self._fields.places]
        for event in (tab.select, self.button.click):
            event(self.read, self._fields.inputs, outputs, show_progress="minimal", queue=False)

    def read(self, *values: Any) -> list[Any]:
        """Everything that is read off the recipes."""
        try:
            setting = self._fields.setting(values)
            lanes = setting.state.lanes
            reads = [
                read(f"{i}: {lane.recipe}", prepare_lane(setting, i - 1))
                for i, lane in enumerate(lanes, 1)
            ]
            shown = at("reading.eta", partial(views.reading, reads, setting.state.reading))
        except Mistake as mistake:
            return [gr.skip(), *self._fields.sentences({mistake.place: mistake.sentence})]
        return [shown, *self._fields.sentences({})]


class SweepTab:
    """Two parameters over ranges."""

    def __init__(self, fields: Fields, solutions: Solutions) -> None:
        self._fields, self._solutions = fields, solutions
        plain = State().sweep
        gr.Markdown(SWEEP, elem_classes="dd-help")
        with gr.Row():
            for name, title in (
                ("sampler", "Recipe, with parameters in braces"),
                ("grid", "Grid of noise levels"),
            ):
                with gr.Column(min_width=240):
                    fields.add(
                        f"sweep.{name}",
                        gr.Textbox(getattr(plain, name), label=title, elem_id=f"sweep-{name}"),
                    )
        with gr.Row():
            for name, title in (
                ("x", "Columns: parameter"), ("xs", "Values of the columns"),
                ("y", "Rows: parameter"), ("ys", "Values of the rows"),
            ):  # fmt: skip
                with gr.Column(min_width=160):
                    fields.add(
                        f"sweep.{name}",
                        gr.Textbox(getattr(plain, name), label=title, elem_id=f"sweep-{name}"),
                    )
        with gr.Row():
            self.button = gr.Button("Run", variant="primary", elem_id="sweep-run")
            self.cancel = gr.Button("Cancel", elem_id="sweep-cancel")
            self.save = gr.Button("Save study file", elem_id="study")
        self.status = gr.HTML(elem_id="sweep-status", padding=False)
        self.shown = gr.HTML(elem_id="sweep-cells", padding=False)
        self.heat = gr.HTML(elem_id="sweep-heat", padding=False)
        self.study = gr.Textbox(
            label="sweep.yaml, the same at full size", lines=6, max_lines=20, buttons=["copy"],
            interactive=False, elem_id="study-text",
        )  # fmt: skip
        self.job = kept_work()

    def connect(self) -> list[Any]:
        """The events; those that work are returned."""
        fields = self._fields
        self.save.click(
            self.write, fields.inputs, [self.study, *fields.places], queue=False
        ).success(
            None, [self.study], None,
            js="(t) => t && dd.save('data:text/yaml;charset=utf-8,' + encodeURIComponent(t),"
            " 'sweep.yaml')",
        )  # fmt: skip
        return checked_work(
            self.button.click, self.check, fields.inputs, self.job, fields.places, self.work,
            [self.shown, self.heat, self.status],
        )  # fmt: skip

    def write(self, *values: Any) -> list[Any]:
        """The study file of the sweep."""
        try:
            text = study_text(self._fields.setting(values))
        except Mistake as mistake:
            return ["", *self._fields.sentences({mistake.place: mistake.sentence})]
        return [text, *self._fields.sentences({})]

    def check(self, *values: Any) -> list[Any]:
        """The sweep that the fields ask for, and what is wrong."""
        return self._fields.checked(values, lambda s: SweepRun.of(s, self._solutions))

    def work(self, run: SweepRun) -> Iterator[list[str]]:
        """Run the cells one after the other, and show each."""
        left, known, cells = run.note, 0, ""
        yield [cells, "", views.note("starting")]
        for _ in run.steps():
            found = len(run.tiles) + len(run.left_out) + int(np.isfinite(run.distances).sum())
            if found != known:
                known, cells = found, views.sweep(run)
            yield [cells, "", views.note(f"{run.note} {left}")]
        yield [cells, _heat_map(run), views.note(f"{run.note} {left}")]


def _heat_map(run: SweepRun) -> str:
    if not np.isfinite(run.distances).any():
        return ""
    names = run.setting.state.sweep
    draw = partial(
        draw_heat_map, run.distances, [f"{x}" for x in run.xs], [f"{y}" for y in run.ys],
        (names.x, names.y),
    )  # fmt: skip
    return views.figure(drawn(draw), "Distances of all cells to the converged solution")


class LandscapeTab:
    """The trajectories among their surroundings."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        plain = State().scene
        gr.Markdown(LANDSCAPE, elem_classes="dd-help")
        with gr.Row(equal_height=True):
            with gr.Column(min_width=160):
                fields.add(
                    "scene.around",
                    gr.Number(
                        plain.around,
                        label="Neighbours",
                        info="noisy points around each state",
                        precision=0,
                    ),
                )
            with gr.Column(min_width=160):
                fields.add(
                    "scene.spread",
                    gr.Number(
                        plain.spread, label="Spread", info="standard deviation of their noise"
                    ),
                )
            with gr.Column(min_width=160):
                fields.add(
                    "scene.reference",
                    gr.Number(
                        plain.reference, label="Reference", info="steps of the run that ends at ★",
                        precision=0,
                    ),
                )  # fmt: skip
        with gr.Row():
            self.button = gr.Button("Draw", variant="primary", elem_id="draw")
            self.cancel = gr.Button("Cancel", elem_id="draw-cancel")
        self.status = gr.HTML(elem_id="scene-status", padding=False)
        self.shown = gr.HTML(elem_id="scene", padding=False)
        self.job = kept_work()

    def connect(self) -> list[Any]:
        """The events that work."""
        fields = self._fields
        return checked_work(
            self.button.click, self.check, fields.inputs, self.job, fields.places, self.work,
            [self.shown, self.status],
        )  # fmt: skip

    def check(self, *values: Any) -> list[Any]:
        """The landscape that the fields ask for, and what is wrong."""
        return self._fields.checked(values, SceneJob.of)

    def work(self, job: SceneJob) -> Iterator[list[str]]:
        """Compute piece by piece, then the picture."""
        yield ["", views.note("starting")]
        try:
            for one in draw_scene(job.setting, job.runs):
                if isinstance(one, Scene):
                    shown = views.figure(one.picture, "Trajectories among their surroundings")
                    yield [shown, "".join(map(views.note, one.notes))]
                else:
                    yield ["", views.note(one)]
        except UserError as error:
            yield ["", views.mistake(str(error))]


@dataclass(frozen=True)
class SceneJob:
    """The runs of a landscape."""

    setting: Setting
    runs: list[Run]

    @classmethod
    def of(cls, setting: Setting) -> SceneJob:
        """Everything prepared. Raises :class:`Mistake`."""
        check_scene(setting)
        return cls(setting, [prepare_lane(setting, i) for i in range(len(setting.state.lanes))])
