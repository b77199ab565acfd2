"""Faults at the moments when a program changes the disk: between any two of them it can be killed,
be asked to stop, or find the disk full.

Python reports these moments to audit hooks before they happen (PEP 578), whichever library asks for
them; a hook cannot be removed, so all of this is for forks.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

WRITES = frozenset({"open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir"})
_CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
Act = Callable[[int], None]
"""What happens at write number k, counted from 0."""


def at_writes(folder: Path, act: Act) -> None:
    """From now on call ``act`` before every change below ``folder`` in this process."""
    count = 0
    root = str(folder)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in WRITES or not _changes(event, arguments):
            return
        path = arguments[0]
        if isinstance(path, int) or not os.path.abspath(os.fsdecode(path)).startswith(root):
            return
        number, count = count, count + 1
        act(number)

    sys.addaudithook(hook)


def _changes(event: str, arguments: tuple[Any, ...]) -> bool:
    if event != "open":
        return True
    mode, flags = arguments[1:3]
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return bool(flags & _CHANGES)


def kill_at(number: int) -> Act:
    """A kill that no handler sees."""

    def act(now: int) -> None:
        if now == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return act


def signal_at(number: int, which: signal.Signals) -> Act:
    """A signal that the program can answer."""

    def act(now: int) -> None:
        if now == number:
            os.kill(os.getpid(), which)

    return act


def refuse_from(number: int, code: int = errno.ENOSPC) -> Act:
    """The system refuses this write and all later ones but removals, as a full or a read-only disk
    does."""

    def act(now: int) -> None:
        if now >= number and sys._getframe(2).f_code.co_name not in _REMOVERS:
            raise OSError(code, os.strerror(code))

    return act


_REMOVERS = frozenset({"unlink", "_remove", "rmtree", "_rmtree_safe_fd", "remove", "rmdir"})


def count_to(path: Path) -> Act:
    """Note in a file outside how many writes there were."""

    def act(now: int) -> None:
        path.write_text(str(now + 1))

    return act
