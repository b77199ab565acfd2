"""Dataclasses to JSON and back: every value checked against the type that its field declares."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from diffdescent.base.errors import UserError

from .json_files import shortly

T = TypeVar("T")
_SPECIAL = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
"""Numbers that JSON does not have, as the text that stands for them."""
_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def encode(value: Any) -> Any:
    """A value as JSON has it: dataclasses as objects, tuples as lists, infinities as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [encode(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): encode(one) for key, one in value.items()}
    return value


def decode(kind: type[T], value: Any, where: str) -> T:
    """A dataclass of type ``kind`` from what :func:`encode` made of it; ``where`` names it in
    messages.

    Raises :class:`UserError`, one sentence, for an entry that is missing, unknown or of another
    type.
    """
    if not isinstance(value, dict):
        raise UserError(f"{where} must be a JSON object, not {shortly(value)}.")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]  # a dataclass
    hints = get_type_hints(kind)
    if foreign := sorted(value.keys() - fields.keys()):
        raise UserError(f"{where} has an entry {shortly(foreign[0])}, which is not known.")
    for name, field in fields.items():
        if (
            name not in value
            and field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        ):
            raise UserError(f"{where} lacks the entry {name!r}.")
    return kind(
        **{name: _value(hints[name], one, f"{where}: {name}") for name, one in value.items()}
    )


def _value(hint: Any, value: Any, where: str) -> Any:
    """``value`` as the type ``hint``; a union is taken by its first member that fits."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _union(arguments, value, where)
    if origin is Literal:
        if value not in arguments:
            raise UserError(
                f"{where} must be one of {', '.join(map(repr, arguments))}, not {shortly(value)}."
            )
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise UserError(f"{where} must be a list, not {shortly(value)}.")
        return tuple(_value(arguments[0], one, f"{where}[{i}]") for i, one in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise UserError(f"{where} must be a JSON object, not {shortly(value)}.")
        return {key: _value(arguments[1], one, f"{where}: {key}") for key, one in value.items()}
    if dataclasses.is_dataclass(hint):
        return decode(hint, value, where)  # type: ignore[arg-type]  # never an instance
    return _plain(hint, value, where)


def _union(members: tuple[Any, ...], value: Any, where: str) -> Any:
    """None and a list where the type allows them, else its first plain member."""
    if value is None and type(None) in members:
        return None
    known = [member for member in members if member is not type(None)]
    listed = [member for member in known if get_origin(member) is tuple]
    return _value(listed[0] if listed and isinstance(value, list) else known[0], value, where)


def _plain(kind: Any, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, str) and value in _SPECIAL:
        return _SPECIAL[value]
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"{where} must be {_NAMES[kind]}, not {shortly(value)}.")
    try:
        return kind(value)
    except OverflowError:
        raise UserError(f"{where} is too large a number.") from None
