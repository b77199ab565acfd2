"""Micro-batches: the network always sees one width, so that an image does not depend on its
batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from torch import Tensor

from diffdescent.core.executor import Query
from diffdescent.core.limits import In
from diffdescent.core.model_info import info
from diffdescent.core.options import check_option
from diffdescent.core.predict import Prediction, Predictor

CPU_WIDTH, GPU_WIDTH = 4, 32
"""How many samples the network sees at once, unless asked otherwise. The last bits follow it: it is
in the record. A run of fewer samples takes their number."""


WIDTH = Annotated[int, In(1, 1 << 16)]
"""Samples that a network sees at once; what cannot be meant is not allocated."""


def micro_batch_width(
    model: Predictor,
    device: torch.device,
    asked: int | None = None,
    samples: int | None = None,
) -> int:
    """How many samples the network sees at once: what was asked for; else the model's own
    ``width`` or the device's default, and no more than there are ``samples``, so that nothing is
    computed for padding alone."""
    if asked is not None:
        return int(check_option("network", "micro_batch", asked, WIDTH))
    usual = info(model).width or (CPU_WIDTH if device.type == "cpu" else GPU_WIDTH)
    return usual if samples is None else min(usual, samples)


def evaluate(
    model: Predictor,
    query: Query,
    cond: Tensor | None,
    width: int,
    places: Sequence[int] | None = None,
) -> Prediction:
    """One evaluation of the batch in micro-batches of exactly ``width`` samples, the last one
    padded.

    A convolution at width 1 and at width 14 differs in the last bits; at a fixed width an image is
    the same image in any batch. Padding repeats the last sample. ``places`` are those of the
    samples in their run, for a model that knows something of each (``for_places``).
    """
    n = len(query.x)
    if n == width:
        return _for_places(model, places)(query.x, query.at, cond)
    found = []
    for begin in range(0, n, width):
        x = query.x[begin : begin + width]
        c = None if cond is None else cond[begin : begin + width]
        here = None if places is None else [*places[begin : begin + width]]
        missing = width - len(x)
        if missing:
            x = torch.cat([x, x[-1:].expand(missing, *x.shape[1:])])
            c = None if c is None else torch.cat([c, c[-1:].expand(missing, *c.shape[1:])])
            here = None if here is None else here + here[-1:] * missing
        found.append(_for_places(model, here)(x, query.at, c))
    return Prediction.cat(found, n)


def _for_places(model: Predictor, places: Sequence[int] | None) -> Predictor:
    """The model of the samples at these places: itself, unless it knows something of each."""
    own: Callable[[Sequence[int]], Predictor] | None = getattr(model, "for_places", None)
    return model if own is None or places is None else own(places)
