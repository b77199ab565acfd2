"""Γ of Analytic-DPM: measured, kept in a file, and used by the sampler."""

import json
import warnings
from pathlib import Path

import pytest
import torch

import diffdescent as dd
from diffdescent.core.grid import make_grid
from diffdescent.core.process import VP
from diffdescent.core.recipe import parse
from diffdescent.core.solvers.gamma import Gamma, load_gamma
from diffdescent.models.gaussian import Gaussian
from diffdescent.run.gamma import measure_gamma
from diffdescent.run.spectrum import own_images

MODEL = Gaussian(torch.zeros(1, 4, 4), 0.25, VP.named())


def exact(t: float) -> float:
    """Γ of data N(0, I/4)."""
    p = MODEL.process.point(t)
    return p.sigma**2 / (p.alpha**2 * 0.25 + p.sigma**2)


def test_gamma_of_a_gaussian_from_images_and_from_its_own_samples() -> None:
    images = torch.randn(3000, 1, 4, 4, generator=torch.Generator().manual_seed(0)) / 2
    for found in (measure_gamma(MODEL, images, n=3000, times=5), measure_gamma(MODEL, n=3000)):
        assert found.model == MODEL.fingerprint()
        assert [1 - found(t) for t in (0, 250, 500, 999)] == pytest.approx(
            [1 - exact(t) for t in (0, 250, 500, 999)], rel=0.03
        )


def test_images_do_not_depend_on_the_batch() -> None:
    images = torch.randn(100, 1, 4, 4, generator=torch.Generator().manual_seed(0)) / 2
    whole = measure_gamma(MODEL, images, n=100, times=3).values
    half = measure_gamma(MODEL, images, n=50, times=3).values
    rest = measure_gamma(MODEL, images[:64], n=64, times=3).values
    assert whole != half
    assert whole != rest
    assert measure_gamma(MODEL, images, n=64, times=3).values == rest


def test_the_noise_of_a_step_follows_the_measured_gamma(tmp_path: Path) -> None:
    """On data N(0, 0.1² I) it is that of ``data_std=0.1``, where Γ is known in closed form."""
    narrow = Gaussian(torch.zeros(1, 4, 4), 0.01, VP.named())
    file = tmp_path / "gamma.json"
    file.write_text(measure_gamma(narrow, n=2000, times=200).to_json("test"))
    grid = make_grid("uniform", narrow.process, 20)

    def noises(sampler: str) -> list[float]:
        return [row.outputs[0].noise for row in parse(sampler).plan(grid).rows]

    closed = noises("analytic(data_std=0.1)")
    assert noises(f"analytic(gamma='{file}')") == pytest.approx(closed, rel=0.05)
    assert noises("analytic") != pytest.approx(closed, rel=0.5)


def test_the_file_is_for_its_model(tmp_path: Path) -> None:
    file = tmp_path / "gamma.json"
    file.write_text(measure_gamma(MODEL, n=8, times=4).to_json("test"))
    sampler = f"analytic(gamma='{file}')"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        record = dd.sample(MODEL, sampler, steps=4).record
    assert record.recipe == sampler
    assert parse(record.recipe).solver == parse(sampler).solver
    other = Gaussian(torch.zeros(1, 4, 4), 0.3, VP.named())
    with pytest.warns(UserWarning, match="measured on another model"):
        dd.sample(other, sampler, steps=4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "There is no Γ file"),
        ("{", "is not JSON"),
        ("[]", "does not hold Γ"),
        ('{"format": "diffdescent-gamma", "version": 2}', "version 2 of its format"),
        ({"t": [0, "a"]}, "is damaged"),
        ("[" * 100_000, "nested too deeply"),
        ({"values": [0.5, 10**400]}, "is damaged"),
        ({"t": [0, float("inf")]}, "must be finite"),
        ({"t": [0, 0]}, "one value per ascending time"),
        ({"values": [0.5, float("nan")]}, "must be finite"),
        ({"fingerprint": 3}, "is damaged"),
    ],
)
def test_damaged_files(tmp_path: Path, text: str | dict[str, object] | None, message: str) -> None:
    file = tmp_path / "gamma.json"
    if isinstance(text, dict):
        text = json.dumps({**json.loads(Gamma((0, 1), (0.5, 1)).to_json("test")), **text})
    if text is not None:
        file.write_text(text)
    with pytest.raises(dd.UserError, match=message):
        load_gamma(file)


def test_bad_input() -> None:
    with pytest.raises(dd.UserError, match="at least one image and two times"):
        measure_gamma(MODEL, n=0)
    with pytest.raises(dd.UserError, match=r"the model's is \(1, 4, 4\); resize them"):
        measure_gamma(MODEL, torch.zeros(2, 3, 4, 4))


def test_a_model_that_needs_labels_gets_all_in_turn() -> None:
    asked = []

    def answers(x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
        asked.extend(cond.tolist())
        return x

    process = VP.named()
    model = dd.Network(answers, process, shape=(1, 4, 4), label_count=3, needs_label=True)
    measure_gamma(model, n=5, times=2)
    assert set(asked) == {0, 1, 2}
    asked.clear()
    own_images(model, 4)
    assert set(asked) == {0, 1, 2}
