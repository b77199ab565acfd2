"""What was measured of a pipeline's images, as a data term on its latents.

The decoder D is part of the measurement, y = A(D(z)) + σ_n n; a mask over a photo becomes a mask
over the photo's latents, so that inpainting costs one pass through the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.grammar import read_element
from diffdescent.core.measurement import Measurement
from diffdescent.core.operators import Bound, Function, Masked, parse_operator
from diffdescent.core.transforms import Estimate
from diffdescent.guidance.restoration import METHODS, Method


@dataclass(frozen=True)
class Latents:
    """A pipeline's autoencoder, as maps between its latents and images in [−1, 1]."""

    vae: Any

    @classmethod
    def of(cls, pipe: Any) -> Latents | None:
        """Those of a pipeline; None where it walks in pixels.

        Raises:
            UserError: where it decodes in a way that is not known.
        """
        decoders = (getattr(pipe, name, None) for name in ("vae", "vqvae", "movq", "vqgan"))
        found = next((one for one in decoders if one is not None), None)
        if found is not None and "scaling_factor" not in found.config:
            raise UserError(
                f"{type(pipe).__name__} decodes by a {type(found).__name__}, whose scale is not"
                " known, so its images cannot be compared with y; take a pipeline with an"
                " AutoencoderKL, or one of pixels."
            )
        return None if found is None else cls(found)

    def decode(self, z: Tensor) -> Tensor:
        """D(z), (B, 3, H, W), in z's dtype; differentiable."""
        scale, mean, deviation = self._numbers(z)
        found: Tensor = self.vae.decode((z * deviation / scale + mean).to(self.vae.dtype)).sample
        return found.to(z.dtype)

    def encode(self, x: Tensor) -> Tensor:
        """The mode of the encoder's latents for images x, in x's dtype."""
        scale, mean, deviation = self._numbers(x)
        with torch.no_grad():
            found: Tensor = self.vae.encode(x.to(self.vae.dtype)).latent_dist.mode()
        latents: Tensor = (found.to(x.dtype) - mean) * scale / deviation
        return latents

    def _numbers(self, like: Tensor) -> tuple[float, Any, Any]:
        config = self.vae.config
        mean, deviation = config.get("latents_mean"), config.get("latents_std")
        if mean is None or deviation is None:
            return float(config.scaling_factor), float(config.get("shift_factor") or 0.0), 1.0
        mean, deviation = (torch.tensor(v).to(like).view(1, -1, 1, 1) for v in (mean, deviation))
        return float(config.scaling_factor), mean, deviation


@dataclass(frozen=True)
class DataTerm:
    """y = A(image) + σ_n n of a pipeline's images, and the method that answers for it.

    ``y`` is (1, …) for all images or has a row for each; ``operator`` is the text of A.
    """

    method: Method
    operator: str
    y: Tensor
    noise: float
    latents: Latents | None

    @classmethod
    def build(cls, pipe: Any, y: Tensor, operator: str, noise: float, method: str) -> DataTerm:
        """Raises :class:`UserError` for texts that cannot be read, and for a method that needs more
        than the estimate of an image."""
        found: Method = read_element(method, "restoration method", METHODS, "diffpir")
        if not found.of_estimate:
            able = sorted(name for name, one in METHODS.items() if one.of_estimate)
            raise UserError(
                f"{found.name} needs the network's gradient or the whole step, which a pipeline"
                f" keeps to itself; attach one of {', '.join(able)}, which change the estimate."
            )
        parse_operator(operator)
        if not isinstance(y, Tensor):
            raise UserError(
                "y is a tensor of values in [−1, 1], (C, H, W) or (batch, C, H, W), not of type"
                f" {type(y).__name__}; of a Pillow image it is"
                " torch.from_numpy(numpy.array(image)).permute(2, 0, 1) / 127.5 − 1."
            )
        if not 0 <= noise < float("inf"):
            raise UserError(f"noise is σ_n ≥ 0, the measurement's standard deviation, not {noise}.")
        return cls(found, operator, y, float(noise), Latents.of(pipe))

    def estimates(self, sample: Tensor) -> tuple[Estimate, ...]:
        """The transforms of a run that begins at the state ``sample``.

        Raises:
            UserError: states that are not (B, C, H, W), a y that does not fit, and a method that
                the operator does not serve behind this decoder.
        """
        if sample.ndim != 4:
            raise UserError(
                f"This pipeline's states have the shape {tuple(sample.shape)}: it packs its"
                " latents, or makes videos, and a measurement is one of images (batch, channels,"
                " height, width); take a pipeline with such states."
            )
        dtype = torch.float64 if sample.dtype == torch.float64 else torch.float32
        state = sample.to(dtype)
        operator, y = self._bound(state)
        if len(y) not in (1, len(sample)):
            raise UserError(
                f"y holds {len(y)} measurements, and the pipeline makes {len(sample)} images; give"
                " one for all, or one for each."
            )
        self.method.check(operator, self.noise)
        whole = y.expand(len(sample), *y.shape[1:])
        _, found = self.method.apply(_unasked, Measurement(operator, whole, self.noise))  # type: ignore[arg-type]
        return tuple(one for one in found if isinstance(one, Estimate))

    def _bound(self, state: Tensor) -> tuple[Bound, Tensor]:
        """The operator on latents (or pixels) such as ``state``, and y in what it measures."""
        given = self.y.to(state)
        known = self.latents
        parsed = parse_operator(self.operator)
        if known is None:
            pixels = parsed.bind(tuple(state.shape[1:]), device=state.device, dtype=state.dtype)
            y = _checked(pixels, given)
            return pixels, pixels.forward(y) if isinstance(pixels, Masked) else y
        with torch.no_grad():
            shape = tuple(known.decode(state[:1]).shape[1:])
        pixels = parsed.bind(shape, device=state.device, dtype=state.dtype)
        y = _checked(pixels, given)
        if isinstance(pixels, Masked):
            mask = pixels.singular.amin(0, keepdim=True)[None]
            small = 1 - F.adaptive_max_pool2d(1 - mask, tuple(state.shape[2:]))[0]
            masked = Masked(tuple(state.shape[1:]), small, state.dtype, state.device)
            return masked, masked.forward(known.encode(pixels.forward(y)))
        measure = Function(lambda z: pixels.forward(known.decode(z)))
        return measure.bind(tuple(state.shape[1:]), device=state.device, dtype=state.dtype), y


def _checked(operator: Bound, y: Tensor) -> Tensor:
    """y with the batch first, of the operator's shape and finite."""
    y = y if y.ndim == len(operator.out_shape) + 1 else y[None]
    operator.check(y)
    return y


def _unasked(*_: Any) -> Any:
    raise AssertionError("a method of the estimate does not ask the model")
