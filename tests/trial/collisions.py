"""Two processes with one process number that write the same files: nothing fails, nothing is torn.

So it is in containers and in the jobs of an array, on a disk that they share.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from .judge import _wait

NAMES = 8
SIZE = 20_000


def content(process: int, turn: int) -> bytes:
    """Bytes that say of themselves whether they are whole."""
    body = f"{process} {turn} ".encode() * (SIZE // 8)
    return hashlib.sha256(body).hexdigest().encode() + body


def whole(data: bytes) -> bool:
    return hashlib.sha256(data[64:]).hexdigest().encode() == data[:64]


def collide(folder: Path, writes: int) -> tuple[int, int]:
    """``writes`` writes of two processes to a few names; how many failed, and how many reads saw
    something torn."""
    folder.mkdir(parents=True)
    children = []
    for process in range(2):
        child = os.fork()
        if child == 0:
            _write(folder, process, writes // 2)
        children.append(child)
    failed, torn, until = 0, 0, time.monotonic() + 300
    while children:
        torn += sum(not whole(path.read_bytes()) for path in folder.glob("[0-9]*"))
        done, status = os.waitpid(-1, os.WNOHANG)
        if done:
            children.remove(done)
            failed += os.waitstatus_to_exitcode(status)
        elif time.monotonic() > until:
            for child in children:
                _wait(child, 0)
            return writes, torn
        time.sleep(0.002)
    left = [path.name for path in folder.iterdir() if not path.name.isdecimal()]
    return failed + len(left), torn


def _write(folder: Path, process: int, count: int) -> None:
    """In a fork: never returns; its exit code is how many writes failed."""
    os.getpid = lambda: 1
    failed = sum(not _wrote(folder / str(n % NAMES), content(process, n)) for n in range(count))
    os._exit(min(failed, 255))


def _wrote(path: Path, data: bytes) -> bool:
    from diffdescent.base.files import write_atomically

    try:
        write_atomically(path, data)
    except Exception:
        return False
    return True
