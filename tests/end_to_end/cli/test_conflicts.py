"""``diffdescent conflicts``: its files, JSON and table, continuing, and one-sentence errors."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.end_to_end.cli.command import run

SMALL = (
    "conflicts",
    "cifar10-mixture",
    "--guidance",
    "cfg(scale=0.2)",
    "--steps",
    3,
    "--n",
    3,
    "--micro-batch",
    3,
)


def test_table_figure_and_json(tmp_path: Path) -> None:
    out = tmp_path / "found"
    done = run(*SMALL, "--out", out)
    assert "cls-den" in done.stdout
    assert "step by step" in done.stdout
    rows = list(csv.DictReader((out / "conflicts.csv").open()))
    assert len(rows) == 9
    assert (out / "conflicts.png").read_bytes().startswith(b"\x89PNG")
    before = (out / "chunk-000000.npz").stat().st_mtime_ns
    told = json.loads(run(*SMALL, "--out", out, "--json").stdout)
    assert (out / "chunk-000000.npz").stat().st_mtime_ns == before  # nothing was measured again
    assert told["record"]["labels"] == "all in turn"
    assert [r["pair"] for r in told["overall"]] == ["cls-den", "cls-div", "den-div"]
    step = next(r for r in told["steps"] if r["pair"] == "cls-den" and r["step"] == 1)
    assert step["direction"]["value"] == pytest.approx(float(rows[1]["direction"]), rel=1e-5)
    assert step["direction"]["n"] == 3
    assert "in seed" in run(*SMALL, "--out", out, "--seed", 3, code=2).stderr
    run(*SMALL, "--out", out, "--seed", 3, "--overwrite", "--quiet")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--guidance", "clasifier(2)"), "did you mean 'classifier'"),
        (("--guidance", "classifier(scale=2, shift=mean)", "--sampler", "ddim"), "shift='score'"),
        (("--guidance", "cfg", "--n", 0), "--n of at least 1"),
        (("--guidance", "cfg", "--label", "dgo"), "did you mean 'dog'"),
        (("--guidance", "cfg", "--sampler", "ddpm | pxp(scope=chanel)"), "sample"),
    ],
)
def test_mistakes(words: tuple[object, ...], message: str, tmp_path: Path) -> None:
    out = tmp_path / "x"
    stderr = run(
        "conflicts", "cifar10-mixture", "--n", 1, "--steps", 2, *words, "--out", out, code=2
    ).stderr
    assert message in stderr
    assert stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in stderr
    assert not out.exists()
