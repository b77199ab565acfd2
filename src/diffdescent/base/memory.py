"""How much memory there is: what cannot fit is refused before it is begun."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from .errors import UserError

GIB = 1 << 30
_GROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)


def free_memory() -> int:
    """Bytes that this process can still take: the machine's, or the less that its container, its
    batch job or its user is allowed.

    Where the system does not say, all that the machine has, else 64 GiB.
    """
    return max(0, min([_machine(), *_groups(), *_limits()]))


def require_memory(size: float, what: str, mend: str) -> None:
    """Raise :class:`UserError` unless ``size`` bytes for ``what`` fit; ``mend`` ends the
    sentence."""
    free = free_memory()
    if size > free:
        raise UserError(
            f"{what} takes {size / GIB:.3g} GiB of memory, and {free / GIB:.3g} GiB are free;"
            f" {mend}."
        )


def _machine() -> int:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 64 * GIB


def _groups() -> list[int]:
    """What the control group of a container leaves; its files are not there elsewhere.

    Files that were read count as used, and are given up when memory is asked for.
    """
    found = []
    for folder, most, used in _GROUPS:
        group = Path(folder)
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: there is no limit
            limit, taken = (int((group / name).read_text()) for name in (most, used))
            lines = (line.split() for line in (group / "memory.stat").read_text().splitlines())
            cached = sum(int(count) for name, count in lines if name == "inactive_file")
            found.append(limit - taken + cached)
    return found


def _limits() -> list[int]:
    try:
        import resource
    except ImportError:  # Windows
        return []
    whole, data = _own_sizes()
    limits = ((resource.RLIMIT_AS, whole), (resource.RLIMIT_DATA, data))
    found = ((resource.getrlimit(kind)[0], taken) for kind, taken in limits)
    return [limit - taken for limit, taken in found if limit != resource.RLIM_INFINITY]


def _own_sizes() -> tuple[int, int]:
    """Bytes of address space and of data that this process has, 0 where the system does not say."""
    try:
        pages = list(map(int, Path("/proc/self/statm").read_text(encoding="ascii").split()))
        page = os.sysconf("SC_PAGE_SIZE")
        return pages[0] * page, pages[5] * page
    except (OSError, ValueError, IndexError):
        return 0, 0
