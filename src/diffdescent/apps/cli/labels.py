"""Labels of the command line: a class for each sample, or one for all trajectories."""

from __future__ import annotations

from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.predict import Predictor
from diffdescent.run.inputs import labels_of_text, resolve_labels


def parse_labels(text: str | None, model: Predictor, count: int) -> Tensor | None:
    """A class name or number for all samples, or a comma-separated list that is repeated over
    them."""
    return None if text is None else resolve_labels(text, range(count), model)


def one_label(text: str | None, model: Predictor) -> int | None:
    """The number of a class given by name or number. Raises :class:`UserError` for another, and for
    several."""
    if text is not None and len(labels_of_text(text, model)) > 1:
        raise UserError(
            f"All trajectories are of one class here; give one as --label, not {text!r}."
        )
    labels = parse_labels(text, model, 1)
    return None if labels is None else int(labels[0])
