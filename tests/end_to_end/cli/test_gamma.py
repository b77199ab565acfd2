"""``diffdescent gamma``."""

from pathlib import Path

import pytest

from diffdescent.core.solvers.gamma import load_gamma

from .command import run


def test_gamma_is_measured_and_used(tmp_path: Path) -> None:
    out = tmp_path / "gamma.json"
    command = ["gamma", "cifar10-mixture", "--out", out, "--n", 4, "--times", 5]
    sampler = f"analytic(gamma='{out}')"
    assert sampler in run(*command).stdout
    assert load_gamma(out)(999) == pytest.approx(1, abs=0.1)
    assert "exists; choose another --out" in run(*command, code=2).stderr
    images = ["--sampler", sampler, "--steps", 3, "--n", 1, "--out", tmp_path / "images"]
    run("sample", "cifar10-mixture", *images)
    wrong = ["--sampler", "analytic(gamma=estimate)", "--out", tmp_path / "others"]
    assert "Γ file 'estimate' cannot be read" in run("sample", "cifar10", *wrong, code=2).stderr
    assert not (tmp_path / "others").exists()
