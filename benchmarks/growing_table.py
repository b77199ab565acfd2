"""A table of measurements that a killed benchmark goes on with."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Table:
    """A CSV file that grows by whole rows; ``key`` columns say which row it is."""

    def __init__(self, path: Path, key: tuple[str, ...]) -> None:
        self.path, self.key = path, key
        rows = list(csv.DictReader(path.open())) if path.is_file() else []
        self.known = {tuple(row[k] for k in key) for row in rows}

    def fill(self, what: dict[str, str], make: Callable[[], dict[str, Any]]) -> None:
        """Add the row of ``what`` unless it is there."""
        if tuple(what[k] for k in self.key) in self.known:
            return
        row = what | make()
        fresh = not self.path.is_file()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        print(", ".join(f"{k} {v}" for k, v in row.items()), flush=True)
