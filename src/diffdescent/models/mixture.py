"""A mixture of Gaussians: the exact denoiser of something that looks like data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.process import Point, Process

from .coordinates import Coordinates, Cosine, Pixels
from .covariance import Covariance
from .exact import Exact, ExactKind, check_point, digest, float64_device, given, member_mask


class _Stacked(NamedTuple):
    """All components side by side, float64: K components, d coordinates, m of them under the r
    directions."""

    log_weights: Tensor  # (K,)
    center: Tensor  # (d,) the mixture's mean, taken out first to keep squares small
    means: Tensor  # (K, d) less the center
    variances: Tensor  # (K, d)
    directions: Tensor  # (m, K·r)
    values: Tensor  # (K, r)
    projected: Tensor  # (K, r) Vᵀ of the means


class _Posterior(NamedTuple):
    """What one evaluation knows: the stacked parameters, y (B, d), and per component
    α²v + σ² (K, d) and (K, r), Vᵀ(y − αμ) (B, K, r), and log(weight × density) (B, K)."""

    stacked: _Stacked
    y: Tensor
    total: Tensor
    total_values: Tensor
    inner: Tensor
    logits: Tensor


class Mixture(Exact):
    """x0 ~ Σ_k w_k N(μ_k, C_k), C_k = diag(v_k) + W_k W_kᵀ.

    With T_k = α²C_k + σ², c_k = x − αμ_k and responsibilities r_k ∝ w_k N(x; αμ_k, T_k),

        E[x0 | x] = Σ r_k (μ_k + αC_k T_k⁻¹ c_k),    E[ε | x] = Σ r_k σT_k⁻¹ c_k.

    Args:
        weights: w (K,), positive; they are normalised.
        means: μ (K, *shape), or (K, d) in ``coordinates`` together with ``shape``.
        variances: v, of the shape of ``means``, positive: the diagonal part.
        process: α(t), σ(t).
        factors: W (K, m, r) on the first m coordinates; None for diagonal covariances.
        labels: the class of each component (K,), int64 ≥ 0; None for a mixture without classes.
        classes: names of the classes 0, 1, …; None when they have none.
        shape: of one sample; by default that of one mean.
        coordinates: the rotation in which means, variances and factors are written; pixels by
            default.
        source: the tensors from which these were computed, such as a file's, for the fingerprint;
            by default these themselves.

    Raises:
        UserError: shapes that do not fit, and weights or variances that are not positive.
    """

    width = 16

    def __init__(
        self,
        weights: Tensor,
        means: Tensor,
        variances: Tensor,
        process: Process,
        *,
        factors: Tensor | None = None,
        labels: Tensor | None = None,
        classes: Sequence[str] | None = None,
        shape: tuple[int, ...] | None = None,
        coordinates: Coordinates | None = None,
        source: Sequence[Tensor] | None = None,
        name: str = "mixture",
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(process, tuple(means.shape[1:]) if shape is None else shape, name, device)
        self.coordinates: Coordinates = Pixels() if coordinates is None else coordinates
        self.weights = weights.detach().double().cpu()
        k = len(means)
        if (
            self.weights.shape != (k,)
            or not bool((self.weights > 0).all())
            or not math.isfinite(self.weights.sum())
        ):
            raise UserError(
                f"A mixture of {k} means needs {k} positive weights; leave out components of"
                " weight 0."
            )
        self.weights = self.weights / self.weights.sum()
        self.means = means.detach().double().cpu().reshape(k, -1)
        if self.means.shape[1] != math.prod(self.sample_shape) or variances.shape != means.shape:
            raise UserError(
                "Means and variances must have one shape that fits samples of shape"
                f" {self.sample_shape}, not {tuple(means.shape)} and {tuple(variances.shape)}."
            )
        if factors is not None and (factors.ndim != 3 or len(factors) != k):
            raise UserError(
                f"Factors must have shape ({k}, m, r), one matrix a component, not"
                f" {tuple(factors.shape)}."
            )
        if labels is not None and (
            labels.shape != (k,) or labels.is_floating_point() or int(labels.min()) < 0
        ):
            raise UserError(
                f"Labels must be {k} integers ≥ 0, the class of each component, not"
                f" {labels.tolist()}."
            )
        self.labels = None if labels is None else labels.detach().long().cpu()
        self.classes = classes
        v = variances.detach().double().cpu().reshape(k, -1)
        w = [None] * k if factors is None else list(factors.detach().cpu().unbind())
        self.covariances = [Covariance.build(row, factor) for row, factor in zip(v, w, strict=True)]
        if len({c.directions.shape for c in self.covariances}) > 1:
            raise UserError(
                "Either every component's variances are constant over the coordinates that the"
                " factors act on, or none's are; fit all of them with one kind of residual."
            )
        self._source = source or (weights, means, variances, factors, labels)
        self._moved: dict[torch.device, _Stacked] = {}

    def _on(self, device: torch.device) -> _Stacked:
        if device not in self._moved:
            directions = torch.stack([c.directions for c in self.covariances])  # (K, m, r)
            center = self.weights @ self.means
            means = self.means - center
            stacked = _Stacked(
                self.weights.log(),
                center,
                means,
                torch.stack([c.variances for c in self.covariances]),
                directions.permute(1, 0, 2).flatten(1),
                torch.stack([c.values for c in self.covariances]),
                torch.einsum("kmr,km->kr", directions, means[:, : directions.shape[1]]),
            )
            self._moved[device] = _Stacked(*(t.to(device) for t in stacked))
        return self._moved[device]

    def _posterior(self, x: Tensor, point: Point, cond: Tensor | None) -> _Posterior:
        p = self._on(x.device)
        _, a, s = point
        y = self.coordinates.encode(x) - a * p.center
        total, total_values = a * a * p.variances + s * s, a * a * p.values + s * s
        support = p.directions.shape[0]
        inner = (y[:, :support] @ p.directions).reshape(len(y), *p.values.shape) - a * p.projected
        # Σ (y − αμ)²/T with the square multiplied out: one matrix product instead of a (B, K, d)
        # tensor.
        scaled = a * p.means / total
        quad = (y * y) @ (1 / total).T - 2 * (y @ scaled.T) + a * (scaled * p.means).sum(1)
        quad = quad + (inner**2 * (1 / total_values - 1 / total[:, :1])).sum(2)
        logdet = total.log().sum(1) + (total_values.log() - total[:, :1].log()).sum(1)
        logits = p.log_weights - 0.5 * (quad + logdet + y.shape[1] * math.log(2 * math.pi))
        if cond is not None and self.labels is not None:
            member = member_mask(self.labels.to(x.device), cond)
            share = torch.logsumexp(p.log_weights.masked_fill(~member, -math.inf), dim=1)
            logits = logits.masked_fill(~member, -math.inf) - share[:, None]
        return _Posterior(p, y, total, total_values, inner, logits)

    def evaluate(self, x: Tensor, point: Point, kind: ExactKind, cond: Tensor | None) -> Tensor:
        p, y, total, total_values, inner, logits = self._posterior(x, point, cond)
        _, a, s = point
        weight = logits.softmax(1)
        # T⁻¹ along V less T⁻¹ of the rest is −α²(λ − v₀)/(T_λ T₀): written so, nothing cancels.
        excess = (p.values - p.variances[:, :1]) / (total_values * total[:, :1])
        if kind == "x0":
            out = (
                (weight @ (a * p.variances / total)) * y
                + weight @ (p.means * (s * s / total))
                + p.center
            )
            gain = a * s * s * excess
        else:
            out = (weight @ (s / total)) * y - weight @ (a * s * p.means / total)
            gain = -a * a * s * excess
        correction = (weight[:, :, None] * gain * inner).flatten(1) @ p.directions.T
        support = p.directions.shape[0]
        return self.coordinates.decode(
            torch.cat((out[:, :support] + correction, out[:, support:]), dim=1)
        )

    def log_prob(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Tensor:
        """log p(x | class) at ``point``, shape (B,), float64; differentiable in ``x``."""
        check_point(point)
        return self._posterior(self.flat(x), point, self.checked(cond, x)).logits.logsumexp(1)

    def responsibilities(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Tensor:
        """The posterior probability of each component, shape (B, K), float64; differentiable in
        ``x``."""
        check_point(point)
        return self._posterior(self.flat(x), point, self.checked(cond, x)).logits.softmax(1)

    def class_log_prob(self, x: Tensor, point: Point) -> Tensor:
        """log p(class | x), shape (B, classes), float64, differentiable in ``x``: the exact noisy
        classifier.

        Raises:
            UserError: a mixture without classes.
        """
        check_point(point)
        if self.labels is None:
            raise UserError("This mixture has no classes; give labels= when it is made.")
        log_post = self._posterior(self.flat(x), point, None).logits.log_softmax(1)
        labels = self.labels.to(log_post.device)
        return torch.stack(
            [log_post[:, labels == c].logsumexp(1) for c in range(int(labels.max()) + 1)], dim=1
        )

    def transform(self, uniforms: Tensor, normals: Tensor, cond: Tensor | None = None) -> Tensor:
        """Samples of x0 from uniforms (n,) in [0, 1) and standard normals (n, *shape), in the
        normals' dtype.

        The uniform picks the component through the cumulative weights of its class, the normals
        give μ_k + C_k^½ z.
        """
        z = self.flat(normals)
        p = self._on(z.device)
        weight = p.log_weights.exp().expand(len(z), -1)
        cond = self.checked(cond, normals)
        if cond is not None and self.labels is not None:
            weight = weight * member_mask(self.labels.to(z.device), cond)
        cumulative = weight.cumsum(1)
        cumulative = cumulative / cumulative[:, -1:]
        # "≤" passes over components of weight 0 even when the uniform is exactly 0.
        chosen = (cumulative <= uniforms.to(cumulative)[:, None]).sum(1)
        y = torch.empty_like(z)
        for k in torch.unique(chosen).tolist():
            rows = chosen == k
            y[rows] = (
                p.center + p.means[k] + self.covariances[k].to(z.device).apply(torch.sqrt, z[rows])
            )
        return self.coordinates.decode(y).reshape(normals.shape).to(normals)

    def sample(
        self, n: int, generator: torch.Generator | None = None, cond: Tensor | None = None
    ) -> Tensor:
        """``n`` samples of x0, float64, on the generator's device; ``cond`` (n,) as in a call."""
        device = float64_device(generator.device) if generator else torch.device("cpu")
        uniforms = torch.rand(n, generator=generator, dtype=torch.float64, device=device)
        normals = torch.randn(
            n, *self.sample_shape, generator=generator, dtype=torch.float64, device=device
        )
        return self.transform(uniforms, normals, cond)

    def fingerprint(self) -> str:
        order = (self.coordinates.order,) if isinstance(self.coordinates, Cosine) else ()
        kind = type(self.coordinates).__name__
        return digest((*given(*self._source), *order), "mixture", self.sample_shape, kind)
