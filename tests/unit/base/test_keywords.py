"""Keywords that a function does not have are refused in a sentence that names the right one."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

import diffdescent as dd
from diffdescent.run import prepare_restoration


@pytest.mark.parametrize(
    ("call", "wrong", "said"),
    [
        (dd.sample, "nfe", "give steps="),
        (dd.sample, "step", "did you mean 'steps'"),
        (dd.restore, "steps", "give nfe="),
        (dd.calibrate, "steps", "give nfe="),
        (dd.compare, "steps", "give nfe="),
        (dd.compare, "sampler", "did you mean 'samplers'"),
    ],
)
def test_a_keyword_of_another_function(call: Callable[..., object], wrong: str, said: str) -> None:
    with pytest.raises(dd.UserError, match=said):
        call("cifar10-mixture", **{wrong: 5})


def test_keywords_that_are_handed_on_are_shown_as_they_are_taken() -> None:
    shown = inspect.signature(dd.restore).parameters
    taken = inspect.signature(prepare_restoration).parameters
    assert {name: shown.get(name) for name in taken} == {**taken, "numbers": None, "name": None}
    assert set(shown) - set(taken) == {"callback"}
