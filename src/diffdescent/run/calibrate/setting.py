"""For what a sampler is fitted: the model with its guidance and labels, and how a file describes
them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError
from diffdescent.core.model_info import info
from diffdescent.core.predict import Predictor
from diffdescent.core.recipe import parse
from diffdescent.guidance.scale_range import ScaleRange, split_range, with_range
from diffdescent.run.inputs import resolve_labels
from diffdescent.run.micro_batch import micro_batch_width
from diffdescent.run.record import ProcessRecord

from .counts import CHOICE_SAMPLES, FIT_SAMPLES
from .subject import Subject

FEW = 16
"""So many classes, and no more, are all among the samples that are fitted to and judged on."""
GOLDEN = (math.sqrt(5) - 1) / 2
APART = CHOICE_SAMPLES - FIT_SAMPLES
"""Between the first sample of the fit, of the choice and of the held-out ones, ..."""
MANY = 128
"""... of which there are hardly more than so many each."""
WIDTH = 24
"""Images that a network sees at once where neither it nor the caller says: 4 is a run's default, at
which `cifar10` answers three quarters as many in a second."""


def described(
    net: Predictor, called: str, guidance: str | None, labels: str | None
) -> dict[str, Any]:
    """What the sampler is fitted for."""
    process, known = ProcessRecord.of(net.process), info(net)
    return {
        "model": called,
        "fingerprint": known.fingerprint,
        "process": {"kind": process.kind, "sha256": process.sha256},
        "guidance": None if guidance is None else _settled(guidance, net),
        "labels": labels or "all in turn",
        **({"settings": dict(known.settings)} if known.settings else {}),
    }


def _settled(guidance: str, net: Predictor) -> str:
    """The guidance's text with what it leaves open filled in."""
    from diffdescent.guidance import parse_guidance

    plain, span = split_range(guidance)
    return with_range(str(parse_guidance(plain).settled(parse("ddim"), net.process)), span)


def guided(net: Predictor, guidance: str) -> Predictor:
    """The model under guidance.

    Raises:
        UserError: one that brings transforms along.
    """
    from diffdescent.guidance import apply_guidance

    plain, span = split_range(guidance)
    made, recipe = apply_guidance(plain, net, parse("ddim"))
    if recipe.transforms:
        raise UserError(
            f"The guidance {guidance!r} acts on the sampler's steps too, which no fit can foresee;"
            " calibrate with cfg alone."
        )
    return made if span is None else ScaleRange(made, span)


def in_turn(sample: int, count: int) -> int:
    """The class of a sample: they go round. Of more than :data:`FEW` classes some dozen samples see
    a few, which are spread evenly (steps of the golden ratio); the held-out ones go on where the
    fit's end, so they see others."""
    if count <= FEW:
        return sample % count
    stride = round(count * GOLDEN)
    while math.gcd(stride, count) > 1:
        stride += 1
    place = sample % APART + sample // APART * MANY
    return place * stride % count


def subject_of(
    net: Predictor,
    labels: str | None,
    shape: tuple[int, ...] | None,
    micro_batch: int | None,
    device: torch.device | str | None,
) -> Subject:
    """The model that is calibrated, with its labels and the width at which it is asked."""
    if isinstance(net, ScaleRange) and labels is not None:
        raise UserError(
            "Under a range of guidance scales the labels go round over all classes; leave labels"
            " out, or give one scale."
        )
    known = info(net)
    where = pick_device(device if device is not None else known.device)
    form = tuple(shape or net.shape or ())
    if not form:
        raise UserError(
            "The model does not say how large its images are; give shape=(channels, height, width)."
        )
    count = len(known.classes) if known.classes else (known.label_count or 0)

    def label(samples: range) -> Tensor | None:
        if labels == "none" or (labels is None and not count):
            return None
        found: Any = [in_turn(i, count) for i in samples] if labels is None else labels
        made = resolve_labels(found, samples, net)
        return None if made is None else made.to(where)

    width = micro_batch_width(net, where, micro_batch or (None if known.width else WIDTH))
    return Subject(net, form, where, width, label)
