"""Options whose annotations say what they may be, checked when an object is made.

A solver, a transform or an element of guidance is a dataclass of its options. An annotation is
everything that has to be written::

    eta: Annotated[float, In(0, 1, hint="0 is deterministic, 1 is ancestral")] = 0.0
    order: Annotated[int, In(1, 4)] = 3
    variance: Literal["small", "large"] = "small"
    orders: tuple[int, ...] = ()

A plain ``float`` is a finite number. The same check holds for objects made in Python and from text.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import numbers
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from diffdescent.base.errors import UserError
from diffdescent.base.words import shown

from .limits import Filled, In, describe, domain, finite, is_union, limited, positive

__all__ = [
    "Filled",
    "In",
    "Options",
    "check_frozen",
    "check_option",
    "describe",
    "domain",
    "finite",
    "keywords_of",
    "limited",
    "options_of",
    "positive",
]


class _Refused(Exception):
    """Why a value is not what its annotation says: it must ``expected``. ``right_type``: it is of
    the type, but not in the limits."""

    def __init__(
        self, expected: str, value: object, hint: str = "", *, right_type: bool = False
    ) -> None:
        self.expected, self.hint, self.right_type = expected, hint, right_type
        empty = isinstance(value, (tuple, list)) and not value
        self.shown = "an empty list" if empty else shown(value)


class Options:
    """A base of frozen dataclasses that checks their options by the annotations.

    Options that must fit one another are checked in :meth:`check_together`. Raises
    :class:`UserError` for the first option that its annotation does not allow. Whole numbers become
    floats, and lists tuples, where the annotation says so.
    """

    name: ClassVar[str]

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "__post_init__" in vars(cls):
            raise UserError(
                f"{cls.__name__} has a __post_init__, which would replace the check of its options;"
                " name the method check_together."
            )

    def __post_init__(self) -> None:
        if not getattr(type(self), "name", ""):
            raise UserError(
                f'{type(self).__name__} has no name; put @register("…") over the class, or name ='
                ' "…" into it.'
            )
        for option, hint in options_of(type(self)).items():
            value = check_option(self.name, option, getattr(self, option), hint)
            object.__setattr__(self, option, value)
        self.check_together()

    def check_together(self) -> None:
        """Raise :class:`UserError` for options that do not fit one another."""

    @property
    def contents(self) -> Mapping[str, str]:
        """Of each file that the options name, by its name, a hash of what was read: with another
        file of the same name these options mean something else."""
        return {}


def check_frozen(cls: type[Any]) -> None:
    """Raise :class:`UserError` unless the class itself is a frozen dataclass."""
    parameters: Any = vars(cls).get("__dataclass_params__")
    if parameters is None or not parameters.frozen:
        raise UserError(
            f"{cls.__name__} is not a frozen dataclass, and its options would be lost or could"
            " change; put @dataclass(frozen=True) directly over the class, below the line that"
            " names it."
        )


def _options_of(cls: type[Any]) -> Mapping[str, Any]:
    names = [f.name for f in dataclasses.fields(cls) if f.init]
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        # Those alone: Python 3.10 cannot read a plain ClassVar.
        own = {n: h for n, h in vars(base).get("__annotations__", {}).items() if n in names}
        holder = types.SimpleNamespace(__annotations__=own)
        module = vars(sys.modules[base.__module__])
        hints |= typing.get_type_hints(holder, module, include_extras=True)
    return {name: hints[name] for name in names}


def _keywords_of(function: Callable[..., Any]) -> Mapping[str, Any]:
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    names = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    for name in names:
        if name not in hints:
            raise UserError(
                f"The option {name!r} of {function.__name__} has no annotation, which says what it"
                f" may be; write for example {name}: float = 1.0."
            )
    return {name: hints[name] for name in names}


options_of: Callable[[Any], Mapping[str, Any]] = cache(_options_of)
"""The options of a dataclass and their annotations, in order."""

keywords_of: Callable[[Callable[..., Any]], Mapping[str, Any]] = cache(_keywords_of)
"""The keyword-only options of a function and their annotations, in order."""


def check_option(owner: str, option: str, value: object, hint: Any, kind: str = "option") -> Any:
    """``value`` as its annotation wants it; ``kind`` is what the message calls it.

    Raises :class:`UserError` where it is of another type or outside the range.
    """
    try:
        return _checked(value, hint)
    except _Refused as refused:
        more = f"; {refused.hint}" if refused.hint else ""
        end = "" if more.endswith("?") else "."
        raise UserError(
            f"The {kind} {option!r} of {owner!r} must {refused.expected}, not"
            f" {refused.shown}{more}{end}"
        ) from None


def _checked(value: object, hint: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _limited(value, arguments[0], arguments[1:])
    if is_union(hint):
        return _any_of(value, hint, arguments)
    if origin is Literal:
        if not any(_is_one(value, choice) for choice in arguments):
            near = get_close_matches(str(value), [str(a) for a in arguments], n=1, cutoff=0.5)
            raise _Refused(
                f"be {describe(hint)}", value, f"did you mean {near[0]!r}?" if near else ""
            )
        return value
    if origin is tuple:
        return _list(value, hint, arguments)
    if hint is float:
        return _limited(value, float, (finite(),))
    if hint is int:
        return int(typing.cast(int, _number(value, int)))
    kind = origin or hint
    if isinstance(kind, type) and kind is not Any and not isinstance(value, kind):
        raise _Refused(f"be {describe(hint)}", value)
    return value


def _is_one(value: object, choice: object) -> bool:
    """Whether the two are equal and of one type; True equals 1 and is another type."""
    alike = isinstance(value, type(choice)) and isinstance(value, bool) == isinstance(choice, bool)
    return alike and value == choice


def _number(value: object, kind: type) -> object:
    wanted = numbers.Integral if kind is int else numbers.Real
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise _Refused(f"be {describe(kind)}", value)
    return value


def _float(value: object) -> float:
    number: Any = _number(value, float)
    try:
        return float(number)
    except OverflowError:  # a whole number of more than 308 digits
        raise _Refused("be a finite number", value, right_type=True) from None


def _limited(value: object, kind: Any, limits: Sequence[object]) -> Any:
    """``value`` as the type within ``Annotated``, in the limits that stand next to it."""
    checked = _float(value) if kind is float else _checked(value, kind)
    for limit in limits:
        if isinstance(limit, Filled) and not checked:
            raise _Refused("hold at least one value", value, limit.hint, right_type=True)
        if isinstance(limit, In) and checked not in limit:
            whole = kind is int and math.isfinite(limit.low + limit.high)
            expected = (
                f"be a whole number from {limit.low} to {limit.high}" if whole else str(limit)
            )
            raise _Refused(expected, value, limit.hint, right_type=True)
    return checked


def _any_of(value: object, hint: Any, members: Sequence[Any]) -> Any:
    """``value`` as the first type of a union that takes it; what a type of its own kind says
    against it counts most."""
    refusals: list[_Refused] = []
    for member in members:
        outcome = _outcome(value, member)
        if not isinstance(outcome, _Refused):
            return outcome
        refusals.append(outcome)
    for refused in refusals:
        if refused.right_type:
            raise refused
    near = next((r.hint for r in refusals if r.hint), "")
    raise _Refused(f"be {describe(hint)}", value, near)


def _outcome(value: object, hint: Any) -> Any:
    """The checked value, or why it is refused."""
    try:
        return _checked(value, hint)
    except _Refused as refused:
        return refused


def _list(value: object, hint: Any, members: Sequence[Any]) -> tuple[Any, ...]:
    """``value`` as a tuple; a single value is a list of one where any length will do."""
    array = isinstance(value, np.ndarray) and value.ndim > 0
    several = array or (isinstance(value, Sequence) and not isinstance(value, str))
    items: tuple[object, ...] = tuple(typing.cast(Sequence[object], value)) if several else (value,)
    kinds = [members[0]] * len(items) if Ellipsis in members else list(members)
    if len(items) != len(kinds):
        raise _Refused(f"be {describe(hint)}", value)
    try:
        return tuple(_checked(item, kind) for item, kind in zip(items, kinds, strict=True))
    except _Refused as refused:
        if refused.right_type or refused.hint:
            raise
        raise _Refused(f"be {describe(hint)}", value) from None
