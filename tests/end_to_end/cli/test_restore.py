"""``diffdescent restore``, on the bundled digits."""

import json
import re
from pathlib import Path
from typing import Any

import torch

from diffdescent.base.images import save_png
from tests.paths import ROOT

from .command import run


def test_images_are_restored_by_two_methods(tmp_path: Path) -> None:
    clean = tmp_path / "clean"
    clean.mkdir()
    for i in range(2):
        image = torch.zeros(1, 28, 28, dtype=torch.uint8)
        image[:, 4:24, 10 + 3 * i : 14 + 3 * i] = 255
        save_png(image, clean / f"{i}.png")
    out = tmp_path / "out"
    command = ["restore", "mnist", clean, "--operator", "downsample(2)", "--noise", "0.05"]
    command += ["--method", "ddrm; dps", "--nfe", "4", "--n", "2", "--out", out]
    found = json.loads(run(*command, "--json").stdout)
    assert [row["method"] for row in found["rows"]] == ["ddrm", "dps"]
    assert all(low < value < high for value, low, high in (r["psnr"] for r in found["rows"]))
    assert {"run.json", "table.csv", "sheet.png", "cells", "pictures"} <= {
        path.name for path in out.iterdir()
    }
    again = run(*command, "--json")
    assert json.loads(again.stdout) == found
    assert "PSNR" in run(*command).stdout

    wrong = ["--operator", "downsample(5)", "--out", tmp_path / "no"]
    assert "5" in run("restore", "mnist", clean, *wrong, code=2).stderr
    assert "--operator" in run("restore", "mnist", clean, code=2).stderr
    wrong = ["--operator", "mask", "--noise", "much"]
    assert "--noise takes numbers" in run("restore", "mnist", clean, *wrong, code=2).stderr
    wrong = ["--operator", "downsample(2)", "--method", "hqs", "--sampler", "unipc"]
    stopped = run("restore", "mnist", clean, *wrong, "--out", tmp_path / "no", code=2)
    assert "use pocs, hqs and admm over ddim" in stopped.stderr
    assert not (tmp_path / "no").exists()
    several = run("evaluate", out, "--reference", clean, code=2).stderr
    assert "the folder of a restoration" in several


def test_explain_names_the_constraints_and_their_projections() -> None:
    text = "ddim | constrain('symmetry & box(low=0)', tolerance=0.1) | momentum(-0.2)"
    shown = run("explain", text, "--steps", "4").stdout
    assert "30 rounds of Dykstra's alternating projections" in shown
    assert "box(low=0.0): images with all numbers in an interval; P x = min(max(x, low)" in shown
    (found,) = json.loads(run("explain", text, "--steps", "4", "--json").stdout)["constraints"]
    assert found["rule"] == "x̂0 ← x̂0 + σ̃²/(σ̃² + 0.1²)·(P x̂0 − x̂0)"
    assert list(found["sets"]) == ["symmetry", "box(low=0.0)"]
    free = json.loads(run("explain", "ddim | momentum(-0.2)", "--steps", "4", "--json").stdout)
    assert free["constraints"] == []
    held = json.loads(run("explain", text, "--steps", "4", "--json").stdout)
    assert held["effective_weights"] == free["effective_weights"]  # those of the rest of the chain
    assert "constrain(sets='symmetry & box(low=0)'" in held["recipe"]


def test_explain_names_the_data_term() -> None:
    shown = run("explain", "unipc | diffpir(strength=2)", "--steps", "4").stdout
    assert "half-quadratic splitting" in shown
    assert "DiffPIR" in shown
    found = json.loads(run("explain", "hqs", "--json").stdout)
    assert found["data_term"]["method"] == "hqs"
    assert json.loads(run("explain", "ddim", "--json").stdout)["data_term"] is None


def test_the_pages_example_runs() -> None:
    page = (ROOT / "docs" / "restore.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(block, namespace)
    assert namespace["found"].images.shape == (1, 3, 1, 28, 28)
