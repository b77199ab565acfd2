"""Print how close each group of recorded cases came, under ``-v`` or when all of them ran."""

from __future__ import annotations

from typing import Any

from tests.parity.golden import DATA, ERRORS
from tests.parity.live import scheduler

__all__ = ["pytest_terminal_summary", "scheduler"]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not ERRORS:
        return
    terminalreporter.section(f"recorded trajectories ({DATA})")
    for method, table in sorted(ERRORS.items()):
        worst = max(table, key=table.__getitem__)
        terminalreporter.write_line(
            f"{method:16s} {len(table):3d} cases, worst {table[worst]:.1e} ({worst})"
        )
