"""What the other tabs show, without a browser: readings, sweeps, landscapes, restorations."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from diffdescent.apps.studio import views
from diffdescent.apps.studio.background import Made, watched
from diffdescent.apps.studio.converged import Solutions
from diffdescent.apps.studio.models import Models
from diffdescent.apps.studio.preparing import Mistake, Setting, prepare_lane
from diffdescent.apps.studio.reading import Read, admissible, read, table
from diffdescent.apps.studio.restoration import MOST_BYTES, RestorationRun, read_upload
from diffdescent.apps.studio.scenes import Scene, draw_scene
from diffdescent.apps.studio.state import Lane, Reading, Restoring, State, Sweep
from diffdescent.apps.studio.state import Scene as SceneState
from diffdescent.apps.studio.sweeping import SweepRun, study_text, values_of
from diffdescent.base.errors import UserError
from diffdescent.lab.study import execute, load_study

MODELS = Models()
SMALL = State(budget=3, images=2, converged=16)


def setting_of(state: State) -> Setting:
    return Setting(state, MODELS.get(state.model))


def reads_of(*lanes: Lane) -> list[Read]:
    setting = setting_of(replace(SMALL, lanes=lanes, budget=6))
    return [read(lane.recipe, prepare_lane(setting, i)) for i, lane in enumerate(lanes)]


def test_reading() -> None:
    ge, unipc, clipped = reads_of(Lane("ge", "loglinear"), Lane("unipc"), Lane("ddim | threshold"))
    assert ge.order.startswith("On equal small steps of σ̃ = σ/α: order 1, error constant -0.5")
    assert unipc.order.startswith("No linear multistep method")
    assert clipped.problem is not None
    assert "not linear" in clipped.problem
    head, rows = table([ge, unipc, clipped])
    assert head == ["", "SGD", "SGD with momentum", "ddim | ge", "unipc"]
    assert rows[1][3] == "2·ε − ε[−1]"
    page = views.reading([ge, unipc, clipped], Reading())
    assert page.count("<img") == 3  # the levels, and two heat maps
    assert admissible(ge, Reading()).startswith("Admissible with η = 0.06 and ν = 4")
    assert admissible(ge, Reading(0.5, 2.0)).startswith("Not admissible with η = 0.5 and ν = 2")
    with pytest.raises(UserError, match="η ≥ 0"):
        admissible(ge, Reading(-1.0, 4.0))


def test_what_a_visitor_writes_is_escaped() -> None:
    assert "<script" not in views.mistake("Unknown sampler '<script>alert(1)</script>'")
    assert "&lt;b&gt;" in views.note("<b>")


SWEPT = replace(
    SMALL,
    sweep=Sweep("ddim | momentum(beta={beta})", "loglinear", "beta", "-0.2, 0", "nfe", "2, 4"),
)


@pytest.mark.slow
def test_a_sweep_is_the_study_that_it_writes(tmp_path: Path) -> None:
    setting = setting_of(replace(SWEPT, converged=64))
    run = SweepRun.of(setting, Solutions())
    for _ in run.steps():
        pass
    assert run.note == "finished"
    assert len(run.tiles) == 4
    assert views.sweep(run).count("<img") == 4
    path = tmp_path / "sweep.yaml"
    path.write_text(study_text(setting), encoding="utf-8")
    config = load_study(path, {"n": 2, "resamples": 0, "shard": 2})
    frame = execute(config, tmp_path / "out").frame
    for row in frame.iter_rows(named=True):
        place = run.ys.index(row["nfe"]), run.xs.index(float(row["beta"]))
        # A difference of a few thousandths is that of the converged run to the exact solution.
        assert run.distances[place] == pytest.approx(row["value"], abs=0.01)
    assert len(frame) == 4


@pytest.mark.slow
def test_a_sweep_of_guidance_runs_as_it_is_saved(tmp_path: Path) -> None:
    state = replace(
        SWEPT,
        guidance="cfg(scale={scale})",
        label="dog",
        sweep=replace(SWEPT.sweep, x="scale", xs="1, 3", sampler="ddim"),
    )
    text = study_text(setting_of(state))
    assert text.startswith("# diffdescent study sweep.yaml --out sweep\n")
    found = yaml.safe_load(text)
    assert found["parameters"] == {"scale": [1, 3]}
    assert (found["labels"], found["guidance"]) == ("dog", ["cfg(scale={scale})"])
    path = tmp_path / "sweep.yaml"
    path.write_text(text, encoding="utf-8")
    frame = execute(load_study(path, {"n": 2, "resamples": 0, "shard": 2}), tmp_path / "out").frame
    assert {row["metric"] for row in frame.iter_rows(named=True)} == {"solution_rmse"}
    assert len(frame) == 4


FITTED = "calibrated('cifar10-mixture-unlabelled-5') | momentum({beta})"
"""It has five steps, whatever is asked for."""


def test_values_of_an_axis() -> None:
    assert values_of("0:1:5", "x") == [0, 0.25, 0.5, 0.75, 1]
    assert values_of("-0.3, auto", "x") == [-0.3, "auto"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"x": "gamma"}, "sweep.x"),
        ({"y": "beta"}, "sweep.y"),
        ({"x": "nfe", "y": "steps", "xs": "4,5", "ys": "4,5"}, "sweep.y"),
        ({"xs": "0:1"}, "sweep.xs"),
        ({"xs": ""}, "sweep.xs"),
        ({"xs": "0:1:1000000"}, "sweep.xs"),
        ({"sampler": "ddim | momentum({beta"}, "sweep.sampler"),
        ({"sampler": "nope | momentum({beta})"}, "sweep.sampler"),
        ({"sampler": FITTED, "grid": "", "y": "steps", "ys": "4,6"}, "sweep.sampler"),
    ],
)
def test_mistakes_of_a_sweep(change: dict[str, str], place: str) -> None:
    state = replace(SWEPT, sweep=replace(SWEPT.sweep, **change))
    with pytest.raises(Mistake) as found:
        SweepRun.of(setting_of(state), Solutions())
    assert found.value.place == place


def test_a_landscape() -> None:
    state = replace(SMALL, lanes=(Lane("ddim"), Lane("ge")), scene=SceneState(2, 1.0, 4))
    setting = setting_of(state)
    *counted, last = draw_scene(setting, [prepare_lane(setting, i) for i in range(2)])
    assert counted == [f"piece {i} of 9" for i in range(1, 10)]
    assert isinstance(last, Scene)
    assert last.picture.startswith(b"\x89PNG")
    assert "ddim: RMSE" in " ".join(last.notes)


def test_a_computation_that_is_left_ends() -> None:
    done: list[int] = []

    def work(progress: object) -> None:
        for i in range(1000):
            done.append(i)
            time.sleep(0.002)
            progress(i)  # type: ignore[operator]

    watching = watched(work)
    next(watching)
    watching.close()
    count = len(done)
    assert count < 1000
    assert [*watched(lambda progress: 7)] == [Made(7)]


def picture_file(folder: Path, size: tuple[int, int] = (90, 60)) -> Path:
    path = folder / "photo.jpg"
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_an_upload_is_cut_and_removed(tmp_path: Path) -> None:
    path = picture_file(tmp_path)
    assert read_upload(path, (3, 32, 32)).shape == (3, 32, 32)
    assert not path.exists()
    assert read_upload(picture_file(tmp_path), (1, 28, 20)).shape == (1, 28, 20)


def test_an_upload_of_one_row_is_not_enlarged_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "row.png"
    Image.new("L", (2_000_000, 1), 77).save(path)
    assert set(read_upload(path, (1, 32, 32)).unique().tolist()) == {77}


def test_a_photo_lies_as_its_camera_did_and_16_bits_are_scaled(tmp_path: Path) -> None:
    pixels = np.zeros((4, 8), np.uint16)
    pixels[:, :4] = 30000
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise: what is left comes to be above
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    seen = read_upload(tmp_path / "a.png", (1, 8, 4))[0]
    assert seen.tolist() == [[117] * 4] * 4 + [[0] * 4] * 4


@pytest.mark.parametrize("content", [b"\x80\x04\x95nothing", b"", b"\x89PNG\r\n\x1a\nbroken"])
def test_an_upload_that_is_no_image_is_refused_and_removed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"photo.png cannot be decoded \(.*\); give a PNG or"):
        read_upload(path, (3, 32, 32))
    assert not path.exists()


def test_an_upload_that_is_too_large_is_refused_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(bytes(MOST_BYTES + 1))
    with pytest.raises(UserError, match="at most 8 MB"):
        read_upload(path, (3, 32, 32))
    assert not path.exists()


def test_a_restoration(monkeypatch: pytest.MonkeyPatch) -> None:
    state = replace(SMALL, restore=Restoring("mask(box=[8, 8, 24, 24])", 0.0, "ddnm", 5, 2))
    setting = setting_of(state)
    with monkeypatch.context() as patched:  # evaluations are work, and wait for their turn
        patched.setattr(type(setting.model), "__call__", None, raising=False)
        found = RestorationRun.of(setting, None)
    assert found.psnr is None
    assert found.truth is None
    previews = []
    for _ in found.steps():
        assert found.truth is not None
        if found.preview is not None:
            previews.append(found.preview)
    assert len(previews) == 5 + 1
    assert found.images is not None
    assert found.images.shape[0] == 2
    assert found.psnr is not None
    assert 5 < found.psnr < math.inf
    assert not torch.equal(found.images[0], found.images[1])
    assert "PSNR" in views.restoration(found)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"operator": "blurr"}, "restore.operator"),
        ({"method": "nope"}, "restore.method"),
        ({"noise": -1.0}, "restore.noise"),
        ({"evaluations": 10**6}, "restore.evaluations"),
        ({"samples": 0}, "restore.samples"),
    ],
)
def test_mistakes_of_a_restoration(change: dict[str, object], place: str) -> None:
    picture = torch.zeros(3, 32, 32, dtype=torch.uint8)
    state = replace(SMALL, restore=replace(Restoring(), **change))  # type: ignore[arg-type]
    with pytest.raises(Mistake) as found:
        RestorationRun.of(setting_of(state), picture)
    assert found.value.place == place


@pytest.mark.parametrize("images", [0, 10**9, 10**300])
def test_an_address_with_too_many_images_is_refused_before_they_are_counted(images: int) -> None:
    setting = setting_of(replace(SMALL, images=images))
    with pytest.raises(Mistake, match="shows 1 to 16 images") as found:
        prepare_lane(setting, 0)
    assert found.value.place == "images"
