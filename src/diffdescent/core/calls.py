"""Arguments of public functions, held to their annotations before anything is done with them."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Literal

from .options import check_option


def check_call(function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Raise :class:`UserError` for the first argument that its annotation does not allow.

    ``given`` are the arguments by name, such as ``locals()`` in the function's first line. What an
    annotation cannot decide by itself (protocols, names for type checkers alone) passes.
    """
    for name, hint in _hints(function).items():
        if name in given:
            check_option(function.__name__, name, given[name], hint, "argument")


def check_fields(instance: Any) -> None:
    """:func:`check_call` of a dataclass, in its ``__post_init__``."""
    cls: Any = type(instance)
    given = {f.name: getattr(instance, f.name) for f in dataclasses.fields(cls) if f.init}
    for name, hint in _hints(cls).items():
        if name in given:
            check_option(cls.__name__, name, given[name], hint, "argument")


@cache
def _hints(function: Any) -> dict[str, Any]:
    """The annotations that can be checked, by argument."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        hint = _resolved(parameter.annotation, function)
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) and _plain(hint):
            found[name] = _with_members(hint)
    return found


def _resolved(hint: Any, function: Callable[..., Any]) -> Any:
    """An annotation as an object; Any for a name that is there for type checkers alone."""
    if not isinstance(hint, str):
        return Any
    for cls in inspect.getmro(function) if inspect.isclass(function) else (function,):
        module = inspect.getmodule(cls)
        try:
            holder = types.SimpleNamespace(__annotations__={"x": hint})
            return typing.get_type_hints(holder, vars(module), include_extras=True)["x"]
        except NameError:
            continue
    return Any


def _plain(hint: Any) -> bool:
    """Whether a value can be held to an annotation by looking at it."""
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _plain(members[0])
    if origin in (typing.Union, types.UnionType, tuple):
        return all(_plain(member) for member in members if member is not Ellipsis)
    if origin is Literal or origin is collections.abc.Callable:
        return True
    kind = origin or hint
    return isinstance(kind, type) and kind is not Any and not getattr(kind, "_is_protocol", False)


def _with_members(hint: Any) -> Any:
    """An annotation in which a sequence is a tuple, whose members are held to theirs, too."""
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(map(_with_members, members))]  # noqa: UP007
    if origin is collections.abc.Sequence and _plain(members[0]):
        return tuple[members[0], ...]  # type: ignore[valid-type]
    return hint
