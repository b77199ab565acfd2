"""``dd.restore``: what it is given, what it refuses, and what its record says."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import diffdescent as dd
from diffdescent.base.errors import UserError
from diffdescent.core.operators import Function, parse_operator
from diffdescent.core.process import VP
from diffdescent.models.gaussian import Gaussian
from diffdescent.run import RunRecord, prepare_restoration, repeat
from diffdescent.run.problem import measure

SHAPE = (1, 6, 6)
MODEL = Gaussian(torch.zeros(SHAPE, dtype=torch.float64), 0.25, VP.named("linear"))
X = MODEL.sample(3, torch.Generator().manual_seed(0)).float()


def restore(y: torch.Tensor, operator: Any = "downsample(2)", **options: Any) -> dd.Restored:
    return dd.restore(MODEL, y, operator, **{"nfe": 5, **options})


def test_samples_mean_and_deviation() -> None:
    y = measure(parse_operator("downsample(2)").bind(SHAPE), X, 0.1, 0, range(3))
    found = restore(y, noise=0.1, n=4)
    assert found.images.shape == (3, 4, *SHAPE)
    torch.testing.assert_close(found.mean, found.images.mean(1))
    torch.testing.assert_close(found.deviation, found.images.std(1))
    assert bool((found.deviation > 0).all())
    one = restore(y[0], noise=0.1)
    assert torch.equal(one.images, found.images[:1, :1])
    assert bool((one.deviation == 0).all())


def test_the_record_says_what_was_measured_and_how() -> None:
    y = torch.zeros(1, 1, 3, 3)
    record = restore(y, noise=0.1, method="unipc | diffpir(strength=2) | momentum(-0.1)").record
    assert record.restoration is not None
    assert record.restoration.operator.startswith("downsample")
    assert record.restoration.noise == 0.1
    assert "diffpir(strength=2.0)" in record.restoration.method
    assert RunRecord.of_entries(record.entries()) == record
    other = restore(y + 1, noise=0.1).record
    assert other.restoration is not None
    assert other.restoration.measured != record.restoration.measured
    with pytest.raises(UserError, match="restoration"):
        repeat(record, MODEL)


def test_a_budget_is_in_evaluations() -> None:
    y = torch.zeros(1, 1, 3, 3)
    run = prepare_restoration(MODEL, y, "downsample(2)", noise=0.1, method="heun | ddnm", nfe=9)
    assert run.plan.nfe == 9
    assert run.plan.steps == 5


def test_the_noise_of_a_measurement_belongs_to_its_image() -> None:
    a = parse_operator("blur").bind(SHAPE)
    whole = measure(a, X, 0.3, 7, range(3))
    torch.testing.assert_close(measure(a, X[2:], 0.3, 7, [2]), whole[2:])
    assert abs(float((whole - a.forward(X)).std()) - 0.3) < 0.06
    assert not torch.equal(measure(a, X, 0.3, 8, range(3)), whole)


def test_labels_go_with_the_measurements() -> None:
    mixture = dd.load_model("cifar10-mixture")
    y = torch.zeros(2, 3, 16, 16)
    run = prepare_restoration(
        mixture, y, "downsample(2)", noise=0.1, nfe=2, n=2, labels="dog,cat", numbers=[4, 5]
    )
    names = [mixture.classes[i] for i in run.inputs.labels.tolist()]  # type: ignore[union-attr]
    assert names == ["dog", "dog", "cat", "cat"]
    for one in (3, torch.tensor(3)):
        run = prepare_restoration(mixture, y, "downsample(2)", noise=0.1, nfe=2, n=2, labels=one)
        assert run.inputs.labels is not None
        assert run.inputs.labels.tolist() == [3, 3, 3, 3]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"y": torch.zeros(1, 1, 4, 4)}, r"shape \(1, 1, 4, 4\)"),
    ({"y": torch.full((1, 1, 3, 3), math.nan)}, "NaN or Inf in sample 0"),
    ({"operator": "downsample(4)"}, "6"),
    ({"operator": "blurr"}, "did you mean 'blur'"),
    ({"method": "dpss"}, "did you mean 'dps'"),
    ({"noise": -0.1}, "σ_n ≥ 0"),
    ({"noise": math.nan}, "noise.* must be a finite number"),
    ({"noise": math.inf}, "noise.* must be a finite number"),
    ({"n": 0}, "at least 1"),
    ({"nfe": 0}, "at least 1"),
    ({"operator": "mask(box=[0,0,6,6])", "y": torch.zeros(1, *SHAPE)}, "keeps no pixel"),
    ({"operator": "mask", "y": torch.ones(1, *SHAPE)}, "inconsistent with noise=0.*mask 0"),
    ({"operator": parse_operator("blur").bind((1, 8, 8)), "y": torch.zeros(1, 1, 8, 8)}, "model's"),
    (
        {"operator": parse_operator("blur").bind(SHAPE, dtype=torch.float64)},
        "bind it with these",
    ),
]


@pytest.mark.parametrize(("options", "says"), BAD)
def test_bad_input_is_one_clear_sentence(options: dict[str, Any], says: str) -> None:
    options = {"y": torch.zeros(1, 1, 3, 3), **options}
    with pytest.raises(UserError, match=says) as error:
        restore(**options)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


def test_noise_makes_an_inconsistent_measurement_possible() -> None:
    y = torch.ones(1, *SHAPE)
    assert restore(y, "mask", noise=0.1).images.isfinite().all()


def test_a_function_measures_as_it_stands() -> None:
    def squares(x: torch.Tensor) -> torch.Tensor:
        return x.square().flatten(1)

    y = squares(X)
    found = restore(y, squares, noise=0.1, method="dps", nfe=10)
    named = restore(y, Function(squares), noise=0.1, method="dps", nfe=10)
    assert torch.equal(found.images, named.images)
    drawn = dd.sample(MODEL, "ddpm", n=3, steps=10).images
    here, free = (float((squares(x) - y).norm()) for x in (found.images[:, 0], drawn))
    assert here < 0.5 * free
    with pytest.raises(UserError, match="gives no gradient"):
        restore(y, lambda x: x.detach(), noise=0.1, method="dps")


def test_a_model_without_a_shape_needs_a_bound_operator() -> None:
    class Shapeless:
        process = MODEL.process
        shape = None

        def __call__(self, x: torch.Tensor, point: Any, cond: Any = None) -> Any:
            return MODEL(x, point)

    y = torch.zeros(1, 1, 3, 3)
    with pytest.raises(UserError, match="bind the operator"):
        dd.restore(Shapeless(), y, "downsample(2)", noise=0.1, nfe=3)
    operator = parse_operator("downsample(2)").bind(SHAPE)
    assert dd.restore(Shapeless(), y, operator, noise=0.1, nfe=3).images.shape[2:] == SHAPE
