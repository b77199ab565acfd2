"""``diffdescent spectrum``."""

from pathlib import Path

from diffdescent.core.spectrum.power import read_spectrum

from .command import run


def test_a_spectrum_is_measured_and_used(tmp_path: Path) -> None:
    out = tmp_path / "s.json"
    command = ["spectrum", "cifar10-mixture", "--out", out, "--n", 4]
    sampler = f"gaussian(spectrum='{out}')"
    assert sampler in run(*command).stdout
    luma, chroma = read_spectrum(out).power
    assert luma[0] > 100 * luma[-1]
    assert luma[3] > chroma[3]
    assert "exists; choose another --out" in run(*command, code=2).stderr
    images = tmp_path / "images"
    run("sample", "cifar10-mixture", "--sampler", sampler, "--steps", 3, "--n", 2, "--out", images)
    other = tmp_path / "other.json"
    run("spectrum", "cifar10", "--images", images, "--out", other)
    assert read_spectrum(other).measured["source"] == "images"
