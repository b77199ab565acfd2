"""The class that all trajectories of a command have."""

from __future__ import annotations

from diffdescent.base.errors import UserError
from diffdescent.core.predict import Predictor

from .sampling import parse_labels


def one_label(text: str | None, model: Predictor) -> int | None:
    """The number of a class given by name or number. Raises :class:`UserError` for another, and for
    several."""
    if text is not None and "," in text:
        raise UserError(
            f"All trajectories are of one class here; give one as --label, not {text!r}."
        )
    labels = parse_labels(text, model, 1)
    return None if labels is None else int(labels[0])
