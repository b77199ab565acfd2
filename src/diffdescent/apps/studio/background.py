"""A long computation with a progress callback, as an iterator that can be left."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


class Left(Exception):
    """Raised inside of the computation once nobody waits for it."""


@dataclass(frozen=True)
class Made(Generic[T]):
    """The result."""

    value: T


def watched(compute: Callable[[Callable[[int], None]], T]) -> Iterator[int | Made[T]]:
    """The numbers with which ``compute`` calls its progress callback, then what it returns. When
    the iterator is closed, the computation ends at its next call."""
    found: queue.Queue[int | Made[T] | BaseException] = queue.Queue()
    left = threading.Event()

    def progress(done: int) -> None:
        if left.is_set():
            raise Left
        found.put(done)

    def work() -> None:
        try:
            found.put(Made(compute(progress)))
        except Left:
            return
        except BaseException as error:
            found.put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            one = found.get()
            if isinstance(one, BaseException):
                raise one
            yield one
            if isinstance(one, Made):
                return
    finally:
        left.set()
        thread.join()  # the next visitor's turn comes when this one's work has ended
