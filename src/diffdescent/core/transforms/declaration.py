"""The check of what a transform's class declares, made when the class is defined."""

from __future__ import annotations

import inspect
import typing
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from diffdescent.base.errors import UserError
from diffdescent.core.options import check_option

_MEMBERS = (property, cached_property, classmethod, staticmethod)


def check_declaration(cls: type[Any]) -> None:
    """Raise :class:`UserError` for a public attribute that is neither an option nor known to a base
    class, for an ability of a wrong type, and where ``linear`` is missing."""
    notes = inspect.get_annotations(cls)
    options = {n for n, note in notes.items() if not _is_class_variable(note)}
    known, abilities = _declared(cls)
    for name in filter(_is_public, {**vars(cls), **notes}):
        if name in abilities and name in options:
            raise UserError(
                f"{cls.__name__}.{name} is an ability, and so annotated it would be an option;"
                f" write {name} = … alone, or annotate it as ClassVar[…]."
            )
        if name in abilities and name in vars(cls):
            _check_value(cls, name, vars(cls)[name], abilities[name])
        if name not in known and name not in options:
            _refuse_unknown(cls, name, known)
    if not hasattr(cls, "linear") and not _is_abstract(cls):
        raise UserError(
            f"{cls.__name__} does not say whether it is linear in the evaluations; set linear ="
            " True or linear = False."
        )


def _declared(cls: type[Any]) -> tuple[set[str], dict[str, object]]:
    """The public names that the base classes know, and which of them are abilities, each with the
    property that declares it, or None."""
    known: set[str] = set()
    abilities: dict[str, object] = {}
    for base in cls.__mro__[1:]:
        notes = inspect.get_annotations(base)
        known.update(filter(_is_public, {**vars(base), **notes}))
        abilities |= {n: v for n, v in vars(base).items() if isinstance(v, property)}
        abilities |= dict.fromkeys(n for n, note in notes.items() if _is_class_variable(note))
    return known, abilities


def _check_value(cls: type[Any], name: str, value: object, declared: object) -> None:
    if name == "linear":
        check_option(cls.__name__, name, value, bool, "ability")
    elif isinstance(declared, property) and not isinstance(value, _MEMBERS):
        hint = typing.get_type_hints(declared.fget)["return"]
        check_option(cls.__name__, name, value, hint, "ability")


def _refuse_unknown(cls: type[Any], name: str, known: set[str]) -> None:
    """Methods and properties may have names of their own, unless nearly those of a base class."""
    value = vars(cls).get(name)
    near = get_close_matches(name, known, n=1, cutoff=0.8)
    if not near and (callable(value) or isinstance(value, _MEMBERS)):
        return
    meant = f"did you mean {near[0]!r}" if near else "annotate an option with its type"
    raise UserError(
        f"{cls.__name__} declares {name!r}, which no transform knows; {meant}, or begin the name"
        " with an underscore."
    )


def _is_public(name: str) -> bool:
    return not name.startswith("_")


def _is_class_variable(note: object) -> bool:
    return str(note).removeprefix("typing.").startswith("ClassVar")


def _is_abstract(cls: type[Any]) -> bool:
    """Whether a method is missing; Python itself knows it only once the class is made."""
    return any(getattr(getattr(cls, n, None), "__isabstractmethod__", False) for n in dir(cls))
