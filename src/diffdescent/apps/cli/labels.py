"""Labels of the command line: a class for each sample, or one for all trajectories."""

from __future__ import annotations

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.predict import Predictor
from diffdescent.run.inputs import labels_of_text, resolve_labels


def parse_labels(text: str | None, model: Predictor, count: int) -> Tensor | None:
    """A class name or number for all samples, or a comma-separated list that is repeated over
    them; ``none`` is −1 for each."""
    if text is None:
        return None
    found = resolve_labels(text, range(count), model)
    return torch.full((count,), -1) if found is None else found


def one_label(text: str | None, model: Predictor) -> int | None:
    """The number of a class given by name or number; None for none.

    Raises :class:`UserError` for another, and for several.
    """
    if text is None:
        return None
    labels = resolve_labels(text, range(1), model)
    if labels is not None and len(labels_of_text(text, model)) > 1:
        raise UserError(
            f"All trajectories are of one class here; give one as --labels, not {text!r}."
        )
    return None if labels is None else int(labels[0])
