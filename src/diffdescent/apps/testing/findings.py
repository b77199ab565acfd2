"""What the checks of a scheduler find, and a report of it all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["pass", "fail", "skip"]


class Skip(Exception):
    """The scheduler does not have what a check is about."""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    status: Status
    detail: str = ""


@dataclass(frozen=True)
class Report:
    """The findings on one scheduler, in the order of :data:`CHECKS`."""

    findings: tuple[Finding, ...]

    @property
    def failures(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.status == "fail")

    def raise_for_failures(self) -> None:
        """Raise :class:`AssertionError` with all failures, if there are any."""
        if self.failures:
            raise AssertionError("\n".join(f"{f.check}: {f.detail}" for f in self.failures))
