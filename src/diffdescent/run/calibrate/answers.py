"""What the network said along the paths that a search walked last, so that it is asked once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor


class Answers:
    """What the network said of the trajectories, by the places of the levels walked until then: the
    ``most`` that were wanted last. Rows that are not drawn to the fixed sampler's depend on no
    later level."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[tuple[int, ...], Tensor] = {}

    def of(self, walk: Sequence[int], ask: Callable[[], Tensor]) -> Tensor:
        """The answer at the last of the places, asked for where it is not held."""
        key = tuple(walk)
        found = self._held.pop(key) if key in self._held else ask()
        self._held[key] = found
        if len(self._held) > self._most:
            del self._held[next(iter(self._held))]
        return found
