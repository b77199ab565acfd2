"""The exact posterior of a Gaussian or a mixture under a linear measurement y = A x + n.

With A = U diag(s) Vᵀ the measurement says v = Vᵣᵀx + n/s, where Vᵣ are the r directions with s > 0
and v = Vᵣᵀ A⁺y. A component N(μ, C) of the prior then has, with S = Vᵣᵀ C Vᵣ + σ²/s²,

    mean        μ + C Vᵣ S⁻¹ (v − Vᵣᵀμ)
    covariance  C − C Vᵣ S⁻¹ Vᵣᵀ C
    evidence    N(v; Vᵣᵀμ, S), which multiplies its weight. C > 0, so S is regular at σ = 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.noise import MEASUREMENT, integers, normals
from diffdescent.core.operators import Operator, parse_operator
from diffdescent.core.predict import Predictor
from diffdescent.core.process import Point

from .coordinates import Coordinates, Pixels
from .covariance import Covariance
from .gaussian import Gaussian
from .measured import Measured, measure_along
from .mixture import Mixture

NEGLIGIBLE = 1e-8
"""The posterior weight below which a component is left out."""
_DATA = Point(0.0, 1.0, 0.0)
_NORMALS, _NOISE, _CHOICE = 2, 3, 4
"""The draws of one posterior sample: of the prior, of the measurement, and of the component."""


class _Prior(NamedTuple):
    """log w (K,), μ (K, d) in the coordinates, C for each, and what the coordinates are."""

    log_weights: Tensor
    means: Tensor
    covariances: list[Covariance]
    coordinates: Coordinates


class _Conditioned(NamedTuple):
    """One component: S = L Lᵀ, G = Vᵣᵀ C (r, d), and of each y the posterior mean (B, d) and the
    log evidence (B,)."""

    root: Tensor
    gain: Tensor
    means: Tensor
    log_evidence: Tensor


@dataclass(frozen=True, eq=False)
class Posterior:
    """p(x | y) of B measurements, made by :func:`posterior`. Everything is float64 on the CPU.

    It costs one Cholesky factor of size r a component, made anew where it is needed again.
    """

    model: Gaussian | Mixture
    measured: Measured
    label: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image."""
        return self.model.sample_shape

    @cached_property
    def _prior(self) -> _Prior:
        model = self.model
        if isinstance(model, Gaussian):
            return _Prior(torch.zeros(1).double(), model.mean[None], [model.covariance], Pixels())
        log_weights = model.weights.log()
        if self.label is not None and model.labels is not None:
            log_weights = log_weights.masked_fill(model.labels != self.label, -math.inf)
            log_weights = log_weights - log_weights.logsumexp(0)
        return _Prior(log_weights, model.means, model.covariances, model.coordinates)

    @cached_property
    def _rows(self) -> Tensor:
        """Vᵣᵀ in the coordinates of the prior, (r, d)."""
        return self._prior.coordinates.encode(self.measured.rows)

    def _conditioned(self, k: int) -> _Conditioned:
        prior, rows = self._prior, self._rows
        gain = prior.covariances[k].apply(lambda v: v, rows)
        root = torch.linalg.cholesky(gain @ rows.T + torch.diag(self.measured.variance))
        apart = self.measured.values - prior.means[k] @ rows.T
        z = torch.linalg.solve_triangular(root, apart.T, upper=False)
        logdet = 2 * root.diagonal().log().sum()
        constant = len(rows) * math.log(2 * math.pi)
        log_evidence = -0.5 * (z.square().sum(0) + logdet + constant)
        means = prior.means[k] + torch.cholesky_solve(apart.T, root).T @ gain
        return _Conditioned(root, gain, means, log_evidence)

    @cached_property
    def _all(self) -> tuple[Tensor, Tensor, Tensor]:
        """log p(v) (B,), the posterior weights (B, K), and the components' means (K, B, d)."""
        logits, means = [], []
        for k, log_weight in enumerate(self._prior.log_weights.tolist()):
            if log_weight == -math.inf:
                logits.append(torch.full((len(self.measured.values),), -math.inf).double())
                means.append(self._prior.means[k].expand(len(self.measured.values), -1))
                continue
            found = self._conditioned(k)
            logits.append(log_weight + found.log_evidence)
            means.append(found.means)
        stacked = torch.stack(logits, dim=1)
        return stacked.logsumexp(1), stacked.softmax(1), torch.stack(means)

    @property
    def log_evidence(self) -> Tensor:
        """log p(v), (B,)."""
        return self._all[0]

    @property
    def weights(self) -> Tensor:
        """The posterior weights of the prior's components, (B, K)."""
        return self._all[1]

    @property
    def mean(self) -> Tensor:
        """E[x | y], (B, *shape)."""
        _, weights, means = self._all
        return self._pixels(torch.einsum("bk,kbd->bd", weights, means))

    @cached_property
    def variance(self) -> Tensor:
        """The variance of every number of the image given y, (B, *shape)."""
        _, weights, means = self._all
        centre = self.mean.flatten(1)
        total = torch.zeros_like(centre)
        for k in self._alive():
            within = self._component_variance(k)
            apart = self._pixels(means[k]).flatten(1) - centre
            total += weights[:, k, None] * (within + apart.square())
        return total.view(-1, *self.shape)

    def covariance(self, sample: int = 0) -> Tensor:
        """Cov[x | y] of one measurement, (d, d)."""
        _, weights, means = self._all
        centre, decode = self.mean[sample].flatten(), self._prior.coordinates.decode
        total = torch.zeros(len(centre), len(centre), dtype=torch.float64)
        for k in self._alive():
            apart = self._pixels(means[k, sample : sample + 1]).flatten() - centre
            within = decode(decode(self._component_covariance(k)).T)
            total += weights[sample, k] * (within + torch.outer(apart, apart))
        return total

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """``n`` samples for each measurement, (n, B, *shape): of the prior, moved by what they
        would have measured (Matheron's rule), x' + C Vᵣ S⁻¹ (v − v'). Keyed by (seed, j·B + b). The
        last two sets are kept: all methods of a problem are judged by the same."""
        return self._sets(n, seed).clone()

    @cached_property
    def _sets(self) -> Callable[[int, int], Tensor]:
        return lru_cache(maxsize=2)(self._drawn)

    def _drawn(self, n: int, seed: int) -> Tensor:
        count = len(self.measured.values)
        index = torch.arange(n * count)
        d = math.prod(self.shape)
        z = normals(seed, index, (d,), MEASUREMENT, _NORMALS, torch.float64)
        shape = self.measured.variance.shape
        noise = normals(seed, index, shape, MEASUREMENT, _NOISE, torch.float64)
        chosen = self._chosen(integers(seed, index, 1, MEASUREMENT, _CHOICE)[:, 0])
        made = torch.empty_like(z)
        for k in torch.unique(chosen).tolist():
            here = chosen == k
            prior, found = self._prior, self._conditioned(k)
            x = prior.means[k] + prior.covariances[k].apply(torch.sqrt, z[here])
            measured = x @ self._rows.T + self.measured.variance.sqrt() * noise[here]
            apart = self.measured.values[index[here] % count] - measured
            made[here] = x + torch.cholesky_solve(apart.T, found.root).T @ found.gain
        return self._pixels(made).view(n, count, *self.shape)

    def _chosen(self, words: Tensor) -> Tensor:
        """The component of each sample, from 32-bit integers (n·B,)."""
        cumulative = self.weights.cumsum(1).repeat(len(words) // len(self.weights), 1)
        uniform = (words.double() + 0.5) / 2**32
        return (cumulative < uniform[:, None] * cumulative[:, -1:]).sum(1)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x | y) of ``x`` (B, *shape), one for each measurement, (B,).

        Without noise it is the density on the images that measure y, and −∞ away from them.
        """
        likelihood = self.measured.log_likelihood(x.double())
        return self._log_prior(x.double()) + likelihood - self.log_evidence

    def _log_prior(self, x: Tensor) -> Tensor:
        if isinstance(self.model, Gaussian):
            return self.model.log_prob(x, _DATA)
        cond = None if self.label is None else torch.full((len(x),), self.label)
        return self.model.log_prob(x, _DATA, cond)

    def as_mixture(self, sample: int = 0, floor: float = 1e-10) -> Mixture:
        """The posterior of one measurement as a model: its exact denoiser, which shows how well a
        sampler does that knows the score given y. Variances below ``floor`` (without noise they
        are zero) are set to it. For up to about a thousand numbers an image."""
        _, weights, means = self._all
        alive = [k for k in self._alive() if float(weights[sample, k]) > NEGLIGIBLE]
        roots = [_root(self._component_covariance(k), floor) for k in alive]
        centres = means[alive, sample]
        return Mixture(
            weights[sample, alive],
            centres,
            torch.full_like(centres, floor),
            self.model.process,
            factors=torch.stack(roots),
            shape=self.shape,
            coordinates=self._prior.coordinates,
            name=f"{self.model.name}-given-y",
        )

    def _alive(self) -> Iterator[int]:
        """The components that count for some measurement."""
        return (k for k, w in enumerate(self.weights.amax(0).tolist()) if w > NEGLIGIBLE)

    def _component_covariance(self, k: int) -> Tensor:
        """C − Gᵀ S⁻¹ G in the coordinates of the prior, (d, d)."""
        found = self._conditioned(k)
        z = torch.linalg.solve_triangular(found.root, found.gain, upper=False)
        whole = torch.eye(self._rows.shape[1], dtype=torch.float64)
        left: Tensor = self._prior.covariances[k].apply(lambda v: v, whole) - z.T @ z
        return left

    def _component_variance(self, k: int) -> Tensor:
        """The diagonal of C − Gᵀ S⁻¹ G in pixels, (d,)."""
        found, prior = self._conditioned(k), self._prior.covariances[k]
        decode = self._prior.coordinates.decode
        z = torch.linalg.solve_triangular(found.root, found.gain, upper=False)
        total = prior.variances @ self._squares - decode(z).square().sum(0)
        if prior.support:
            missing = self._rows.shape[1] - prior.support
            directions = torch.nn.functional.pad(prior.directions.T, (0, missing))
            total = total + (prior.values - prior.rest) @ decode(directions).square()
        return total

    @cached_property
    def _squares(self) -> Tensor:
        """The squared pixels of each of the prior's coordinates, (d, d)."""
        whole = torch.eye(self._rows.shape[1], dtype=torch.float64)
        return self._prior.coordinates.decode(whole).square()

    def _pixels(self, rows: Tensor) -> Tensor:
        """Rows (B, d) in the prior's coordinates as images."""
        return self._prior.coordinates.decode(rows).view(-1, *self.shape)


def _root(covariance: Tensor, floor: float) -> Tensor:
    """W with W Wᵀ = covariance − floor, where that is positive."""
    values, directions = torch.linalg.eigh((covariance + covariance.T) / 2)
    made: Tensor = directions * (values - floor).clamp(min=0).sqrt()
    return made


def posterior(
    model: Predictor,
    operator: Operator | str,
    y: Tensor,
    noise: float,
    *,
    seed: int = 0,
    label: int | None = None,
) -> Posterior:
    """The exact p(x | y) of an exact ``model`` under y = A x + n, n ~ N(0, ``noise``²).

    Args:
        model: a :class:`Gaussian` or :class:`Mixture`.
        operator: a linear operator or its text; ``seed`` draws what is random in it.
        y: the measurements (B, *out_shape). Singular values that count as zero in its dtype are
            left out (:class:`~diffdescent.core.operators.Linear`).
        noise: the standard deviation of n; 0 for none.
        label: the class of the prior, where it has classes.

    Raises:
        UserError: other models and operators, a negative noise, and a y that does not fit.
    """
    if not isinstance(model, Gaussian | Mixture):
        raise UserError(
            "The exact posterior is known for Gaussians and mixtures of them; take such a model,"
            " for example cifar10-mixture."
        )
    if not (math.isfinite(noise) and noise >= 0):
        raise UserError(f"The noise of a measurement is at least 0 and finite, not {noise}.")
    if label is not None and label not in model.class_labels.tolist():
        raise UserError(f"This model has no class {label}; leave the label out or take another.")
    bound = parse_operator(operator).bind(model.sample_shape, seed=seed, dtype=torch.float64)
    return Posterior(model, measure_along(bound, y, noise), label)
