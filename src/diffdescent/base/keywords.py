"""Keywords that a function does not have, refused in a sentence that names the right one, and those
that it hands on to another function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from .errors import UserError, unknown

P = ParamSpec("P")
R = TypeVar("R")


def known_keywords(elsewhere: Mapping[str, str]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: an unknown keyword is a :class:`UserError`; ``elsewhere`` has a sentence for
    each keyword that is right in another function."""

    def guarded(function: Callable[P, R]) -> Callable[P, R]:
        known = inspect.signature(function).parameters

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in kwargs:
                if name in elsewhere:
                    raise UserError(elsewhere[name])
                if name not in known:
                    raise unknown(f"keyword of {function.__name__}", name, known)
            return function(*args, **kwargs)

        return call

    return guarded


def hands_on(
    options: type[Mapping[str, Any]], target: Callable[..., Any]
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: ``**options`` of a function, typed by the TypedDict ``options``, go to
    ``target``; the function's signature shows them with the defaults that they have there."""
    named = options.__annotations__
    taken = [p for p in inspect.signature(target).parameters.values() if p.name in named]

    def shown(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        last = {p.name: p for p in own if p.kind is p.KEYWORD_ONLY}
        first = [p for p in own if p.name not in last]
        whole = signature.replace(parameters=[*first, *taken, *last.values()])
        function.__dict__["__signature__"] = whole
        return function

    return shown
