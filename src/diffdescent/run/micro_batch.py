"""Micro-batches: the network always sees one width, so that an image does not depend on its
batch."""

from __future__ import annotations

import torch
from torch import Tensor

from diffdescent.core.executor import Query
from diffdescent.core.model_info import info
from diffdescent.core.predict import Prediction, Predictor

CPU_WIDTH, GPU_WIDTH = 4, 32
"""How many samples the network sees at once, unless asked otherwise. The last bits follow it: it is
in the record."""


def micro_batch_width(model: Predictor, device: torch.device, asked: int | None = None) -> int:
    """How many samples the network sees at once: asked for, the model's own ``width``, or the
    device's default."""
    return asked or info(model).width or (CPU_WIDTH if device.type == "cpu" else GPU_WIDTH)


def evaluate(model: Predictor, query: Query, cond: Tensor | None, width: int) -> Prediction:
    """One evaluation of the batch in micro-batches of exactly ``width`` samples, the last one
    padded.

    A convolution at width 1 and at width 14 differs in the last bits; at a fixed width an image is
    the same image in any batch. Padding repeats the last sample.
    """
    n = len(query.x)
    if n == width:
        return model(query.x, query.at, cond)
    found = []
    for begin in range(0, n, width):
        x = query.x[begin : begin + width]
        c = None if cond is None else cond[begin : begin + width]
        missing = width - len(x)
        if missing:
            x = torch.cat([x, x[-1:].expand(missing, *x.shape[1:])])
            c = None if c is None else torch.cat([c, c[-1:].expand(missing, *c.shape[1:])])
        found.append(model(x, query.at, c))
    return Prediction.cat(found, n)
