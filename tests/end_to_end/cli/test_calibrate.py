"""``diffdescent calibrate`` from the command to the images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
    assert ".json" in run("calibrate", "mnist", "--out", str(tmp_path / "x"), code=2).stderr
    few = run("calibrate", "nowhere", "--trajectories", "8", "--out", out, code=2).stderr
    assert "too few for 5 evaluations; give at least 10 and 8" in few  # before the model is sought
    for option, match in (("--loss", "Unknown loss 'x'"), ("--prior", "Unknown prior 'x'")):
        assert match in run("calibrate", "mnist", option, "x", "--out", out, code=2).stderr
    missing = ("sample", "cifar10-mixture", "--sampler", "calibrated('missing.json')")
    error = run(*missing, code=2).stderr
    assert "there is no such file; give the JSON file that diffdescent calibrate wrote." in error
    assert "path of one" not in error


@pytest.mark.parametrize("steps", ["8", "20", None])
def test_other_steps_than_the_files_are_a_warning(tmp_path: Path, steps: str | None) -> None:
    asked = [] if steps is None else ["--steps", steps]
    sampler = "calibrated('cifar10-mixture-unlabelled-5')"
    out = ("--n", "1", "--out", tmp_path)
    error = run("sample", "cifar10-mixture", "--sampler", sampler, *asked, *out).stderr
    said = [line for line in error.splitlines() if line.startswith("Warning: ")]
    assert len(said) == (steps is not None)
    assert all(f"has 5 evaluations, whatever the steps are; leave the {steps}" in s for s in said)
    assert ".py" not in error


def test_labels_that_differ_from_the_fit_are_a_plain_warning(tmp_path: Path) -> None:
    sampler = ("--sampler", "calibrated('cifar10-mixture-unlabelled-5')", "--label", "0")
    done = run("sample", "cifar10-mixture", *sampler, "--n", "1", "--out", tmp_path)
    assert "Warning: " in done.stderr
    assert "calibrate again with --labels" in done.stderr
    assert "checked.py" not in done.stderr


def test_the_summary_names_the_grid_as_it_was_asked_for(tmp_path: Path) -> None:
    grid = "loglinear(start=40.0, end=zero)"
    asked = ("--sampler", "ddim", "--steps", "2", "--grid", grid, "--n", "1", "--out", tmp_path)
    assert f"on {grid}, 2 evaluations" in run("sample", "cifar10-mixture", *asked).stdout
