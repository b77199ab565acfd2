"""Where things run."""

from __future__ import annotations

import torch

from .errors import UserError


def pick_device(name: torch.device | str) -> torch.device:
    """The device called ``name``. Raises :class:`UserError` when there is no such device here."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"Unknown device {name!r}; give cpu, cuda, cuda:1 or mps.") from None
    missing = {"cuda": not torch.cuda.is_available(), "mps": not torch.backends.mps.is_available()}
    if missing.get(device.type, False):
        raise UserError(
            f"The device {name!r} is not available here (PyTorch {torch.__version__}); use cpu."
        )
    return device


def use_threads(count: int) -> None:
    """Compute with this many threads of the CPU; another number of them changes the last bits.

    Raises :class:`UserError` for less than one.
    """
    if count < 1:
        raise UserError(f"There must be at least 1 thread, not {count}.")
    torch.set_num_threads(count)
