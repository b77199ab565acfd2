"""``diffdescent sample --preset``."""

import json
from pathlib import Path

from .command import run


def settings(out: Path) -> tuple[str, str, int]:
    record = json.loads((out / "run.json").read_text())
    return record["recipe"], record["grid"]["name"], record["nfe"]


def test_a_preset_fills_what_is_left_open(tmp_path: Path) -> None:
    command = ["sample", "cifar10-mixture", "--n", 1, "--preset", "ge-cifar10", "-q"]
    run(*command, "--out", tmp_path / "a")
    assert settings(tmp_path / "a") == ("ddim | ge", "loglinear(start=40.0)", 10)
    run(*command, "--steps", 5, "--sampler", "ddim", "--out", tmp_path / "b")
    assert settings(tmp_path / "b") == ("ddim", "loglinear(start=40.0)", 5)


def test_what_does_not_fit(tmp_path: Path) -> None:
    command = ["sample", "cifar10-mixture", "--out", tmp_path / "a"]
    assert "not 7" in run(*command, "--preset", "ge-cifar10", "--steps", 7, code=2).stderr
    guided = run(*command, "--preset", "adm-64-pxp", code=2).stderr
    assert "give the folder of adm_classifier64" in " ".join(guided.split())
    unused = run(*command, "--preset", "ge-cifar10", "--classifier", "x", code=2).stderr
    assert "has no classifier" in unused
    alone = run(*command, "--classifier", "x", code=2).stderr
    assert "belongs to a --preset" in alone
    assert not (tmp_path / "a").exists()
