"""Text to operator: ``"blur(sigma=2)"``, in the grammar of recipes (:mod:`..grammar`)."""

from __future__ import annotations

from diffdescent.core.grammar import read_element

from .base import OPERATORS, Operator


def parse_operator(text: str | Operator) -> Operator:
    """The operator that ``text`` describes.

    Args:
        text: such as ``"blur(sigma=2)"``, or an operator, which is itself; ``diffdescent list
            operators`` prints the names.

    Returns:
        The operator, for images of any size.

    Raises:
        UserError: wrong syntax, names (with the nearest ones), options and values.
    """
    if isinstance(text, Operator):
        return text
    return read_element(text, "operator", OPERATORS, "blur(sigma=2)")
