"""Limits of options, which stand in their annotations, and annotations in words."""

from __future__ import annotations

import math
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any, Literal

_TYPES: dict[object, str] = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "a word",
    type(None): "none",
}

MOST = 10_000_000
"""The highest whole number that is asked for without a range of its own: what a typing mistake asks
for shall not run out of memory."""


@dataclass(frozen=True)
class In:
    """Numbers from ``low`` to ``high``; ``ends`` are the brackets, as in (0, 1]. ``hint`` says what
    usual values mean."""

    low: float = -math.inf
    high: float = math.inf
    ends: Literal["[]", "[)", "(]", "()"] = "[]"
    hint: str = ""

    def __contains__(self, value: float) -> bool:
        above = value >= self.low if self.ends[0] == "[" else value > self.low
        return above and (value <= self.high if self.ends[1] == "]" else value < self.high)

    def __str__(self) -> str:
        """What completes the sentence "it must …"."""
        if self.low == -math.inf and self.high < math.inf:
            return f"be at most {self.high:.10g}"
        if self.high == math.inf:
            finite = "finite and " if self.ends[1] == ")" else ""
            if self.low == -math.inf:
                return "be a finite number" if finite else "be a number"
            if self.ends[0] == "[":
                return f"be {finite}at least {self.low:g}"
            return f"be {finite}positive" if not self.low else f"be {finite}above {self.low:g}"
        return f"lie in {self.brackets}"

    @property
    def brackets(self) -> str:
        """As an interval: ``[0, 1)``."""
        text = f"{self.ends[0]}{self.low:g}, {self.high:g}{self.ends[1]}"
        return text.replace("-", "−")


def finite(hint: str = "") -> In:
    """Any finite number; what a plain ``float`` means, with a hint."""
    return In(-math.inf, math.inf, "()", hint)


def positive(hint: str = "") -> In:
    """Any number above zero, infinity among them."""
    return In(0, math.inf, "(]", hint)


@dataclass(frozen=True)
class Filled:
    """A list that is not empty; ``hint`` says what to put into it."""

    hint: str


def domain(hint: Any) -> str:
    """What an option may be, in short: ``[0, 1]``, ``midpoint or heun``, ``list of numbers``."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        for limit in arguments[1:]:
            if isinstance(limit, In) and limit != finite(limit.hint):
                return limit.brackets
        return domain(arguments[0])
    if is_union(hint):
        return " or ".join(dict.fromkeys(map(domain, arguments)))
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin is tuple and limited(arguments[0]):
        return f"list of {domain(arguments[0])}"
    return describe(hint).removeprefix("a ")


def limited(hint: Any) -> bool:
    """Whether an option has limits or choices beyond its type."""
    return domain(hint) != describe(hint).removeprefix("a ")


def describe(hint: Any) -> str:
    """The type of an option, in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return describe(arguments[0])
    if is_union(hint):
        return " or ".join(dict.fromkeys(map(describe, arguments)))
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin is tuple:
        count = "" if Ellipsis in arguments else f"{len(arguments)} "
        return f"a list of {count}{_plural(describe(arguments[0]))}"
    return _TYPES.get(hint, f"a {getattr(hint, '__name__', hint)}")


def _plural(text: str) -> str:
    text = text.removeprefix("a ")
    return text.replace("list of", "lists of", 1) if text.startswith("list of") else f"{text}s"


def is_union(hint: Any) -> bool:
    """Whether an annotation is a union of types."""
    return typing.get_origin(hint) in (typing.Union, types.UnionType)
