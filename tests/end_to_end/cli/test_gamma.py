"""``diffdescent gamma``."""

import json
from pathlib import Path

import pytest
import torch

from diffdescent.apps.cli import gamma_option
from diffdescent.base.images import save_png
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
    said = run("sample", "cifar10", *wrong, code=2).stderr
    assert "There is no Γ file estimate; give the JSON file that diffdescent gamma" in said
    assert not (tmp_path / "others").exists()


def test_an_estimate_is_kept_under_the_models_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gamma_option, "IMAGES", 8)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i, image in enumerate(torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))):
        save_png(image.mul(255).to(torch.uint8), pictures / f"{i}.png")
    out = tmp_path / "out"
    asked = ["--sampler", "analytic(eta=1)", "--gamma", "estimate", "--steps", 3, "--n", 1]
    run("sample", f"images:{pictures}", *asked, "--out", out)
    record = json.loads((out / "run.json").read_text())
    (file,) = tmp_path.glob("out-gamma-*.json")
    assert record["recipe"] == f"analytic(eta=1.0, gamma='{file}')"
    curve = load_gamma(file)
    assert curve.model == record["fingerprint"]
    assert file.name == f"out-gamma-{record['fingerprint'][:16]}-0.json"
    assert curve(999) == pytest.approx(1, abs=0.05)
    assert curve(0) < 0.9
    before = file.stat().st_mtime_ns
    again = ["sample", f"images:{pictures}", *asked, "--out", out, "--overwrite"]
    run(*again)
    assert file.stat().st_mtime_ns == before
    wrong = ["sample", f"images:{pictures}", "--sampler", "ddim", "--gamma", "estimate"]
    assert "belongs to Analytic-DPM" in run(*wrong, "--out", tmp_path / "x", code=2).stderr
