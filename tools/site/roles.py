"""A Griffe extension: the roles of our docstrings (``:class:`Grid```) as links of the site.

A name is looked up where it stands, as Python would; what the site has no page for stays code.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Alias, Docstring, Extension, NameResolutionError, Object

ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|obj):`(~?)([\w.]+)`")


class Roles(Extension):
    """Rewrites the roles of every docstring when the whole package is loaded."""

    def on_package(self, *, pkg: Any, **kwargs: Any) -> None:
        _walk(pkg, set())


def _walk(found: Object | Alias, seen: set[str]) -> None:
    if found.path in seen:
        return
    seen.add(found.path)
    if found.docstring is not None:
        _rewrite(found.docstring, found)
    for member in found.members.values():
        if not member.is_alias:
            _walk(member, seen)


def _rewrite(docstring: Docstring, where: Object | Alias) -> None:
    def link(match: re.Match[str]) -> str:
        short, name = match.groups()
        shown = name.rpartition(".")[2] if short else name
        return f'<autoref optional identifier="{_path(name, where)}"><code>{shown}</code></autoref>'

    docstring.value = ROLE.sub(link, docstring.value)


def _path(name: str, where: Object | Alias) -> str:
    """The full path of what ``name`` means at ``where``, or the name itself."""
    first, _, rest = name.partition(".")
    try:
        path = where.resolve(first)
    except NameResolutionError:
        return name
    return f"{path}.{rest}" if rest else path
