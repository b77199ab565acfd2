"""What a model says of itself besides its process and shape, and the one place where it is read."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from diffdescent.base.errors import UserError

from .predict import Predictor
from .process import Point


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What the rest of the library may ask of a model, or of a guide that knows labels.

    ``name`` says in messages and records which model it is. ``device`` is where sampling starts
    when nobody says otherwise. ``classes`` are the names of the labels 0, 1, …; ``label_count`` is
    how many labels it checks (0 … ``label_count`` − 1, and −1 for no label unless it
    ``needs_label``); ``labels`` are those that an exact denoiser can be conditioned on. ``width``
    is the micro-batch at which it is efficient (None: the device's default). ``calls`` is how many
    evaluations of networks one answer costs, and ``cost`` says so level by level where that
    differs; read it as :meth:`calls_at`. ``decode`` makes images in [−1, 1] of states (n, C, H, W),
    where the states are not images themselves (latents). ``identity`` is its fingerprint, or a
    function that computes it; read it as :attr:`fingerprint`. ``settings`` are what its answers
    depend on beside its weights and labels, such as a pipeline's guidance scale.
    """

    name: str = "model"
    device: torch.device | str = "cpu"
    classes: tuple[str, ...] | None = None
    label_count: int | None = None
    labels: tuple[int, ...] | None = None
    needs_label: bool = False
    width: int | None = None
    calls: int = 1
    decode: Callable[[Tensor], Tensor] | None = field(default=None, repr=False)
    cost: Callable[[Point], int] | None = field(default=None, repr=False)
    identity: str | Callable[[], str | None] | None = field(default=None, repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str | None:
        """What identifies the model's numbers, None where it does not know: computed when it is
        read, which may take a pass over all weights or images."""
        return self.identity() if callable(self.identity) else self.identity

    def calls_at(self, point: Point) -> int:
        """How many evaluations of networks an answer at ``point`` costs."""
        return self.calls if self.cost is None else self.cost(point)

    @property
    def conditional(self) -> bool:
        """Whether it knows labels at all."""
        return any(known is not None for known in (self.label_count, self.classes, self.labels))


def info(model: object) -> ModelInfo:
    """What ``model`` says of itself: its own ``info``, or what plain attributes of a predictor say.

    A predictor of someone else's needs only ``process`` and ``shape``; of ``name``, ``device``,
    ``classes``, ``label_count``, ``class_labels``, ``needs_label``, ``width`` and ``fingerprint``
    (text, or a method that gives it) it may have any. The name defaults to its type's. One whose
    answer costs several evaluations has an ``info`` that says so: ``calls`` is too common a name
    for a counter.

    Raises:
        UserError: an attribute that is not what its name promises.
    """
    known = getattr(model, "info", None)
    if isinstance(known, ModelInfo):
        return known
    return ModelInfo(
        name=str(getattr(model, "name", type(model).__name__)),
        device=getattr(model, "device", "cpu"),
        classes=_names(model),
        label_count=_count(model, "label_count"),
        labels=_labels(model),
        needs_label=bool(getattr(model, "needs_label", False)),
        width=_count(model, "width"),
        identity=getattr(model, "fingerprint", None),
    )


def weights_of(fingerprint: str | None) -> str | None:
    """What identifies a model's weights: its fingerprint up to a +, after which stands what it is
    asked for (a pipeline's prompts, small images to enlarge)."""
    return None if fingerprint is None else fingerprint.partition("+")[0]


def described(model: Predictor, kind: str = "") -> str:
    """A model in a line, for its ``repr``: its type, name, what it predicts, shape and process."""
    parts = [repr(info(model).name), kind, str(model.shape or "any shape"), repr(model.process)]
    return f"{type(model).__name__}({', '.join(part for part in parts if part)})"


def _count(model: object, attribute: str) -> int | None:
    value = getattr(model, attribute, None)
    try:
        return None if value is None else operator.index(value)
    except TypeError:
        raise UserError(
            f"The {attribute} of {type(model).__name__} must be a whole number or None, not a"
            f" {type(value).__name__}; rename the attribute, or give the model info=ModelInfo(…)."
        ) from None


def _names(model: object) -> tuple[str, ...] | None:
    value = getattr(model, "classes", None)
    if value is None:
        return None
    if not isinstance(value, (tuple, list)):
        raise UserError(
            f"The classes of {type(model).__name__} must be a list of names or None, not a"
            f" {type(value).__name__}; rename the attribute, or give the model info=ModelInfo(…)."
        )
    return tuple(map(str, value))


def _labels(model: object) -> tuple[int, ...] | None:
    value = getattr(model, "class_labels", None)
    return None if value is None else tuple(map(int, value))
