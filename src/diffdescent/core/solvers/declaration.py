"""The check of what a solver's class declares, made when it is registered."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Collection
from difflib import get_close_matches
from functools import cached_property
from typing import Annotated, Any, Literal, cast

from diffdescent.base.errors import UserError
from diffdescent.core.options import In, Options, check_frozen, check_option

Variable = Literal["sigma", "lambda", "time"]
"""In which variable a method is of its order: σ̃ = σ/α, λ = log(α/σ), or the process's time."""

_NEEDED: dict[str, tuple[Any, str]] = {
    "variable": (Variable, 'set variable = "sigma", "lambda" or "time"'),
    "stochastic": (bool, "set stochastic = False, or True where it draws noise"),
    "order": (Annotated[int, In(0)], "set order = 1, or the order at which it converges"),
}
_OTHERS = ("plan", "cold_order", "order_on", "keeps_variance", "solves_points", "variants")


def check_declaration(cls: type[Any]) -> None:
    """Raise :class:`UserError` for a class that is not a frozen dataclass of checked options, has
    no ``plan``, does not declare ``variable``, ``stochastic`` and ``order``, or misspells one.
    """
    if not issubclass(cls, Options):
        raise UserError(
            f"The options of {cls.__name__} would not be checked; derive it from"
            " diffdescent.core.options.Options."
        )
    check_frozen(cls)
    # One may be an option, too: ``order``.
    options = {field.name for field in dataclasses.fields(cast(Any, cls))}
    _refuse_misspelt(cls, options)
    for name, (hint, mend) in _NEEDED.items():
        if name not in options and not hasattr(cls, name):
            raise UserError(f"The solver {cls.__name__} does not say its {name!r}; {mend}.")
        value = getattr(cls, name, None)
        if name not in options and not isinstance(value, (property, cached_property)):
            check_option(cls.__name__, name, value, hint, "declaration")
    if not callable(getattr(cls, "plan", None)):
        raise UserError(
            f"The solver {cls.__name__} has no plan; give it a method plan(self, grid) that returns"
            " a Plan."
        )


def _refuse_misspelt(cls: type[Any], options: Collection[str]) -> None:
    known = (*_NEEDED, *_OTHERS)
    for name in {**vars(cls), **inspect.get_annotations(cls)}:
        if name.startswith("_"):
            continue
        near = get_close_matches(name, known, n=1, cutoff=0.8)
        if near and name not in known and name not in options:
            raise UserError(
                f"The solver {cls.__name__} declares {name!r}, which no solver knows; did you mean"
                f" {near[0]!r}?"
            )
