"""Models of one's own by name, for texts and the command line: ``diffdescent --import mine.py
compare my_unet``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from diffdescent.base.errors import UserError
from diffdescent.core.namespace import Namespace
from diffdescent.core.predict import Predictor

Make = Callable[[str], Any]
M = TypeVar("M", bound=Make)

_NAMES = Namespace({})
MODELS: dict[str, Make] = _NAMES.table("model")
"""What makes each of them, by name."""


def register(name: str) -> Callable[[M], M]:
    """Make a model known by ``name`` to :func:`diffdescent.load_model`, and so to every command.

    It decorates a function of the device ("cpu", "cuda", …) that gives the model: a
    :class:`~diffdescent.Predictor`, such as a :class:`~diffdescent.Network` around your module, or
    whatever else :func:`diffdescent.sample` takes. It is called when the model is first needed.

    Args:
        name: a word in lower case, of no bundled model.

    Returns:
        The decorator.

    Raises:
        UserError: a name that is taken.
    """
    from . import bundled

    def add(make: M) -> M:
        if name in bundled():
            raise UserError(f"The name {name!r} is taken: it is a bundled model; choose another.")
        _NAMES.add("model", name, make)
        return make

    return add


def made(name: str, device: str | None) -> Predictor:
    """The model that was registered as ``name``.

    Raises :class:`UserError` where its function gives none.
    """
    from .adapt import as_model

    found = MODELS[name](device or "cpu")
    if isinstance(found, str) or found is None:
        raise UserError(
            f"The model {name!r} was registered by a function that gave {found!r}; let it return"
            " the model, such as dd.Network(…)."
        )
    return as_model(found)
