"""The one error that bad input raises."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Bad input, in one sentence: what is wrong, what was expected and how to mend it.

    The command line prints the message and exits with code 2; no traceback. Of a value that is a
    long list of numbers or a long text the message has the beginning.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(_shortened(str(message)))


_NUMBER = r"[\[(]*(?:[-+]?(?:[\d.]+(?:e[-+]?\d+)?|nan|inf)|None|True|False|null)(?:,?[\])])*"
_NUMBERS = re.compile(rf"((?:{_NUMBER}, ){{8}})(?:{_NUMBER}, ){{16,}}({_NUMBER})")
_WORD = re.compile(r"(\S{300})\S{100,}")


def _shortened(message: str) -> str:
    """A message in which no list has more than some 24 numbers and no word 400 characters."""
    return _WORD.sub(r"\1…", _NUMBERS.sub(r"\1…, \2", message))


def unknown(kind: str, name: str, allowed: Iterable[str], also: Iterable[str] = ()) -> UserError:
    """The error for a name that does not exist: the nearest names (among ``also`` too), then all
    that are allowed."""
    names = sorted(allowed)
    spelt = {one.lower(): one for one in (*also, *names)}
    near = [spelt[one] for one in get_close_matches(name.lower(), spelt, n=3, cutoff=0.5)]
    hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else "."
    return UserError(f"Unknown {kind} {name!r}{hint} Allowed: {', '.join(names)}.")
