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

import numpy as np
import torch

from diffdescent.base.errors import UserError
from diffdescent.base.words import shown

from .limits import MOST, In, describe, is_union
from .options import check_option


def check_call(function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Raise :class:`UserError` for the first argument that its annotation does not allow.

    ``given`` are the arguments by name, such as ``locals()`` in the function's first line. What an
    annotation cannot decide by itself (protocols, names for type checkers alone) passes.
    """
    for name, hint in _hints(function).items():
        if name in given:
            _check(function.__name__, name, given[name], hint)


def check_fields(instance: Any) -> None:
    """:func:`check_call` of a dataclass, in its ``__post_init__``."""
    cls: Any = type(instance)
    given = {f.name: getattr(instance, f.name) for f in dataclasses.fields(cls) if f.init}
    for name, hint in _hints(cls).items():
        if name in given:
            _check(cls.__name__, name, given[name], hint)


def _check(owner: str, name: str, value: object, hint: Any) -> None:
    """An option takes a single value for a list of one; an argument is used as it is."""
    members = typing.get_args(hint) if is_union(hint) else (hint,)
    lists = [m for m in members if typing.get_origin(m) is tuple]
    if lists and isinstance(value, torch.Tensor) and value.ndim and not _holds(value, hint):
        value = value.tolist()
    if lists and not isinstance(value, collections.abc.Sequence | np.ndarray | None):
        members = tuple(m for m in members if m not in lists)
        hint = typing.Union[members] if members else types.NoneType  # noqa: UP007
        if not members or not _holds(value, hint):
            raise UserError(
                f"The argument {name!r} of {owner!r} must be {describe(lists[0])}, not"
                f" {shown(value)}."
            )
    check_option(owner, name, value, hint, "argument")


def _holds(value: object, hint: Any) -> bool:
    try:
        check_option("", "", value, hint)
    except UserError:
        return False
    return True


@cache
def _hints(function: Any) -> dict[str, Any]:
    """The annotations that can be checked, by argument."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        hint = _resolved(parameter.annotation, function)
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) and _plain(hint):
            found[name] = _limited(name, hint)
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


def _limited(name: str, hint: Any) -> Any:
    """An annotation in which a sequence is a tuple, whose members are held to theirs, too, and a
    whole number without a range of its own is at most :data:`MOST`."""
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if hint is int and name != "seed":
        return Annotated[int, In(high=MOST)]
    if is_union(hint):
        return typing.Union[tuple(_limited(name, member) for member in members)]  # noqa: UP007
    if origin is collections.abc.Sequence and _plain(members[0]):
        return tuple[members[0], ...]  # type: ignore[valid-type]
    return hint
