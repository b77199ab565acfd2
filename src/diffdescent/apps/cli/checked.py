"""Numbers of the command line, held to their annotations before a command begins: finite, and in
range.

``Annotated[int, typer.Option(help=…), In(0, 1)]`` says a range of its own. Without one a number is
finite, and a whole number at most :data:`MOST`: what a typing mistake asks for shall not run out of
memory.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from diffdescent.core.limits import MOST, In

SEEDS = In(0, 2**64 - 1)
"""The keys that noise has: 64 bits."""
_BY_NAME = {"seed": SEEDS, "sample": In(0, 2**48 - 1)}


def checked(command: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with its numbers and its device checked first.

    Raises :class:`UserError`, when it is called, for a number out of its range and a device that is
    not there.
    """
    ranges = {
        name: _range(name, parameter.annotation)
        for name, parameter in inspect.signature(function, eval_str=True).parameters.items()
    }

    @functools.wraps(function)
    def run(**given: Any) -> Any:
        from diffdescent.core.options import check_option

        if given.get("device") is not None:
            from diffdescent.base.device import pick_device

            pick_device(given["device"])
        given = {name: _at_home(value) for name, value in given.items()}
        for name, value in given.items():
            hint = ranges.get(name)
            if hint is None or value is None:
                continue
            for one in value if isinstance(value, list | tuple) else (value,):
                check_option(command, f"--{name.rstrip('_').replace('_', '-')}", one, hint)
        return function(**given)

    return run


def _at_home(value: Any) -> Any:
    """A path with "~" as the user's folder, which a shell leaves as it is in --out=~/x."""
    if isinstance(value, list):
        return [_at_home(one) for one in value]
    if not isinstance(value, Path):
        return value
    try:
        return value.expanduser()
    except RuntimeError:  # of a user that there is not
        return value


def _range(name: str, annotation: Any) -> Any:
    """What a number may be, as an annotation; None for what is no number."""
    limits: list[Any] = []
    if typing.get_origin(annotation) is Annotated:
        annotation, *limits = typing.get_args(annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
    if typing.get_origin(annotation) is list:
        annotation = typing.get_args(annotation)[0]
    own = next((limit for limit in limits if isinstance(limit, In)), None)
    if annotation is float:
        return Annotated[float, own or In(ends="()")]
    if annotation is int:
        return Annotated[int, own or _BY_NAME.get(name) or In(high=MOST)]
    return None
