"""Shards: ranges of samples of one cell, each in one file that is whole or absent.

``shards/<cell>/<first>-<last>.npz`` holds what the metrics need of these samples. It is an entry of
the study's :class:`~diffdescent.run.store.Store`; a damaged one is run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffdescent.base.errors import UserError
from diffdescent.base.whole import is_whole

from .cells import Cell

Payload = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Task:
    """Samples ``first`` … ``last`` of a cell (``last`` included)."""

    cell: Cell
    first: int
    last: int

    @property
    def samples(self) -> range:
        """The sample indices."""
        return range(self.first, self.last + 1)

    @property
    def name(self) -> str:
        """The name of its shard in the study's folder."""
        return f"shards/{self.cell.key}/{self.first:06d}-{self.last:06d}.npz"

    def path(self, out: Path) -> Path:
        """Where its shard is written."""
        return out / self.name


def tasks_of(cells: Sequence[Cell], n: int, size: int) -> list[Task]:
    """The shards of ``n`` samples of each distinct cell: all first ones, then all second ones, …

    In this order a study that is stopped early has something of every cell.
    """
    distinct = list({cell.key: cell for cell in cells}.values())
    return [
        Task(cell, first, min(first + size, n) - 1)
        for first in range(0, n, size)
        for cell in distinct
    ]


def missing(tasks: Iterable[Task], out: Path) -> list[Task]:
    """The tasks whose shard is absent or damaged.

    Args:
        tasks: of a study.
        out: the study's folder.

    Returns:
        Those that have to be run.
    """
    return [task for task in tasks if not is_whole(task.path(out))]


def share(tasks: Sequence[Task], text: str) -> list[Task]:
    """The part of the tasks that process i of n takes, ``text`` being ``"i/n"`` with i from 1.

    Args:
        tasks: of a study.
        text: ``"i/n"``, i from 1.

    Returns:
        Every n-th task, from the i-th on.

    Raises:
        UserError: anything else.
    """
    number, slash, total = text.partition("/")
    if not (slash and number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total)):
        raise UserError(
            f"Cannot read the shard {text!r}; write i/n with i from 1 to n, such as 1/4, 2/4, 3/4,"
            " 4/4."
        )
    return list(tasks[int(number) - 1 :: int(total)])
