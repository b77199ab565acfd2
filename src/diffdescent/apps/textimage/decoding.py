"""From a pipeline's latents to images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffdescent.base.errors import UserError


def decoded(pipe: Any, latents: Tensor) -> Tensor:
    """The images (n, 3, H, W) of a pipeline's latents, one at a time; with a graph where the
    latents have one.

    Raises:
        UserError: latents that are not (n, channels, height, width), or no decoder.
    """
    vae = getattr(pipe, "vae", None)
    if vae is None or latents.ndim != 4:
        raise UserError(
            f"The states of a {type(pipe).__name__} cannot be decoded one by one; leave out what"
            " shows them."
        )
    scale, shift = vae.config.scaling_factor, getattr(vae.config, "shift_factor", None) or 0.0
    with torch.set_grad_enabled(torch.is_grad_enabled() and latents.requires_grad):
        parts = [
            vae.decode((one / scale + shift).to(vae.dtype), return_dict=False)[0]
            for one in torch.split(latents, 1)
        ]
    return torch.cat(parts).float()
