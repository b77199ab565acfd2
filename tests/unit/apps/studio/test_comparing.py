"""Comparisons without a browser: every evaluation seen, mistakes in their places, the same images
as everywhere else."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image

import diffdescent as dd
from diffdescent.apps.cli.app import main
from diffdescent.apps.studio.comparing import Comparison, Mistakes
from diffdescent.apps.studio.converged import Distance, Solutions
from diffdescent.apps.studio.exports import film, picture, record
from diffdescent.apps.studio.models import Models
from diffdescent.apps.studio.page.compare import _png
from diffdescent.apps.studio.preparing import Setting
from diffdescent.apps.studio.snippets import snippets
from diffdescent.apps.studio.state import Lane, State
from diffdescent.base.errors import UserError
from diffdescent.base.images import read_image, to_uint8
from diffdescent.models.flowmap import exact_solution
from diffdescent.run import noise_for

MODELS = Models()
SMALL = State(
    lanes=(Lane("ddim"), Lane("ddim | ge", "loglinear", 3), Lane("heun")),
    budget=5,
    images=2,
    converged=0,
)


def compared(state: State, solutions: Solutions | None = None) -> Comparison:
    setting = Setting(state, MODELS.get(state.model))
    return Comparison.of(setting, solutions or Solutions())


def finished(state: State) -> Comparison:
    made = compared(state)
    for _ in made.steps():
        pass
    return made


@pytest.fixture(scope="module")
def done() -> Comparison:
    return finished(SMALL)


def test_lanes_take_turns_and_every_evaluation_is_seen() -> None:
    made = compared(SMALL)
    turns, previews = [], []
    for i in made._images():
        turns.append(i)
        previews.append(made.lanes[i].newest)
    assert [lane.nfe for lane in made.lanes] == [5, 3, 5]
    assert turns[:6] == [0, 1, 2, 0, 1, 2]
    first = [previews[k] for k, i in enumerate(turns) if i == 0]
    assert all(not torch.equal(a, b) for a, b in pairwise(first[:5]))
    assert [lane.frame_at for lane in made.lanes] == [
        [1, 2, 3, 4, 5, 5],
        [1, 2, 3, 3],
        [1, 2, 3, 4, 5, 5],
    ]


def test_a_comparison_that_is_left_computes_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    made, asked = compared(SMALL), []
    model = type(made.setting.model)
    call = model.__call__

    def counting(self: object, *values: object, **options: object) -> object:
        asked.append(1)
        return call(self, *values, **options)

    monkeypatch.setattr(model, "__call__", counting)
    steps = made.steps()
    next(steps)
    next(steps)
    steps.close()
    assert len(asked) == 2


def test_many_evaluations_keep_few_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffdescent.apps.studio.comparing.FRAMES", 10)
    made = finished(replace(SMALL, lanes=(Lane("ddim"),), budget=25, images=1))
    assert made.lanes[0].frame_at == [*range(1, 26, 3), 25]


def test_the_end_names_the_recipes_that_are_nearest() -> None:
    """As far as the error of the converged solution lets one say; noise is left out."""
    lanes = (Lane("ddim"), Lane("ddim | ge"), Lane("unipc"), Lane("ddim(eta=1)"))
    made = compared(replace(SMALL, lanes=lanes))
    assert made._closest() == ""
    for lane, value in zip(made.lanes, (0.1, 0.05, 0.056, 0.01), strict=True):
        lane.distance = Distance(value, 0.004)
    assert made._closest() == "; recipes 2 and 3 are nearest to the converged solution"
    made.lanes[2].distance = Distance(0.06, 0.004)
    assert made._closest() == "; recipe 2 is nearest to the converged solution"


def test_the_distance_is_that_to_the_exact_solution() -> None:
    """The converged run stands for the limit: its distance to the exact flow is of the size that it
    says."""
    made = finished(replace(SMALL, lanes=SMALL.lanes[1:2], converged=32))
    lane = made.lanes[0]
    assert lane.distance is not None
    grid, model = lane.run.grid, made.setting.model
    x = noise_for(0, range(2), lane.run.shape) * grid.process.start_scale(grid.points[0])
    exact = exact_solution(model, x, grid.points[0], grid.points[-1], rtol=1e-3, atol=1e-3).x
    assert lane.images is not None
    true = float((lane.images - exact).square().mean().sqrt())
    assert lane.distance.value == pytest.approx(true, abs=lane.distance.error)
    assert lane.distance.error < 0.2 * true
    again = compared(made.setting.state, made.solutions)
    assert sum(1 for _ in again.steps()) == 3 + 1 + 1 + 1  # the solution is there already
    assert again.lanes[0].distance == lane.distance


@pytest.mark.parametrize(
    ("change", "place", "command"),
    [
        ({"lanes": (Lane("ddim | nope"),)}, "recipe1", ["--sampler", "ddim | nope"]),
        ({"lanes": (Lane("unipc | ge"),)}, "recipe1", ["--sampler", "unipc | ge"]),
        ({"lanes": (Lane("ddim"), Lane("ddim", "kara"))}, "grid2", ["--grid", "kara"]),
        ({"budget": 10**6}, "budget", ["--steps", "1000000"]),
        ({"budget": 0}, "budget", ["--steps", "0"]),
        ({"seed": -1}, "seed", ["--seed", "-1"]),
        ({"guidance": "cfg(scale=x)"}, "guidance", ["--guidance", "cfg(scale=x)"]),
        ({"label": "unicorn"}, "label", ["--label", "unicorn"]),
    ],
)
def test_mistakes_stand_at_their_control_in_the_words_of_the_command_line(
    change: dict[str, object],
    place: str,
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    with pytest.raises(Mistakes) as found:
        compared(replace(SMALL, counted="steps", **change))  # type: ignore[arg-type]
    assert list(found.value.sentences) == [place]
    words = ["diffdescent", "sample", "cifar10-mixture", "--out", str(tmp_path / "o"), *command]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    # The command line writes an option as it is given there.
    said = capsys.readouterr().err.replace("The option '--", "The option '")
    assert found.value.sentences[place] in said


def test_a_model_that_is_not_offered_is_not_loaded() -> None:
    with pytest.raises(UserError, match="Unknown model '/etc'"):
        MODELS.get("/etc")


def test_snippets_make_the_same_images(
    done: Comparison, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lane = done.lanes[1]
    assert lane.images is not None
    text = snippets(done.setting, 1, "cifar10-mixture")
    names: dict[str, object] = {}
    exec(text.python, names)
    result = names["result"]
    assert isinstance(result, dd.Result)
    assert torch.equal(result.images, lane.images)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [*shlex.split(text.command), "--quiet"])
    with pytest.raises(SystemExit, match="0"):
        main()
    for i, image in enumerate(to_uint8(lane.images)):
        assert torch.equal(read_image(next(tmp_path.glob(f"out/**/*{i}.png"))), image)


def test_the_line_for_diffusers_runs() -> None:
    diffusers = pytest.importorskip("diffusers")
    made = compared(SMALL)
    text = snippets(made.setting, 1, "cifar10-mixture").diffusers

    class Pipe:
        scheduler = diffusers.DDIMScheduler()

    exec(text, {"pipe": Pipe})
    assert str(Pipe.scheduler.recipe).startswith("ddim | ge")
    assert Pipe.scheduler.config["grid"] == "loglinear"


def test_exports(done: Comparison) -> None:
    with Image.open(io.BytesIO(picture(done))) as shown:
        assert shown.format == "PNG"
        wide = shown.size
    with Image.open(io.BytesIO(film(done))) as moving:
        assert (moving.format, moving.size) == ("GIF", wide)
        assert moving.n_frames == 6
        first = moving.convert("RGB").tobytes()
        moving.seek(5)
        assert moving.convert("RGB").tobytes() != first
    found = json.loads(record(done))
    assert State.of_query(found["address"].removeprefix("?")) == SMALL
    assert [lane["record"]["recipe"] for lane in found["lanes"]] == [
        str(lane.run.asked) for lane in done.lanes
    ]


def test_a_grid_that_drops_levels_is_copied_with_the_steps_that_were_asked() -> None:
    made = compared(State(lanes=(Lane("ddim", "quadratic", 64),), counted="steps", images=1))
    (lane,) = made.lanes
    assert lane.run.grid.steps < 64
    assert "--steps 64 " in snippets(made.setting, 0, "cifar10-mixture").command


def test_a_comparison_without_any_image_has_nothing_to_save(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> Iterator[None]:
        raise UserError("the model failed")
        yield

    made = compared(SMALL)
    monkeypatch.setattr("diffdescent.apps.studio.comparing.watch", fail)
    for _ in made.steps():
        pass
    assert made.finished
    data, name, said = _png(made)
    assert (data, name) == ("", "")
    assert "nothing to save" in said
