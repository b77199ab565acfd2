"""How near restored images are to the originals: PSNR, SSIM, a distance of features, the residual.

Images are (…, C, H, W) in [−1, 1] and are clamped to it; each score is one number an image.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from diffdescent.base.images import to_uint8
from diffdescent.core.operators import Bound
from diffdescent.evaluate.features import Extractor

_WINDOW, _SIGMA = 11, 1.5
"""The Gaussian window of SSIM, its width and standard deviation (Wang et al. 2004)."""


def psnr(images: Tensor, original: Tensor) -> Tensor:
    """10 log₁₀(2²/mean squared difference) in dB, (B,); (B, C, H, W) each."""
    apart = (images.clamp(-1, 1) - original.clamp(-1, 1)).double()
    return 10 * torch.log10(4 / apart.square().flatten(1).mean(1).clamp(min=1e-12))


def ssim(images: Tensor, original: Tensor) -> Tensor:
    """The mean structural similarity (Wang et al. 2004, eq. 13) in an 11 × 11 Gaussian window of
    σ = 1.5, K₁ = 0.01, K₂ = 0.03, over the places where the window fits and the channels, (B,)."""
    x, y = (image.clamp(-1, 1).double() for image in (images, original))
    channels = x.shape[1]
    at = torch.arange(_WINDOW, dtype=torch.float64, device=x.device) - _WINDOW // 2
    row = torch.exp(-(at**2) / (2 * _SIGMA**2))
    window = torch.outer(row, row) / row.sum() ** 2

    def mean(a: Tensor) -> Tensor:
        found: Tensor = F.conv2d(a, window.expand(channels, 1, -1, -1), groups=channels)
        return found

    mx, my = mean(x), mean(y)
    vx, vy = mean(x * x) - mx * mx, mean(y * y) - my * my
    cov = mean(x * y) - mx * my
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    similar: Tensor = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    each: Tensor = similar.flatten(1).mean(1)
    return each


def feature_distance(images: Tensor, original: Tensor, extractor: Extractor) -> Tensor:
    """‖f/‖f‖ − g/‖g‖‖² of the extractor's spatial features (its pooled ones where it has no
    others), (B,): a perceptual distance as LPIPS is, without weights fitted to people."""
    found = [extractor(to_uint8(one)) for one in (images, original)]
    f, g = (F.normalize(one.pool if one.spatial is None else one.spatial) for one in found)
    return (f - g).square().sum(1).double()


def residual(images: Tensor, operator: Bound, y: Tensor, noise: float) -> Tensor:
    """‖y − A(x)‖/√m, over σ_n where there is noise, so that about 1 is expected; (B,)."""
    apart = (y - operator.forward(images.to(operator.dtype))).flatten(1)
    size: Tensor = apart.double().norm(dim=1) / math.sqrt(apart.shape[1])
    return size / noise if noise else size
