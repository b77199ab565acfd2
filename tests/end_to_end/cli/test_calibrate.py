"""``diffdescent calibrate`` from the command to the images."""

from __future__ import annotations

import json
from pathlib import Path

from .command import run

QUICK = [
    "--nfe",
    "3",
    "--trajectories",
    "8",
    "--held-out",
    "8",
    "--teacher",
    "16",
    "--bands",
    "4",
    "--end-to-end",
    "0",
]


def test_a_file_is_fitted_and_sampled_with(tmp_path: Path) -> None:
    file = tmp_path / "fitted.json"
    done = run("calibrate", "cifar10-mixture", *QUICK, "--out", str(file), "--json")
    report = json.loads(done.stdout)
    assert report["held_out"] == 8
    assert report["kept"] in ("calibrated", "fixed")
    assert [p.name for p in tmp_path.iterdir()] == ["fitted.json"]
    sampler = f"calibrated('{file}')"
    run("sample", "cifar10-mixture", "--sampler", sampler, "--n", "2", "--out", str(tmp_path / "s"))
    assert json.loads((tmp_path / "s" / "run.json").read_text())["nfe"] == 3
    weights = run("weights", sampler, "--plot", str(tmp_path / "weights.png")).stdout
    assert "calibrated(fitted)" in weights
    assert (tmp_path / "weights.png").is_file()
    error = run("calibrate", "cifar10-mixture", *QUICK, "--out", str(file), code=2).stderr
    assert "--overwrite" in error


def test_bad_options_are_one_sentence(tmp_path: Path) -> None:
    out = str(tmp_path / "x.json")
    assert "3 to 12" in run("calibrate", "mnist", "--nfe", "20", "--out", out, code=2).stderr
    assert "JSON" in run("calibrate", "mnist", "--out", str(tmp_path / "x"), code=2).stderr
