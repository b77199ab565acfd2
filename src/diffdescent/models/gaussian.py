"""The Gaussian: denoiser, marginals and flow map, all in closed form. The ruler for a solver's
order."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.process import Point, Process

from .covariance import Covariance
from .exact import Exact, ExactKind, check_point, digest, float64_device, given


class Gaussian(Exact):
    """x0 ~ N(μ, C), C = diag(variance) + W Wᵀ.

    At noise level (α, σ), x ~ N(αμ, T) with T = α²C + σ², and with c = x − αμ

        E[x0 | x] = μ + αCT⁻¹c,    E[ε | x] = σT⁻¹c.

    Args:
        mean: μ, of the shape of one sample.
        variance: the diagonal part: positive, a number or a tensor of that shape.
        process: α(t), σ(t).
        factors: W (m, r), acting on the first m of the d flattened coordinates; None for a diagonal
            covariance.

    Raises:
        UserError: shapes that do not fit and variances that are not positive.
    """

    width = 64

    def __init__(
        self,
        mean: Tensor,
        variance: Tensor | float,
        process: Process,
        *,
        factors: Tensor | None = None,
        name: str = "gaussian",
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(process, tuple(mean.shape), name, device)
        self.mean = mean.detach().double().cpu().flatten()
        wide = torch.as_tensor(variance, dtype=torch.float64).detach().cpu()
        if wide.ndim and wide.shape != mean.shape:
            raise UserError(
                f"The variance must be a number or of the mean's shape {tuple(mean.shape)}, not"
                f" {wide.shape}."
            )
        flat = wide.expand(mean.shape).flatten()
        self.covariance = Covariance.build(
            flat, None if factors is None else factors.detach().cpu()
        )
        self._source = (self.mean, flat, factors)
        self._moved: dict[torch.device, tuple[Tensor, Covariance]] = {}

    def _on(self, device: torch.device) -> tuple[Tensor, Covariance]:
        if device not in self._moved:
            self._moved[device] = self.mean.to(device), self.covariance.to(device)
        return self._moved[device]

    def evaluate(self, x: Tensor, point: Point, kind: ExactKind, cond: Tensor | None) -> Tensor:
        mean, covariance = self._on(x.device)
        _, a, s = point
        c = x - a * mean
        if kind == "x0":
            return mean + covariance.apply(lambda v: a * v / (a * a * v + s * s), c)
        return covariance.apply(lambda v: s / (a * a * v + s * s), c)

    def flow(self, x: Tensor, start: Point, end: Point) -> Tensor:
        """The exact flow map: the probability-flow ODE's state at ``end`` when it is ``x`` (B,
        *shape) at ``start``.

        x_e = α_e μ + T_e^½ T_s^−½ (x − α_s μ). T_s and T_e commute, which makes it a linear map
        along eigenvectors.
        """
        check_point(start)
        check_point(end)
        flat = self.flat(x)
        mean, covariance = self._on(flat.device)

        def gain(v: Tensor) -> Tensor:
            return (
                (end.alpha**2 * v + end.sigma**2) / (start.alpha**2 * v + start.sigma**2)
            ).sqrt()

        out = end.alpha * mean + covariance.apply(gain, flat - start.alpha * mean)
        return out.reshape(x.shape).to(x)

    def marginal(self, point: Point) -> Gaussian:
        """The law of x at ``point``, N(αμ, α²C + σ²)."""
        check_point(point)
        _, a, s = point
        variance = (a * a * self.covariance.variances + s * s).reshape(self.sample_shape)
        factors = a * self.covariance.factors() if self.covariance.support else None
        return Gaussian(
            (a * self.mean).reshape(self.sample_shape), variance, self.process, factors=factors
        )

    def log_prob(self, x: Tensor, point: Point) -> Tensor:
        """log p(x) at ``point``, shape (B,), float64; differentiable in ``x``."""
        check_point(point)
        flat = self.flat(x)
        mean, covariance = self._on(flat.device)
        _, a, s = point
        c = flat - a * mean
        quad = (c * covariance.apply(lambda v: 1 / (a * a * v + s * s), c)).sum(1)
        logdet = covariance.trace(lambda v: (a * a * v + s * s).log())
        return -0.5 * (quad + logdet + c.shape[1] * math.log(2 * math.pi))

    def transform(self, normals: Tensor) -> Tensor:
        """Samples of x0 from standard normals (n, *shape): μ + C^½ z, in their dtype."""
        z = self.flat(normals)
        mean, covariance = self._on(z.device)
        return (mean + covariance.apply(torch.sqrt, z)).reshape(normals.shape).to(normals)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """``n`` samples of x0, float64, on the generator's device."""
        device = float64_device(generator.device) if generator else torch.device("cpu")
        shape = (n, *self.sample_shape)
        return self.transform(
            torch.randn(shape, generator=generator, dtype=torch.float64, device=device)
        )

    def fingerprint(self) -> str:
        return digest(given(*self._source), "gaussian", self.sample_shape)
