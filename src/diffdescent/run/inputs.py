"""What steers a run besides model and recipe: labels, a start, images to start from, a mask."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.model_info import info
from diffdescent.core.network import EDM, Network
from diffdescent.core.predict import Predictor

Labels = Tensor | int | Sequence[int] | str


@dataclass(frozen=True)
class Images:
    """Images (k, …) of which sample number ``rows[p]`` belongs to place p of a run.

    ``path`` is the file that they were read from, if any.
    """

    values: Tensor
    rows: Tensor
    path: str | None = None

    def at(self, places: Sequence[int], device: torch.device) -> Tensor:
        """The images of these places, (len(places), …), on the device."""
        return self.values[self.rows[list(places)]].to(device)


@dataclass(frozen=True)
class Given:
    """The inputs of one batch, an entry a sample."""

    start: Tensor | None
    init: Tensor | None
    mask: Tensor | None
    cond: Tensor | None


@dataclass(frozen=True)
class Inputs:
    """What steers a run, an entry for each of its places."""

    start: Images | None = None
    init: Images | None = None
    mask: Images | None = None
    labels: Tensor | None = None

    def at(self, places: Sequence[int], device: torch.device) -> Given:
        """Those of one batch."""

        def here(images: Images | None) -> Tensor | None:
            return None if images is None else images.at(places, device)

        cond = None if self.labels is None else self.labels[list(places)].to(device)
        return Given(here(self.start), here(self.init), here(self.mask), cond)


def image_like(
    value: Tensor, total: int, shape: Sequence[int], what: str, path: str | None = None
) -> Images:
    """A tensor that broadcasts to (total, *shape), place by place.

    Raises :class:`UserError` for one that does not.
    """
    tensor = value if value.ndim == len(shape) + 1 else value[None]
    fits = tensor.ndim == len(shape) + 1 and all(
        a in (1, b) for a, b in zip(tensor.shape, (total, *shape), strict=True)
    )
    if not fits:
        raise UserError(
            f"{what} has shape {tuple(value.shape)}, which does not fit {total} samples of shape"
            f" {tuple(shape)}; expected {(total, *shape)} or something that broadcasts to it."
        )
    rows = torch.zeros(total, dtype=torch.int64) if len(tensor) == 1 else torch.arange(total)
    return Images(tensor.expand(len(tensor), *shape), rows, path)


def in_turn(
    value: Tensor, samples: Sequence[int], shape: Sequence[int], what: str, path: str | None = None
) -> Images:
    """Images (k, *shape) that go round: sample number i has image i mod k, whatever else is
    made."""
    total = len(value) if value.ndim == len(shape) + 1 else 1
    whole = image_like(value, total, shape, what)
    return Images(whole.values, torch.tensor(samples, dtype=torch.int64) % total, path)


def digest(images: Tensor) -> str:
    """What identifies a tensor's values and shape: 16 hexadecimal digits of SHA-256."""
    values = images.detach().cpu().contiguous()
    values = values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
    head = f"{tuple(values.shape)} {values.dtype}".encode()
    return hashlib.sha256(head + values.numpy().tobytes()).hexdigest()[:16]


def image_shape(
    asked: Sequence[int] | None,
    known: Sequence[int] | None,
    init: Tensor | None,
    start: Tensor | None,
) -> tuple[int, ...]:
    """The shape of one sample: asked for, the model's own, or that of the images given.

    Raises :class:`UserError` where none of them says it, and for sides below 1.
    """
    if asked and min(asked) < 1:
        raise UserError(f"Images have sides of at least 1, not {tuple(asked)}; give another shape.")
    if asked or known:
        return tuple(asked or known or ())
    for image in (init, start):
        if image is not None:
            return tuple(image.shape[-3:])
    raise UserError(
        "The model does not say how large its images are; give shape=(channels, height, width)."
    )


def label_tensor(value: Tensor | int | Sequence[int]) -> Tensor:
    """Labels as a tensor. Raises :class:`UserError` for what holds other things than numbers."""
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise UserError(
            "Labels are whole numbers, or one text that names classes with commas between them, not"
            f" {str(value)[:60]}."
        ) from None


def labels_asked(value: Labels | None, model: Predictor) -> Labels | None:
    """``value``, and None for the text ``none``, where no class is called so."""
    none = isinstance(value, str) and value.strip() == "none"
    return None if none and "none" not in (info(model).classes or ()) else value


def resolve_labels(value: Labels | None, samples: Sequence[int], model: Predictor) -> Tensor | None:
    """Labels as a tensor with one entry a sample, within those that the model knows.

    Numbers are one for all or one for each place; a text names classes by name or number, and a
    list in it is repeated over the sample numbers (:func:`labels_of_text`), ``none`` gives none.
    Raises
    :class:`UserError` for another number of them and labels that the model does not know.
    """
    value, known, total = labels_asked(value, model), info(model), len(samples)
    needed, count = known.needs_label, known.label_count
    if value is None:
        if needed:
            raise UserError(
                f"This network needs a label for each sample (0 … {(count or 0) - 1}); give a"
                " label."
            )
        return None
    if isinstance(value, str):
        turn = labels_of_text(value, model)
        value = [turn[i % len(turn)] for i in samples]
    labels = label_tensor(value)
    if labels.is_floating_point() or labels.is_complex() or labels.ndim > 1:
        raise UserError("Labels must be whole numbers, one for all samples or one for each.")
    if labels.ndim == 0:
        labels = labels.expand(total)
    if len(labels) != total:
        raise UserError(
            f"{len(labels)} labels were given for {total} samples; give one, or one for each"
            " sample."
        )
    lowest = 0 if needed else -1
    if isinstance(model, (Network, EDM)) and not known.conditional and bool((labels >= 0).any()):
        raise UserError(
            "This network knows no classes; leave the label out, or say how many there are with"
            " label_count=."
        )
    wrong = [] if count is None else [int(v) for v in labels if not lowest <= int(v) < count]
    if wrong:
        none = "" if needed else ", and −1 for none"
        raise UserError(
            f"The model has no label {wrong[0]}; its labels are 0 … {(count or 0) - 1}{none}."
        )
    return labels.cpu()


def labels_of_text(text: str, model: Predictor) -> list[int]:
    """The labels that a text names: class names or numbers with commas between them, or ``cycle``
    for all of the model's. What is a name is one, also a number or a text with commas.

    Raises :class:`UserError` for a model without classes and a class that it does not know.
    """
    known = info(model)
    names = known.classes
    count = len(names or known.labels or ()) or known.label_count
    if not count:
        raise UserError("This model knows no classes; leave the label out.")
    if text.strip() == "cycle" and "cycle" not in (names or ()):
        return list(known.labels or range(count))
    if names and text.strip() in names:  # a text may hold commas
        return [names.index(text.strip())]
    labels = []
    for part in (p.strip() for p in text.split(",")):
        if names and part in names:
            label = names.index(part)
        elif part.removeprefix("-").isdecimal() and len(part) < 20:
            label = int(part)
            if names and not 0 <= label < len(names):
                raise UserError(
                    f"Label {label} is out of range; this model has classes 0 … {len(names) - 1}:"
                    f" {', '.join(names)}."
                )
        elif names:
            raise unknown("class", part, names)
        else:
            raise UserError(
                f"This model names no classes, so {part!r} means nothing to it; give a number as"
                " the label."
            )
        labels.append(label)
    return labels
