"""Keywords that a function does not have, refused in a sentence that names the right one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import ParamSpec, TypeVar

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
