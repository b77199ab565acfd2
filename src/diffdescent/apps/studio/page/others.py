"""The Read, X/Y and Landscape tabs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import gradio as gr
import numpy as np

from diffdescent.base.errors import UserError

from .. import views
from ..converged import Solutions
from ..pictures import draw_heat_map, drawn
from ..preparing import Mistake, prepare_lane
from ..reading import read
from ..scenes import Scene, check_scene, draw_scene
from ..state import State
from ..sweeping import SweepRun, study_text
from .compare import WORK
from .fields import Fields


class ReadTab:
    """Levels, weights, E-step and PM-step of the recipes of the Compare tab."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        plain = State().reading
        with gr.Row():
            with gr.Column(min_width=160):
                fields.add("reading.eta", gr.Number(plain.eta, label="η, the denoiser's error"))
            with gr.Column(min_width=160):
                fields.add("reading.nu", gr.Number(plain.nu, label="ν, the band"))
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
            shown = _at("reading.eta", partial(views.reading, reads, setting.state.reading))
        except Mistake as mistake:
            return [gr.skip(), *self._fields.sentences({mistake.place: mistake.sentence})]
        return [shown, *self._fields.sentences({})]


class SweepTab:
    """Two parameters over ranges."""

    def __init__(self, fields: Fields, solutions: Solutions) -> None:
        self._fields, self._solutions = fields, solutions
        plain = State().sweep
        with gr.Row():
            for name, title in (("sampler", "Recipe, parameters in braces"), ("grid", "Grid")):
                with gr.Column(min_width=240):
                    fields.add(
                        f"sweep.{name}",
                        gr.Textbox(getattr(plain, name), label=title, elem_id=f"sweep-{name}"),
                    )
        with gr.Row():
            for name, title in (
                ("x", "x: a parameter, nfe or steps"), ("xs", "values of x"),
                ("y", "y: a parameter, nfe or steps"), ("ys", "values of y"),
            ):  # fmt: skip
                with gr.Column(min_width=160):
                    fields.add(
                        f"sweep.{name}",
                        gr.Textbox(getattr(plain, name), label=title, elem_id=f"sweep-{name}"),
                    )
        with gr.Row():
            self.button = gr.Button("Run", variant="primary", elem_id="sweep-run")
            self.cancel = gr.Button("Cancel", elem_id="sweep-cancel")
            self.save = gr.Button("Study file", elem_id="study")
        self.status = gr.HTML(elem_id="sweep-status", padding=False)
        self.shown = gr.HTML(elem_id="sweep-cells", padding=False)
        self.heat = gr.HTML(elem_id="sweep-heat", padding=False)
        self.study = gr.Textbox(
            label="sweep.yaml", lines=6, max_lines=20, buttons=["copy"], interactive=False,
            elem_id="study-text",
        )  # fmt: skip

    def connect(self) -> Any:
        """The events; the one that works is returned."""
        fields = self._fields
        self.save.click(
            self.write, fields.inputs, [self.study, *fields.places], queue=False
        ).success(
            None, [self.study], None,
            js="(t) => t && dd.save('data:text/yaml;charset=utf-8,' + encodeURIComponent(t),"
            " 'sweep.yaml')",
        )  # fmt: skip
        outputs = [self.shown, self.heat, self.status, *fields.places]
        return self.button.click(self.sweep, fields.inputs, outputs, **WORK)

    def write(self, *values: Any) -> list[Any]:
        """The study file of the sweep."""
        try:
            text = study_text(self._fields.setting(values))
        except Mistake as mistake:
            return ["", *self._fields.sentences({mistake.place: mistake.sentence})]
        return [text, *self._fields.sentences({})]

    def sweep(self, *values: Any) -> Iterator[list[Any]]:
        """Run the cells one after the other, and show each."""
        fields = self._fields
        skipped = [gr.skip()] * len(fields.places)
        try:
            run = SweepRun.of(fields.setting(values), self._solutions)
        except Mistake as mistake:
            sentences = fields.sentences({mistake.place: mistake.sentence})
            yield [gr.skip(), gr.skip(), gr.skip(), *sentences]
            return
        left, shown = run.note, -1
        yield ["", "", views.note("starting"), *fields.sentences({})]
        for _ in run.steps():
            known = len(run.tiles) + len(run.left_out) + int(np.isfinite(run.distances).sum())
            cells = views.sweep(run) if known != shown else gr.skip()
            shown = known
            yield [cells, gr.skip(), views.note(f"{run.note} {left}"), *skipped]
        yield [gr.skip(), _heat_map(run), gr.skip(), *skipped]


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
        with gr.Row():
            with gr.Column(min_width=160):
                fields.add(
                    "scene.around",
                    gr.Number(plain.around, label="Noisy neighbours of a state", precision=0),
                )
            with gr.Column(min_width=160):
                fields.add("scene.spread", gr.Number(plain.spread, label="Their spread"))
            with gr.Column(min_width=160):
                fields.add(
                    "scene.reference",
                    gr.Number(plain.reference, label="Steps of the reference", precision=0),
                )
        with gr.Row():
            self.button = gr.Button("Draw", variant="primary", elem_id="draw")
            self.cancel = gr.Button("Cancel", elem_id="draw-cancel")
        self.status = gr.HTML(elem_id="scene-status", padding=False)
        self.shown = gr.HTML(elem_id="scene", padding=False)

    def connect(self) -> Any:
        """The event that works."""
        outputs = [self.shown, self.status, *self._fields.places]
        return self.button.click(self.draw, self._fields.inputs, outputs, **WORK)

    def draw(self, *values: Any) -> Iterator[list[Any]]:
        """Compute piece by piece, then the picture."""
        fields = self._fields
        skipped = [gr.skip()] * len(fields.places)
        try:
            setting = fields.setting(values)
            check_scene(setting)
            runs = [prepare_lane(setting, i) for i in range(len(setting.state.lanes))]
        except Mistake as mistake:
            sentences = fields.sentences({mistake.place: mistake.sentence})
            yield [gr.skip(), gr.skip(), *sentences]
            return
        yield ["", views.note("starting"), *fields.sentences({})]
        try:
            for one in draw_scene(setting, runs):
                if isinstance(one, Scene):
                    shown = views.figure(one.picture, "Trajectories among their surroundings")
                    yield [shown, "".join(map(views.note, one.notes)), *skipped]
                else:
                    yield [gr.skip(), views.note(one), *skipped]
        except UserError as error:
            yield [gr.skip(), views.mistake(str(error)), *skipped]


def _at(place: str, attempt: Any) -> Any:
    with suppress(Mistake):
        try:
            return attempt()
        except UserError as error:
            raise Mistake(place, str(error)) from None
    return None
