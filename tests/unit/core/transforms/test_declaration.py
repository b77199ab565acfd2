"""What a transform's class may declare, and the contract's own alarm: classes that break it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pytest
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.options import In
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Basis
from diffdescent.core.transforms import (
    TRANSFORMS,
    Commit,
    Displacement,
    Estimate,
    Evaluation,
    PxP,
    Threshold,
    register,
)
from tests.contract import transforms as contract


def define(base: type[Any], **body: Any) -> type[Any]:
    method = {Estimate: "correct", Displacement: "update"}.get(base)
    needed = {method: lambda self, *given: None} if method else {}
    if base is Displacement:
        needed["init"] = lambda self, plan: None
    return type("Mine", (base,), {"linear": False, **needed, **body})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: define(Estimate, keep_eps=True), "'keep_eps'.* did you mean 'keeps_eps'"),
        (lambda: define(Estimate, keeps_ep=property(lambda self: True)), "'keeps_eps'"),
        (lambda: define(Displacement, want_parts="x0"), "did you mean 'wants_parts'"),
        (lambda: define(Displacement, wholebatch=True), "did you mean 'whole_batch'"),
        (lambda: define(Estimate, strength=0.5), "annotate an option with its type"),
        (lambda: define(Displacement, keeps_eps=True), "no transform knows"),
        (lambda: define(Displacement, wants_parts="x"), "'wants_parts' of 'Mine' must be 'x0' or"),
        (lambda: define(Estimate, keeps_eps=1), "'keeps_eps' of 'Mine' must be true or false"),
        (lambda: define(Estimate, linear="no"), "'linear' of 'Mine' must be true or false"),
        (
            lambda: define(Displacement, __annotations__={"wants_parts": Basis}, wants_parts="x0"),
            "so annotated it would be an option",
        ),
        (
            lambda: define(Estimate, __annotations__={"kept": "ClassVar[bool]"}),
            "declares 'kept'",
        ),
        (
            lambda: type("Mine", (Estimate,), {"correct": lambda self, e: None}),
            "does not say whether it is linear",
        ),
        (lambda: define(Estimate, __post_init__=lambda self: None), "name the method check_togeth"),
        (lambda: register("mine")(define(Estimate)), "set neutral ="),
        (lambda: dataclass(frozen=True)(define(Estimate))(), "has no name"),
    ],
)
def test_a_wrong_declaration_is_an_error(wrong: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        wrong()
    assert "mine" not in TRANSFORMS


def test_what_a_class_may_declare() -> None:
    """Abilities as values, class variables and properties, options, private names and methods."""

    @dataclass(frozen=True)
    class Mine(Displacement):
        basis: Basis = "eps"
        _SHARE: ClassVar[float] = 0.5
        name = "mine"
        linear: ClassVar[bool] = False
        whole_batch = True

        @property
        def wants_parts(self) -> Basis:
            return self.basis

        def half(self, x: Tensor) -> Tensor:
            return x * self._SHARE

        def init(self, plan: Plan) -> None: ...

        def update(self, state: None, commit: Commit) -> tuple[Tensor, None]:
            return self.half(commit.proposal), None

    assert (Mine().wants_parts, Mine("x0").wants_parts) == ("eps", "x0")
    assert Mine().whole_batch
    assert not Threshold().whole_batch
    assert (Threshold().keeps_eps, Threshold(eps="keep").keeps_eps) == (False, True)
    assert (PxP(scope="batch").whole_batch, PxP().whole_batch) == (True, False)
    with pytest.raises(TypeError, match="abstract"):
        Displacement()  # type: ignore[abstract]


Share = Annotated[float, In(0, 1)]


@dataclass(frozen=True)
class Wrong(Estimate):
    """An estimate that breaks the contract in one way."""

    how: str = ""
    share: Share = 0.5
    name: ClassVar[str] = "wrong"
    linear: ClassVar[bool] = True

    def correct(self, evaluation: Evaluation) -> Tensor:
        x0 = evaluation.x0
        if self.how == "changes x0":
            return x0.mul_(self.share)
        if self.how == "looks at the batch":
            return x0.mean(0, keepdim=True) * self.share
        if self.how == "remembers on itself":
            before = vars(self).get("_last")
            object.__setattr__(self, "_last", x0.clone())
            return (x0 if before is None or before.shape != x0.shape else before) * self.share
        if self.how == "is not linear":
            return x0.square() * self.share
        return x0 * self.share


@pytest.mark.parametrize(
    ("how", "check"),
    [
        ("changes x0", contract.check_pure),
        ("looks at the batch", contract.check_batch_split),
        ("remembers on itself", contract.check_own_state),
        ("is not linear", contract.check_linear),
        ("is not neutral", contract.check_neutral),
        ("is not registered", contract.check_text),
    ],
)
def test_the_contract_notices(how: str, check: Callable[[Any], object]) -> None:
    with pytest.raises((AssertionError, UserError)):
        check(Wrong(how))
    if check not in (contract.check_neutral, contract.check_text):
        check(Wrong())
