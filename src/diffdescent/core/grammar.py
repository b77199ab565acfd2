"""One element of a text, name(option, key=value, …), read, matched with a class's options, and
written back.

::

    element := name [ "(" [ item ("," item)* ] ")" ]
    item    := [ key "=" ] value        # values without a key fill the options in order
    value   := number | true | false | none | word | "text" | 'text' | [ value, … ]

Within a text its own quotes are doubled: 'the "dog''s" toy'.

A bare value after ``key=`` extends it to a list: ``pxp(delta=1,1,1e-3,1e-3)``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from diffdescent.base.errors import UserError, unknown

from .aliases import normal
from .options import options_of

K = TypeVar("K")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_\-+./]*")
_NUMBER = re.compile(r"[+-]?(?:inf|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![A-Za-z0-9_.])")
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
LENGTH = 200
"""Characters of a text that messages repeat, at most."""
DEEPEST = 8
"""Lists may stand in lists this deep; no option needs more than two."""
DIGITS = 40
"""A whole number has at most so many digits."""
_CONSTANTS: dict[str, object] = {"true": True, "false": False, "none": None}


class Reader:
    """A cursor over the text of one element list; ``example`` is what its errors show."""

    def __init__(self, text: str, example: str = "ge(gamma=2) | momentum(beta=-0.3)") -> None:
        self.text, self.at, self.example = text, 0, example

    def error(self, expected: str) -> UserError:
        rest = self.text[self.at : self.at + 12]
        found = repr(rest) if rest else "the end"
        return UserError(
            f"Cannot read {self.shown}: expected {expected} at position {self.at}, found {found}; "
            f'write for example "{self.example}".'
        )

    @property
    def shown(self) -> str:
        """The text in quotes, as a message has it: the beginning of a long one."""
        return repr(self.text if len(self.text) <= LENGTH else f"{self.text[:LENGTH]}…")

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

    def value(self, depth: int = 0) -> object:
        if self.take("["):
            if depth == DEEPEST:
                raise self.error(f"lists nested at most {DEEPEST} deep")
            items: list[object] = []
            while not self.take("]"):
                items.append(self.value(depth + 1))
                if not self.take(","):
                    if not self.take("]"):
                        raise self.error("',' or ']'")
                    break
            return tuple(items)
        number = self.match(_NUMBER)
        if number is not None:
            if re.search(r"[.eEf]", number):
                return float(number)
            if len(number) > DIGITS:
                raise UserError(f"A number in {self.shown} has more than {DIGITS} digits.")
            return int(number)
        quoted = self.match(_QUOTED)
        if quoted is not None:
            return quoted[1:-1].replace(2 * quoted[0], quoted[0])
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
                        f"The option {key!r} is given twice in {self.shown}; give it once."
                    )
                named[key], last = self.value(), key
            else:
                self.at = start
                value = self.value()
                if last is None:
                    positional.append(value)
                else:
                    before = named[last]
                    named[last] = _extended(before, value)
            if not self.take(","):
                if not self.take(")"):
                    raise self.error("',' or ')'")
                break
        return positional, named


def _extended(before: object, value: object) -> tuple[object, ...]:
    """A value, or the list that it has become, with one more; lists make a list of lists."""
    if not isinstance(before, tuple):
        return before, value
    of_lists = any(isinstance(item, tuple) for item in before)
    return (before, value) if isinstance(value, tuple) and not of_lists else (*before, value)


def bind(
    what: str,
    name: str,
    options: Mapping[str, Any],
    positional: list[object],
    named: dict[str, object],
) -> dict[str, object]:
    """Match values to options by order and by name; what they may be, the options check
    themselves (:mod:`diffdescent.core.options`)."""
    if len(positional) > len(options):
        raise UserError(
            f"{what} {name!r} takes at most {len(options)} options"
            f" ({', '.join(options) or 'none'}), but {len(positional)} values were given."
        )
    values = dict(zip(options, positional, strict=False))
    for key, value in named.items():
        if key not in options:
            if not options:
                raise UserError(f"{what} {name!r} has no options, so {key!r} cannot be set.")
            raise unknown(f"option for {name!r}:", key, options)
        if key in values:
            raise UserError(
                f"The option {key!r} of {name!r} is given twice, in order and by name; give it"
                " once."
            )
        values[key] = value
    return values


def construct(
    what: str, name: str, cls: type[K], positional: list[object], named: dict[str, object]
) -> K:
    """An object of ``cls`` by the options of a text.

    Raises:
        UserError: wrong options and values, and an option without a default that is not given.
    """
    values = bind(what, name, options_of(cls), positional, named)
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # a dataclass, as registered
        given = field.name in values or not field.init
        if not given and field.default is field.default_factory is dataclasses.MISSING:
            raise UserError(
                f"{what} {name!r} needs its {field.name}; write {name}({field.name}=…)."
            )
    return cls(**values)


def read_value(text: str) -> object:
    """One value: a number, ``true``, ``none``, a word, a text in quotes or a list.

    Raises:
        UserError: anything else.
    """
    reader = Reader(text)
    value = reader.value()
    reader.skip()
    if reader.at != len(text):
        raise reader.error("the end")
    return value


def print_value(value: object) -> str:
    """A value as :func:`read_value` reads it."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(print_value, value)) + "]"
    if isinstance(value, str) and (not _WORD.fullmatch(value) or value.lower() in _CONSTANTS):
        quote = '"' if "'" in value and '"' not in value else "'"
        return quote + value.replace(quote, 2 * quote) + quote
    return repr(value) if isinstance(value, float) else str(value)


def print_element(part: Any) -> str:
    """The text of a solver, transform or guidance: its name, and the options that are not the
    default."""
    changed: dict[str, object] = {}
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if field.init and value != field.default:
            changed[field.name] = value
    return print_call(part.name, changed)


def print_call(name: str, values: Mapping[str, object]) -> str:
    """``name(option=value, …)``, or the name alone where there is no value."""
    given = ", ".join(f"{option}={print_value(value)}" for option, value in values.items())
    return f"{name}({given})" if given else name


def read_element(text: str, kind: str, table: Mapping[str, type[K]], example: str) -> K:
    """The one thing of a ``kind`` that ``text`` names, with its options, out of a ``table`` of
    classes by name.

    Raises:
        UserError: wrong syntax, names (with the nearest ones), options and values.
    """
    reader = Reader(text, example)
    made = _element(reader, kind, table)
    reader.skip()
    if reader.at != len(text):
        raise reader.error("the end")
    return made


def read_elements(
    text: str, kind: str, table: Mapping[str, type[K]], example: str, between: str
) -> tuple[K, ...]:
    """As :func:`read_element` for several things with ``between`` between them; none for an empty
    text."""
    if not text.strip():
        return ()
    reader = Reader(text, example)
    made = [_element(reader, kind, table)]
    while reader.take(between):
        made.append(_element(reader, kind, table))
    reader.skip()
    if reader.at != len(text):
        raise reader.error(f"{between!r} or the end")
    return tuple(made)


def _element(reader: Reader, kind: str, table: Mapping[str, type[K]]) -> K:
    name = reader.name()
    positional, named = reader.arguments()
    if normal(name) not in table:
        raise unknown(kind, name, table)
    cls = table[normal(name)]
    return construct(f"The {kind}", name, cls, positional, named)
