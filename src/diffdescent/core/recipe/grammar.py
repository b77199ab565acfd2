"""One element of a text, name(option, key=value, …), read, checked against a class's options, and
written back.

::

    element := name [ "(" [ item ("," item)* ] ")" ]
    item    := [ key "=" ] value        # values without a key fill the options in order
    value   := number | true | false | none | word | "text" | 'text' | [ value, … ]

A bare value after ``key=`` extends it to a list: ``pxp(delta=1,1,1e-3,1e-3)``.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from diffdescent.base.errors import UserError, unknown

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_\-+./]*")
_NUMBER = re.compile(r"[+-]?(?:inf|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![A-Za-z0-9_.])")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_CONSTANTS: dict[str, object] = {"true": True, "false": False, "none": None}


class Reader:
    """A cursor over the text of one element list; ``example`` is what its errors show."""

    def __init__(self, text: str, example: str = "ge(gamma=2) | momentum(beta=-0.3)") -> None:
        self.text, self.at, self.example = text, 0, example

    def error(self, expected: str) -> UserError:
        rest = self.text[self.at : self.at + 12]
        found = repr(rest) if rest else "the end"
        return UserError(
            f"Cannot read {self.text!r}: expected {expected} at position {self.at}, found {found}; "
            f'write for example "{self.example}".'
        )

    def skip(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def take(self, char: str) -> bool:
        self.skip()
        if self.text.startswith(char, self.at):
            self.at += len(char)
            return True
        return False

    def match(self, pattern: re.Pattern[str]) -> str | None:
        self.skip()
        found = pattern.match(self.text, self.at)
        if not found:
            return None
        self.at = found.end()
        return found.group()

    def name(self) -> str:
        word = self.match(_WORD)
        if word is None:
            raise self.error("a name")
        return word

    def value(self) -> object:
        if self.take("["):
            items: list[object] = []
            while not self.take("]"):
                items.append(self.value())
                if not self.take(","):
                    if not self.take("]"):
                        raise self.error("',' or ']'")
                    break
            return tuple(items)
        number = self.match(_NUMBER)
        if number is not None:
            return float(number) if re.search(r"[.eEf]", number) else int(number)
        quoted = self.match(_QUOTED)
        if quoted is not None:
            return quoted[1:-1]
        word = self.match(_WORD)
        if word is None:
            raise self.error("a value (paths and texts stand in quotes)")
        return _CONSTANTS.get(word.lower(), word)

    def arguments(self) -> tuple[list[object], dict[str, object]]:
        positional: list[object] = []
        named: dict[str, object] = {}
        last: str | None = None
        if not self.take("("):
            return positional, named
        while not self.take(")"):
            start = self.at
            key = self.match(_WORD)
            if key is not None and self.take("="):
                if key in named:
                    raise UserError(
                        f"The option {key!r} is given twice in {self.text!r}; give it once."
                    )
                named[key], last = self.value(), key
            else:
                self.at = start
                value = self.value()
                if last is None:
                    positional.append(value)
                else:
                    before = named[last]
                    named[last] = (*before, value) if isinstance(before, tuple) else (before, value)
            if not self.take(","):
                if not self.take(")"):
                    raise self.error("',' or ')'")
                break
        return positional, named


def _fits(value: object, hint: Any) -> tuple[bool, object]:
    """Whether ``value`` is of the annotated type; integers count as floats."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        for member in typing.get_args(hint):
            ok, converted = _fits(value, member)
            if ok:
                return True, converted
        return False, value
    if origin is Literal:
        return value in typing.get_args(hint), value
    if origin is tuple:
        items = value if isinstance(value, tuple) else (value,)
        member = typing.get_args(hint)[0]
        pairs = [_fits(item, member) for item in items]
        return all(ok for ok, _ in pairs), tuple(item for _, item in pairs)
    if hint is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return True, float(value)
        return False, value
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool), value
    if hint is type(None):
        return value is None, None
    if isinstance(hint, type):
        return isinstance(value, hint), value
    return True, value


def _describe(hint: Any) -> str:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_describe(m) for m in typing.get_args(hint)))
    if origin is Literal:
        return " or ".join(repr(v) for v in typing.get_args(hint))
    if origin is tuple:
        return f"a list of {_describe(typing.get_args(hint)[0]).removeprefix('a ')}s"
    names = {
        float: "a number",
        int: "a whole number",
        bool: "true or false",
        str: "a word",
        type(None): "none",
    }
    return names.get(hint, str(getattr(hint, "__name__", hint)))


def bind(
    what: str,
    name: str,
    hints: Mapping[str, Any],
    positional: list[object],
    named: dict[str, object],
) -> dict[str, object]:
    """Match values to options by order and by name, and check their types."""
    if len(positional) > len(hints):
        raise UserError(
            f"{what} {name!r} takes at most {len(hints)} options ({', '.join(hints) or 'none'}), "
            f"but {len(positional)} values were given."
        )
    values = dict(zip(hints, positional, strict=False))
    for key, value in named.items():
        if key not in hints:
            if not hints:
                raise UserError(f"{what} {name!r} has no options, so {key!r} cannot be set.")
            raise unknown(f"option for {name!r}:", key, hints)
        if key in values:
            raise UserError(
                f"The option {key!r} of {name!r} is given twice, in order and by name; give it"
                " once."
            )
        values[key] = value
    for key, value in values.items():
        ok, values[key] = _fits(value, hints[key])
        if not ok:
            raise UserError(
                f"The option {key!r} of {name!r} must be {_describe(hints[key])}, not {value!r}."
            )
    return values


def options_of(cls: type[Any]) -> dict[str, Any]:
    """The options of a solver or transform and their types, in order."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}


def _print_value(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_print_value, value)) + "]"
    if isinstance(value, str) and (not _WORD.fullmatch(value) or value.lower() in _CONSTANTS):
        return f"'{value}'" if "'" not in value else f'"{value}"'
    return repr(value) if isinstance(value, float) else str(value)


def print_element(part: Any) -> str:
    """The text of a solver, transform or guidance: its name, and the options that are not the
    default."""
    changed = []
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if field.init and value != field.default:
            changed.append(f"{field.name}={_print_value(value)}")
    return f"{part.name}({', '.join(changed)})" if changed else str(part.name)
