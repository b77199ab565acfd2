"""Names that texts use: each stands for one thing alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from diffdescent.base.errors import UserError

from .aliases import ALIASES, GRID_ALIASES, SCHEDULERS, normal
from .options import check_frozen

C = TypeVar("C", bound=type[Any])


class Namespace:
    """The names that one kind of text can use: tables of things by name, and ``aliases``, each with
    the text that it stands for."""

    def __init__(self, aliases: Mapping[str, str]) -> None:
        self._aliases = aliases
        self._tables: dict[str, dict[str, Any]] = {}

    def table(self, kind: str) -> dict[str, Any]:
        """A new table of things of a ``kind``, whose names nothing else of the namespace has."""
        return self._tables.setdefault(kind, {})

    def add(self, kind: str, name: str, thing: Any) -> None:
        """Make ``thing`` known by ``name`` in the table of its ``kind``.

        Raises :class:`UserError` for a name that no text can have, for an alias, and for the name
        of another thing. Of the same module and qualified name it is the same thing, loaded again.
        """
        if name != normal(name) or not name.isidentifier():
            raise UserError(
                f"A {kind} cannot be called {name!r}: names are words in lower case; choose"
                " another, for example 'my_name'."
            )
        if name in self._aliases:
            raise UserError(
                f"The name {name!r} is taken: it stands for {self._aliases[name]!r}; choose"
                " another."
            )
        for other, table in self._tables.items():
            known = table.get(name)
            if known is not None and (other != kind or _place(known) != _place(thing)):
                raise UserError(
                    f"The name {name!r} is taken: it is the {other} {_place(known)}; choose"
                    " another."
                )
        self._tables[kind][name] = thing

    def frozen(self, kind: str, name: str) -> Callable[[C], C]:
        """What decorates a class of frozen options: checks it, adds it to the table of its ``kind``
        and gives it its ``name``. Raises :class:`UserError` as :meth:`add`, and for a class that is
        not a frozen dataclass or lacks a method."""

        def add(cls: C) -> C:
            check_frozen(cls)
            if lacking := sorted(getattr(cls, "__abstractmethods__", ())):
                raise UserError(
                    f"{cls.__name__} lacks {' and '.join(lacking)}, which every {kind} has; write"
                    " the method."
                )
            self.add(kind, name, cls)
            cls.name = name
            return cls

        return add


def _place(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


RECIPE_NAMES = Namespace({**ALIASES, **{name: text for name, (text, _) in SCHEDULERS.items()}})
"""The names in recipes: solvers and transforms."""
GRID_NAMES = Namespace(GRID_ALIASES)
"""The names of grids."""
OPERATOR_NAMES = Namespace({})
"""The names of measurement operators."""
CONSTRAINT_NAMES = Namespace({})
"""The names of constraint sets."""
