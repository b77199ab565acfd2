"""The models that a studio offers, loaded when they are asked for."""

from __future__ import annotations

import importlib
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock

from diffdescent.base.errors import unknown
from diffdescent.core.model_info import info
from diffdescent.core.predict import Predictor
from diffdescent.models import bundled, load_model

KEPT = 2
"""Models in memory at a time."""
DEFAULT = "cifar10-mixture"


@dataclass
class Models:
    """The model that the studio was started with, and the bundled ones.

    No other name is loaded, so that an address cannot name a folder of this machine.
    """

    first: str = DEFAULT
    device: str | None = None
    _loaded: OrderedDict[str, Predictor] = field(default_factory=OrderedDict, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    @property
    def names(self) -> list[str]:
        """What can be chosen."""
        return list(dict.fromkeys([self.first, *bundled()]))

    def get(self, name: str) -> Predictor:
        """The model called ``name``. Raises :class:`UserError` for one that is not offered."""
        name = name or self.first
        if name not in self.names:
            raise unknown("model", name, self.names)
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = load_model(name, self.device)
            self._loaded.move_to_end(name)
            while len(self._loaded) > KEPT:
                self._loaded.popitem(last=False)
            return self._loaded[name]

    def warm(self) -> None:
        """Import what networks need, so that the first one chosen does not wait for it."""
        with suppress(ImportError):
            importlib.import_module("diffusers.models.unets.unet_2d")

    def labels(self, name: str) -> tuple[str, ...]:
        """The labels of a model, by name or number; none where it knows none."""
        known = info(self.get(name))
        return known.classes or tuple(map(str, range(known.label_count or 0)))
