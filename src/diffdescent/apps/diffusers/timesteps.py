"""The timesteps that a scheduler shows, and which of them a caller means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError


class Timesteps:
    """What a network is told at each evaluation: ``held`` on the device, ``values`` on the host.

    Times that are all whole numbers are integers, as diffusers has them; a flow's are not.
    """

    def __init__(
        self, times: Sequence[float], flow: bool, device: str | torch.device | None
    ) -> None:
        whole = not flow and all(float(t).is_integer() for t in times)
        told = torch.tensor(times, dtype=torch.int64 if whole else torch.float32)
        self.values: list[float] = told.tolist()
        self.held = told.to(device)
        self._storage = self.held.untyped_storage().data_ptr()

    def place(self, timestep: Tensor) -> int | None:
        """The index of an element of ``held`` itself, without reading the device; else None."""
        if timestep.untyped_storage().data_ptr() != self._storage:
            return None
        return int(timestep.storage_offset() - self.held.storage_offset())

    def places(self, timestep: float | Tensor) -> list[int]:
        """Every index at which this number is told."""
        number = float(timestep.flatten()[0]) if isinstance(timestep, Tensor) else timestep
        value = float(np.float32(number))
        return [i for i, known in enumerate(self.values) if known == value]

    def unknown(self, timestep: float | Tensor) -> UserError:
        """The error for a number that is not told anywhere."""
        value = float(timestep.flatten()[0]) if isinstance(timestep, Tensor) else timestep
        return UserError(
            f"The timestep {value:g} is not among the {len(self.values)} of this scheduler"
            f" ({self.values[0]:g} … {self.values[-1]:g}); pass the elements of"
            " scheduler.timesteps, after set_timesteps."
        )
