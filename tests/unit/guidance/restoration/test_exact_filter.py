"""ddrm with the images' power spectrum, against the exact posterior of Gaussian images."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from benchmarks.restore_bias import Silent
from torch import Tensor

import diffdescent as dd
from diffdescent.base.errors import UserError
from diffdescent.core.restoration.prior import direction_variances
from diffdescent.core.spectrum.cosine import to_cosines
from diffdescent.core.spectrum.power import parse_spectrum
from diffdescent.models.gaussian import Gaussian
from diffdescent.models.posterior import posterior
from diffdescent.run import NOISES, collect, prepare_restoration
from diffdescent.run.problem import measure

from .problems import SHAPE, bound, coloured, dense, gaussian

POWER = "power(1.5, 0.05)"
WHITE = [
    (f"white({v})", o) for v in (1, 0.25) for o in ("mask", "blur(sigma=0.8)", "downsample(2)")
]
CASES = [*WHITE, (POWER, "blur(sigma=0.8)"), (POWER, "box_blur")]


def prior(spectrum: str) -> Gaussian:
    return gaussian(float(spectrum[6:-1]) ** 0.5) if "white" in spectrum else coloured(spectrum)


def measured(spectrum: str, operator: str, noise: float) -> Tensor:
    clean = prior(spectrum).sample(2, torch.Generator().manual_seed(1))
    return measure(bound(operator), clean, noise, 0, range(2))


@pytest.mark.parametrize(("spectrum", "operator"), CASES)
@pytest.mark.parametrize("noise", [0.05, 0.3])
@pytest.mark.parametrize(("sampler", "nfe", "near"), [("", 100, 0.002), ("ddim | ", 100, 0.005),
                                                      ("", 6, 0.005)])  # fmt: skip
def test_the_posterior_mean_of_gaussian_images_is_exact(
    spectrum: str,
    operator: str,
    noise: float,
    sampler: str,
    nfe: int,
    near: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With fresh noise at any number of evaluations, without it at many."""
    monkeypatch.setitem(NOISES, "silent", Silent)  # type: ignore[arg-type]
    y = measured(spectrum, operator, noise)
    run = prepare_restoration(
        prior(spectrum), y, operator, noise=noise, method=f"{sampler}ddrm(spectrum='{spectrum}')",
        nfe=nfe, grid="karras", dtype=torch.float64,
    )  # fmt: skip
    exact = posterior(prior(spectrum), operator, y, noise).mean
    found = collect(replace(run, noise="silent")).images
    assert float((found - exact).norm() / exact.norm()) < near


@pytest.mark.parametrize("operator", ["mask", "blur", "downsample(2)", "fourier"])
@pytest.mark.parametrize("through", ["", ", through=inf"])
def test_pigdm_is_exact_for_every_operator(
    operator: str, through: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the spectrum of coloured images; r_t²·I is not their covariance, and shows it."""
    monkeypatch.setitem(NOISES, "silent", Silent)  # type: ignore[arg-type]
    y = measured(POWER, operator, 0.2)
    exact = posterior(coloured(POWER), operator, y, 0.2).mean
    errors = []
    for text in (f"pigdm(spectrum='{POWER}'{through})", f"pigdm(spread=0.4{through})"):
        run = prepare_restoration(
            coloured(POWER), y, operator, noise=0.2, method=text, nfe=30, grid="karras",
            dtype=torch.float64,
        )  # fmt: skip
        found = collect(replace(run, noise="silent")).images
        errors.append(float((found - exact).norm() / exact.norm()))
    assert errors[0] < 0.01
    assert errors[1] > 2 * errors[0]


def test_what_pigdm_misses_is_the_covariance_off_the_diagonal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neighbours correlate exp(−distance/2): cosines do not diagonalise that. With the covariance
    itself in place of its diagonal the same step has the posterior mean."""
    monkeypatch.setitem(NOISES, "silent", Silent)  # type: ignore[arg-type]
    at = torch.cartesian_prod(torch.arange(6.0), torch.arange(6.0))
    c = 0.25 * torch.exp(-torch.cdist(at, at) / 2).double()
    values, directions = torch.linalg.eigh(c)
    floor = float(values.min()) / 2
    model = gaussian(floor**0.5, factors=directions * (values - floor).sqrt())
    basis = to_cosines(torch.eye(36, dtype=torch.float64).reshape(-1, *SHAPE)).flatten(1)
    kept = basis @ (basis.T @ c @ basis).diagonal().diag() @ basis.T
    y = measure(bound("mask"), model.sample(2, torch.Generator().manual_seed(1)), 0.3, 0, range(2))
    exact = posterior(model, "mask", y, 0.3).mean
    errors = []
    for covariance in (kept, c):

        def given(_: object, ratio: float, v: Tensor, of: Tensor = covariance) -> Tensor:
            known = torch.linalg.inv(torch.linalg.inv(of) + ratio**-2 * torch.eye(36).double())
            return (v.flatten(1) @ known).reshape(v.shape)

        monkeypatch.setattr("diffdescent.guidance.measured.estimated_covariance", given)
        run = prepare_restoration(
            model, y, "mask", noise=0.3, method=f"pigdm(spectrum='{POWER}')", nfe=30,
            grid="karras", dtype=torch.float64,
        )  # fmt: skip
        found = collect(replace(run, noise="silent")).images
        errors.append(float((found - exact).norm() / exact.norm()))
    diagonal, whole = errors
    assert whole < 1e-3
    assert 0.01 < diagonal < 0.1


def test_their_covariance_is_exact_at_six_evaluations() -> None:
    noise, n = 0.3, 4000
    y = measured(POWER, "blur(sigma=0.8)", noise)[:1]
    truth = posterior(coloured(POWER), "blur(sigma=0.8)", y, noise).covariance()
    u = torch.linalg.svd(dense(bound("blur(sigma=0.8)")))[2]  # C is diagonal along these rows
    expected = (u @ truth @ u.T).diagonal()
    spread = {}
    for text in (f"ddrm(spectrum='{POWER}')", "ddrm"):
        made = dd.restore(
            coloured(POWER), y, "blur(sigma=0.8)", noise=noise, method=text, nfe=6, n=n,
            grid="karras", batch_size=n, micro_batch=n, dtype=torch.float64,
        )  # fmt: skip
        along = made.images[0].flatten(1) @ u.T
        spread[text] = along.var(0) / expected
    exact, paper = spread.values()
    assert float((exact - 1).abs().max()) < 0.12  # 5 standard errors
    assert float((paper - 1).abs().max()) > 0.5


@pytest.mark.parametrize("operator", ["mask", "downsample(2)", "blur", "fourier(share=0.4)"])
def test_variances_along_directions_are_those_of_the_covariance(operator: str) -> None:
    a, spectrum = bound(operator), parse_spectrum(POWER)
    found = direction_variances(spectrum, a).flatten()
    c = coloured(POWER).covariance.apply(lambda v: v, torch.eye(36, dtype=torch.float64))
    v = a.from_spectral(torch.eye(36, dtype=torch.float64).reshape(-1, *SHAPE)).flatten(1)
    torch.testing.assert_close(found, ((v @ c) * v).sum(1))


def test_random_signs_serve_large_images(monkeypatch: pytest.MonkeyPatch) -> None:
    spectrum = parse_spectrum(POWER)
    exact = {text: direction_variances(spectrum, bound(text)) for text in ("mask", "blur")}
    monkeypatch.setattr("diffdescent.core.restoration.prior.EXACT", 10)
    for text, near in (("mask", 0.25), ("blur", 1e-9)):
        torch.testing.assert_close(
            direction_variances(spectrum, bound(text)), exact[text], rtol=near, atol=0
        )


def test_spectra_that_do_not_fit_are_refused() -> None:
    y = torch.ones(1, *SHAPE)
    with pytest.raises(UserError, match="cannot be read"):
        dd.restore(gaussian(), y, "blur", noise=0.1, method="ddrm(spectrum='white(x)')", nfe=3)
