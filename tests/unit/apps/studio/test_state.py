"""The state in an address."""

from __future__ import annotations

import pytest

from diffdescent.apps.studio.state import Lane, Reading, Restoring, Scene, State, Sweep
from diffdescent.base.errors import UserError

OTHER = State(
    model="mnist",
    tab="landscape",
    lanes=(Lane("ge | momentum(-0.3)", "karras(rho=5)", 20), Lane("DPM++ 2M Karras")),
    counted="steps",
    budget=12,
    seed=7,
    sample=3,
    images=1,
    label="7",
    guidance="cfg(scale=3, interval=[0.3, 2]) | rescale",
    converged=0,
    reading=Reading(0.2, 2.0),
    sweep=Sweep("ddim(eta={eta})", "karras", "eta", "0:1:5", "nfe", "5, 10"),
    scene=Scene(4, 0.5, 50),
    restore=Restoring("gray", 0.1, "ddrm", 9, 1),
)


@pytest.mark.parametrize("state", [State(), OTHER])
def test_an_address_holds_the_whole_state(state: State) -> None:
    assert State.of_query(state.query()) == state


def test_what_is_not_ours_is_left_alone() -> None:
    assert State.of_query("__theme=dark&view=x") == State()
    assert State.of_query({"recipe1": "ge"}) == State(lanes=(Lane("ge"),))


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("seed=x", "seed of the address must be a whole number, not 'x'"),
        ("budget2=1e9&recipe2=ddim", "budget2 of the address must be a whole number"),
        ("scene.spread=wide", "scene.spread of the address must be a number, not 'wide'"),
        ("tab=nowhere", "Unknown tab 'nowhere'"),
        (f"recipe1={'d' * 601}", "has 601 characters; at most 600"),
    ],
)
def test_mistakes_in_an_address(query: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        State.of_query(query)
