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
    from diffdescent.apps.diffusers.data_term import Latents  # only now: it imports diffusers

    latent = Latents(vae)
    with torch.set_grad_enabled(torch.is_grad_enabled() and latents.requires_grad):
        return torch.cat([latent.decode(one).float() for one in torch.split(latents, 1)])
