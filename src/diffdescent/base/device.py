"""Where things run."""

from __future__ import annotations

import torch

from .errors import UserError

MOST_THREADS = 1024


def pick_device(name: torch.device | str) -> torch.device:
    """The device called ``name``. Raises :class:`UserError` when there is no such device here."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"Unknown device {name!r}; give cpu, cuda, cuda:1 or mps.") from None
    if (device.index or 0) >= _count(device.type):
        raise UserError(
            f"The device {str(name)!r} is not available here (PyTorch {torch.__version__}); use"
            " cpu."
        )
    return device


def _count(kind: str) -> int:
    """How many devices of a kind there are; those that compute nothing (meta) are none."""
    if kind == "cpu":
        return 1
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    module = getattr(torch, kind, None)
    count = getattr(module, "device_count", None)
    return int(count()) if count is not None else 0


def use_threads(count: int) -> None:
    """Compute with this many threads of the CPU; another number of them changes the last bits.

    Raises :class:`UserError` for less than one.
    """
    if not 1 <= count <= MOST_THREADS:
        raise UserError(f"There must be 1 to {MOST_THREADS} threads, not {count}.")
    torch.set_num_threads(count)
