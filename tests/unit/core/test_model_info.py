"""What a model says of itself, and how it is read off predictors of someone else's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.core.model_info import ModelInfo, info
from diffdescent.core.predict import conversion
from diffdescent.guidance import ClassifierFree, Energy, Guided
from diffdescent.models.gaussian import Gaussian
from diffdescent.models.mixture import Mixture

VP = dd.VP.named("linear")


class Bare:
    """A predictor with a process and a shape alone, and whatever a test gives it."""

    def __init__(self, **said: Any) -> None:
        self.process, self.shape = VP, (1, 2, 2)
        for name, value in said.items():
            setattr(self, name, value)

    def __call__(self, x: Tensor, point: dd.Point, cond: Tensor | None = None) -> dd.Prediction:
        return dd.Prediction(x, conversion("eps", point))


def test_a_bare_predictor_has_the_defaults() -> None:
    found = info(Bare())
    assert found == ModelInfo(name="Bare")
    assert found.fingerprint is None
    assert not found.conditional
    assert dd.sample(Bare(), "ddim", steps=2, n=1).record.model == "Bare"


def test_plain_attributes_are_read() -> None:
    said = Bare(
        name="mine", device="cpu", classes=["a", "b"], label_count=3, needs_label=True, width=2,
        fingerprint=lambda: "f",
    )  # fmt: skip
    found = info(said)
    assert replace(found, identity=None) == ModelInfo(
        name="mine", classes=("a", "b"), label_count=3, needs_label=True, width=2
    )
    assert found.fingerprint == "f"
    assert found.conditional
    record = dd.sample(said, "ddim", steps=2, n=3, labels=1).record
    assert (record.model, record.fingerprint, record.micro_batch) == ("mine", "f", 2)
    with pytest.raises(dd.UserError, match="no label 3"):
        dd.sample(said, "ddim", steps=2, n=1, labels=3)


def test_its_own_info_goes_before_attributes() -> None:
    own = ModelInfo(name="own", calls=3)
    assert info(Bare(info=own, name="other")) is own
    assert info(Bare(info="not one", name="other")).name == "other"


def test_a_counter_called_calls_is_not_a_cost() -> None:
    assert info(Bare(calls=40)).calls == 1


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"label_count": "ten"}, "label_count of Bare must be a whole number or None, not a str"),
        ({"width": [2, 4]}, "width of Bare must be a whole number or None, not a list"),
        ({"classes": torch.nn.Linear(1, 1)}, "classes of Bare must be a list of names"),
    ],
)
def test_what_is_not_what_its_name_promises(said: dict[str, Any], message: str) -> None:
    with pytest.raises(dd.UserError, match=message):
        info(Bare(**said))


def test_the_fingerprint_is_computed_when_it_is_read() -> None:
    asked = []

    def identity() -> str:
        asked.append(1)
        return "f"

    found = info(Bare(fingerprint=identity))
    guided = info(Guided(Bare(fingerprint=identity), Energy(lambda x, at, y: x.sum((1, 2, 3)))))
    assert not asked
    assert (found.fingerprint, guided.fingerprint) == ("f", "f")
    assert len(asked) == 2


def test_our_own_models() -> None:
    network = dd.Network(
        lambda x, t, cond: x, VP, shape=(1, 2, 2), name="n", label_count=4, width=8, fingerprint="f"
    )
    assert info(network) == network.info
    assert (network.info.label_count, network.info.width) == (4, 8)
    assert network.info.fingerprint == "f"
    plain = Gaussian(torch.zeros(1, 2, 2), 1.0, VP, name="g")
    assert (plain.info.name, plain.info.width, plain.info.conditional) == ("g", 64, False)
    mixture = Mixture(
        torch.ones(3), torch.zeros(3, 1, 2, 2), torch.ones(3, 1, 2, 2), VP,
        labels=torch.tensor([0, 2, 2]),
    )  # fmt: skip
    assert mixture.info.labels == (0, 2)
    assert mixture.info.conditional
    assert mixture.info.label_count is None
    assert mixture.info.fingerprint == mixture.fingerprint()


def test_a_guided_model_speaks_for_the_model_within() -> None:
    network = dd.Network(
        lambda x, t, cond: x, VP, shape=(1, 2, 2), name="n", label_count=4, width=8, fingerprint="f"
    )
    free = ClassifierFree(network, 2.0, interval=(0.5, 2.0))
    assert free.info.name == "n | cfg(scale=2), σ/α in [0.5, 2]"
    assert (free.info.calls, free.info.width, free.info.label_count) == (2, 8, 4)
    assert free.info.fingerprint == "f"
    energy = Energy(lambda x, at, y: x.sum((1, 2, 3)), label_count=2, fingerprint="e")
    both = Guided(free, energy)
    assert (both.info.calls, both.info.label_count, both.info.fingerprint) == (2, 2, "f+e")


def test_the_cost_of_an_answer_by_its_level() -> None:
    network = dd.Network(lambda x, t, cond: x, VP, shape=(1, 2, 2), label_count=4)
    low, high = VP.point(10.0), VP.point(900.0)
    free = ClassifierFree(network, 2.0, interval=(0.0, 1.0))
    assert [info(free).calls_at(at) for at in (low, high)] == [2, 1]
    assert [info(network).calls_at(at) for at in (low, high)] == [1, 1]
    other = ClassifierFree(network, 2.0, unconditional=Bare(info=ModelInfo(calls=3)))
    assert info(other).calls == 4
