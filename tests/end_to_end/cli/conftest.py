"""What holds for all tests of the command line."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _width(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a pipe: pytest-xdist says COLUMNS to its workers."""
    monkeypatch.delenv("COLUMNS", raising=False)
