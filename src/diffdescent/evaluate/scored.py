"""One score: a value with its interval and all that it depends on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from diffdescent.base.statistics import Estimate

from .features import JSON
from .half_sampling import HalfSampled
from .notes import Note, note_from_json


@dataclass(frozen=True)
class Score(Estimate):
    """One ``metric`` of a set of ``n`` images.

    ``low`` and ``high`` are its 95 % interval (NaN where there is none), for its expectation at
    this ``n`` against this reference; ``bias`` estimates how much that expectation exceeds the
    one at infinitely many images. ``protocol`` is all that the value depends on besides the images;
    ``notes`` is what a reader should beware of. ``draws`` (one for each half, or none) say how the
    value varies, together with those of any other score of as many images: of samplers that start
    from the same noise, the difference varies like the difference of their draws.
    """

    metric: str = field(kw_only=True)
    protocol: dict[str, JSON] = field(kw_only=True)
    bias: float | None = field(default=None, kw_only=True)
    notes: tuple[Note, ...] = field(default=(), kw_only=True)
    draws: tuple[float, ...] = field(default=(), repr=False, kw_only=True)

    @property
    def count(self) -> int:
        """Of how many images."""
        return self.n or 0

    def to_json(self) -> dict[str, Any]:
        """Everything but the draws as plain data; a note is its kind and its facts."""
        found = super().to_json()
        return {
            "metric": self.metric,
            **{name: found[name] for name in ("value", "low", "high")},
            "count": self.n,
            "protocol": self.protocol,
            "bias": self.bias,
            "notes": [note.to_json() for note in self.notes],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Score:
        """What :meth:`to_json` gave, with ``draws`` where they were added."""
        found = Estimate.from_json({**data, "level": 0.95, "n": data["count"]})
        return Score(
            found.value,
            found.low,
            found.high,
            n=found.n,
            metric=data["metric"],
            protocol=data["protocol"],
            bias=data["bias"],
            notes=tuple(map(note_from_json, data["notes"])),
            draws=tuple(data.get("draws", ())),
        )


def scored(
    name: str,
    value: float,
    n: int,
    protocol: dict[str, JSON],
    found: HalfSampled | None,
    bias: float | None = None,
    notes: tuple[Note, ...] = (),
) -> Score:
    """The score of a metric; ``found`` is its interval, if there is one."""
    sides = (math.nan, math.nan) if found is None else (found.low, found.high)
    draws = () if found is None else tuple(found.draws.tolist())
    return Score(
        value, *sides, n=n, metric=name, protocol=protocol, bias=bias, notes=notes, draws=draws
    )


def how(masks: Tensor, seed: int) -> dict[str, JSON]:
    """How an interval was made, for the protocol."""
    return {"method": "random halves", "resamples": len(masks), "seed": seed}
