"""Controls made from the annotations of options: a solver that is registered has them without a
line of code here."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from diffdescent.core.grammar import print_value, read_value
from diffdescent.core.grid import GRIDS
from diffdescent.core.limits import In, domain, finite, is_union
from diffdescent.core.options import check_option, keywords_of, options_of

from .chain import grid_defaults

Kind = Literal["slider", "number", "choice", "text"]
STEPS = 40
"""A slider has about this many places."""


@dataclass(frozen=True)
class Control:
    """One option as a control: ``shown`` is its value as the control has it; ``note`` says what it
    may be. ``low``, ``high`` and ``step`` are those of a slider, ``choices`` the texts of a choice.
    """

    option: str
    kind: Kind
    shown: Any
    note: str
    low: float = -math.inf
    high: float = math.inf
    step: float = 0.0
    choices: tuple[str, ...] = ()
    owner: str = ""
    hint: Any = field(default=None, repr=False, compare=False)

    def read(self, shown: object) -> Any:
        """The option's value from what the control shows. Raises :class:`UserError`, with the
        sentence of the command line, for one that is not allowed."""
        value: object = shown
        if self.kind == "choice":
            value = {print_value(v): v for v in _choices(self.hint) or ()}.get(str(shown), shown)
        elif self.kind == "text":
            text = str(shown or "").strip()
            plain = str in _members(self.hint) and text.lower() != "none"
            value = text if plain else read_value(text or "none")
        elif isinstance(shown, float) and shown.is_integer() and _whole(self.hint):
            value = int(shown)
        return check_option(self.owner, self.option, value, self.hint)


def controls_of(part: Any) -> list[Control]:
    """The controls of a solver, a transform or an element of guidance."""
    hints = options_of(type(part))
    return [control(part.name, o, hint, getattr(part, o)) for o, hint in hints.items()]


def grid_controls(name: str, values: Mapping[str, object]) -> list[Control]:
    """The controls of a grid, of which ``values`` are given."""
    shown = {**grid_defaults(name), **values}
    return [control(name, o, hint, shown[o]) for o, hint in keywords_of(GRIDS[name]).items()]


def control(owner: str, option: str, hint: Any, value: Any) -> Control:
    """The control of one option with this annotation, at this value."""
    known: dict[str, Any] = {"owner": owner, "hint": hint, "note": _note(hint)}
    choices = _choices(hint)
    if choices is not None:
        texts = tuple(print_value(choice) for choice in choices)
        return Control(option, "choice", print_value(value), choices=texts, **known)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        limits = _limits(hint)
        if limits is not None and math.isfinite(limits.high - limits.low):
            whole = _whole(hint)
            step = 1.0 if whole else _nice((limits.high - limits.low) / STEPS)
            low = limits.low + step * (limits.ends[0] == "(")
            high = limits.high - step * (limits.ends[1] == ")")
            known |= {"low": min(low, value), "high": max(high, value), "step": step}
            return Control(option, "slider", value, **known)
        if any(member in (int, float) for member in map(_plain, _members(hint))):
            return Control(option, "number", value, **known)
    shown = value if isinstance(value, str) else print_value(value)
    return Control(option, "text", shown, **known)


def _members(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if is_union(hint) else (hint,)


def _plain(hint: Any) -> Any:
    """A type without the limits that stand next to it."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def _whole(hint: Any) -> bool:
    """Whether of numbers only whole ones are allowed."""
    kinds = set(map(_plain, _members(hint)))
    return int in kinds and float not in kinds


def _choices(hint: Any) -> tuple[Any, ...] | None:
    """The values of an option that has finitely many, else None."""
    hint = _plain(hint)
    if hint is bool:
        return True, False
    if hint in (None, types.NoneType):
        return (None,)
    if typing.get_origin(hint) is Literal:
        return typing.get_args(hint)
    if is_union(hint):
        found = [_choices(member) for member in typing.get_args(hint)]
        known = [values for values in found if values is not None]
        return tuple(v for values in known for v in values) if len(known) == len(found) else None
    return None


def _limits(hint: Any) -> In | None:
    """The limits of the numbers that an option may be."""
    for member in _members(hint):
        if typing.get_origin(member) is Annotated and _plain(member) in (int, float):
            return next((x for x in typing.get_args(member)[1:] if isinstance(x, In)), None)
    return None


def _note(hint: Any) -> str:
    limits = _limits(hint)
    more = f"; {limits.hint}" if limits is not None and limits.hint else ""
    plain = limits is not None and limits == finite(limits.hint) and not is_union(hint)
    return ("a number" if plain else domain(hint)) + more


def _nice(size: float) -> float:
    """1, 2 or 5 times a power of ten, near ``size``."""
    power = 10.0 ** math.floor(math.log10(size))
    return min((power * f for f in (1, 2, 5, 10)), key=lambda step: abs(step - size))
