"""Values that annotations allow and refuse: what the suites over options are generated from."""

from __future__ import annotations

import math
import types
import typing
from typing import Annotated, Any, Literal

from hypothesis import strategies as st

from diffdescent.core.options import Filled, In, options_of

WORDS = [
    "a", "no such word", "true", "1", "a|b", "[x", "cifar10-mixture", "./a/b.json", "white(0.5)",
    "power(2)",
]  # fmt: skip
OTHER = object()
"""Of a type that no option has."""


def some_options(cls: type[Any], *, tame: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    """Any choice of a class's options; ``tame`` numbers are within ±3, so that images stay
    finite."""
    return st.fixed_dictionaries(
        {}, optional={name: allowed(hint, tame) for name, hint in options_of(cls).items()}
    )


def allowed(hint: Any, tame: bool = False, limits: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    """What the annotation ``hint`` allows."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return allowed(arguments[0], tame, arguments[1:])
    if _is_union(hint):
        return st.one_of(*(allowed(member, tame) for member in arguments))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        if Ellipsis not in arguments:
            return st.tuples(*(allowed(member, tame) for member in arguments))
        filled = any(isinstance(limit, Filled) for limit in limits)
        return st.lists(allowed(arguments[0], tame), min_size=filled, max_size=4).map(tuple)
    if hint is float:
        return _floats(next((one for one in limits if isinstance(one, In)), In(ends="()")), tame)
    if hint is int:
        within = next((one for one in limits if isinstance(one, In)), In(-9, 9))
        top = within.low + 9 if math.isinf(within.high) else within.high
        return st.integers(int(within.low), int(top))
    simple = {bool: st.booleans(), str: st.sampled_from(WORDS), type(None): st.none()}
    return simple.get(hint, st.nothing())


def _floats(within: In, tame: bool) -> st.SearchStrategy[float]:
    low = max(within.low, -3.0) if tame else within.low
    high = min(within.high, 3.0) if tame else within.high
    unlimited = not tame and "]" in within.ends and math.isinf(high)
    numbers = st.floats(
        None if math.isinf(low) else low,
        None if math.isinf(high) else high,
        exclude_min=math.isfinite(low) and low == within.low and within.ends[0] == "(",
        exclude_max=math.isfinite(high) and high == within.high and within.ends[1] == ")",
        allow_nan=False,
        allow_infinity=False,
        allow_subnormal=False,
    )
    return st.one_of(numbers, st.just(math.inf)) if unlimited else numbers


def refused(hint: Any, limits: tuple[Any, ...] = ()) -> list[Any]:
    """Values that the annotation ``hint`` does not allow, of other types and beyond its limits."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return refused(arguments[0], arguments[1:])
    if _is_union(hint):
        first, *others = (refused(member) for member in arguments if member is not type(None))
        return [
            v
            for v in first
            if (v is not None or type(None) not in arguments)
            and all(any(_same(v, w) for w in other) for other in others)
        ]
    if origin is Literal:
        return ["no such word", 1, 0, 2.5, True, None, math.nan, math.inf, ("no such word",), OTHER]
    if origin is tuple:
        wrong = refused(arguments[0])
        if Ellipsis not in arguments:
            return [*wrong, 0.5, (), tuple([0.5] * 7), *((w,) * len(arguments) for w in wrong)]
        empty = [()] if any(isinstance(limit, Filled) for limit in limits) else []
        return [*wrong, *empty, *((w,) for w in wrong)]
    of_no_kind: list[Any] = ["no such word", None, OTHER, ("no such word",)]
    within = next((one for one in limits if isinstance(one, In)), In(ends="()"))
    outside = [
        v
        for end in (within.low, within.high)
        for v in (end, math.nextafter(end, -math.inf), math.nextafter(end, math.inf), end - 1)
        if not _inside(v, within)
    ]
    if hint is float:
        return [*of_no_kind, True, False, math.nan, *outside]
    if hint is int:
        return [*of_no_kind, True, 2.5, math.nan, *(int(v) for v in outside if v % 1 == 0)]
    if hint is bool:
        return [*of_no_kind, 1, 0, 2.5, math.nan, math.inf]
    return [OTHER, 1, 2.5, True, None]


def _inside(value: float, within: In) -> bool:
    """By hand, apart from the code that is tested."""
    above = within.low < value or (within.low == value and within.ends[0] == "[")
    below = value < within.high or (within.high == value and within.ends[1] == "]")
    return above and below


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and repr(a) == repr(b)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)
