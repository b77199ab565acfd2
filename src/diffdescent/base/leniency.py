"""Whether images that cannot be decoded are left out, where a command was asked to."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Leniency:
    """``skip_bad`` holds wherever images are read, besides the argument of that name; ``left_out``
    are the images that it cost, so that they can be named."""

    skip_bad: bool = False
    left_out: list[str] = field(default_factory=list)

    def begin(self, skip_bad: bool) -> None:
        """Start over, for one command."""
        self.skip_bad = skip_bad
        self.left_out.clear()


LENIENCY = Leniency()
"""That of this process; the command line sets it."""
