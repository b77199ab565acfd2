"""Landscapes: the colour is what it says, the cache is used and heals, the plane explains what it
says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import diffdescent as dd
from diffdescent.core.predict import Prediction
from diffdescent.core.process import Point
from diffdescent.lab.landscape import Landscape, draw_landscape, draw_strip, plane
from diffdescent.models.gaussian import Gaussian

MODEL = Gaussian(torch.full((3, 4, 4), 0.3), 0.2, dd.VP.named())


class Counting:
    """The Gaussian, counting what it is asked."""

    process, shape, name, fingerprint = MODEL.process, MODEL.shape, "counting", "one"

    def __init__(self) -> None:
        self.calls = 0

    def __call__(
        self, x: torch.Tensor, point: Point, cond: torch.Tensor | None = None
    ) -> Prediction:
        self.calls += 1
        return MODEL(x, point, cond)


def view(model: object, folder: Path, **options: object) -> Landscape:
    settings = {"steps": 6, "around": 5, "reference_steps": 12, "seed": 4, "number": 2, **options}
    return Landscape(model, folder, **settings)  # type: ignore[arg-type]


def test_surroundings_are_denoised_noisy_states(tmp_path: Path) -> None:
    scene = view(MODEL, tmp_path)
    path = scene.path("ddim | momentum(-0.3)")
    assert path.name == "ddim | momentum(-0.3)"
    states = dd.sample(
        MODEL, "ddim | momentum(-0.3)", steps=6, samples=[2], seed=4, trajectory=True
    )
    torch.testing.assert_close(path.x0, states.trajectory[:, 0].flatten(1))  # type: ignore[index]
    for i, point in enumerate(path.points):
        native = point.norm * (path.x[i].view(3, 4, 4) + scene.noise(i))
        torch.testing.assert_close(
            path.around[i], MODEL(native, point).to("x0", native).flatten(1), atol=1e-5, rtol=1e-5
        )
    assert abs(float(scene.noise(0).std()) - 1) < 0.15
    assert not torch.equal(scene.noise(0), scene.noise(1))


def test_the_reference_is_an_ancestral_run_from_the_same_noise(tmp_path: Path) -> None:
    expected = dd.sample(MODEL, "ddpm", steps=12, samples=[2], seed=4).images
    torch.testing.assert_close(view(MODEL, tmp_path).reference(), expected.flatten())


def test_what_is_there_is_not_computed_again_and_damage_heals(tmp_path: Path) -> None:
    model = Counting()
    first = view(model, tmp_path).path("ddim")
    calls = model.calls
    again = view(model, tmp_path).path("ddim")
    assert model.calls == calls
    assert torch.equal(first.around, again.around)
    # A killed run: one piece is missing, one was cut short.
    pieces = sorted(tmp_path.glob("around-*.npz"))
    pieces[0].unlink()
    pieces[1].write_bytes(pieces[1].read_bytes()[:100])
    model.calls = 0
    healed = view(model, tmp_path).path("ddim")
    assert 0 < model.calls < calls
    assert torch.equal(first.around, healed.around)
    # Another setting is another piece.
    model.calls = 0
    view(model, tmp_path, spread=0.5).path("ddim")
    assert model.calls > 0


def test_a_model_without_a_fingerprint_is_told_by_its_answers(tmp_path: Path) -> None:
    """The same wrapper around other weights finds nothing of the first one's in the cache."""
    mean = torch.full((3, 4, 4), 0.3)
    images = []
    for scale in (1.0, 1.5):
        net = dd.Network(
            lambda x, t, cond, s=scale: s * x - mean, process=dd.VP.named(), shape=(3, 4, 4)
        )
        assert net.fingerprint is None
        images.append(view(net, tmp_path).image("ddim", 3))
        torch.testing.assert_close(
            images[-1], dd.sample(net, "ddim", steps=3, samples=[2], seed=4).images[0]
        )
    assert not torch.equal(*images)
    assert len(list(tmp_path.glob("image-*.npz"))) == 2


def test_the_plane_holds_what_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(200, 30, generator=generator, dtype=torch.float64) * torch.linspace(
        2, 0.1, 30
    )
    found = plane(rows, rows)
    values = torch.linalg.svdvals(rows - rows.mean(0)) ** 2
    assert found.share == pytest.approx(float(values[:2].sum() / values.sum()), rel=1e-3)
    assert torch.equal(plane(rows, rows).places, found.places)
    # Points fitted elsewhere: their plane holds less of these.
    assert plane(rows[:5], rows).share < found.share


def test_pictures_are_written(tmp_path: Path) -> None:
    scene = view(MODEL, tmp_path / "cache")
    paths = [scene.path("ddim"), scene.path("ge")]
    reference = scene.reference()
    shares = draw_landscape(scene, paths, reference, tmp_path / "a.png", fit="all")
    assert set(shares) == {"x_t", "x̂0"}
    for share in shares.values():
        assert 0 < share["all"] <= 1
        assert 0 < share["runs"] <= 1
    images = [[scene.image("ddim", 3), scene.image("ddim", 4)]]
    draw_strip(images, ["ddim"], [3, 4], reference.view(3, 4, 4), 12, tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_options_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(dd.UserError, match="spread above 0"):
        view(MODEL, tmp_path, spread=0.0)
    with pytest.raises(dd.UserError, match="at least 1 step"):
        view(MODEL, tmp_path, around=0)
