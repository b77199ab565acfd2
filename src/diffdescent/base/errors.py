"""The one error that bad input raises."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Bad input, in one sentence: what is wrong, what was expected and how to mend it.

    The command line prints the message and exits with code 2; no traceback.
    """


def unknown(kind: str, name: str, allowed: Iterable[str], also: Iterable[str] = ()) -> UserError:
    """The error for a name that does not exist: the nearest names (among ``also`` too), then all
    that are allowed."""
    names = sorted(allowed)
    near = get_close_matches(name, [*names, *also], n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else "."
    return UserError(f"Unknown {kind} {name!r}{hint} Allowed: {', '.join(names)}.")
