"""Runs in processes of their own: killed, starved of disk, and two at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from diffdescent.lab.train import make_config, train
from diffdescent.lab.train.checkpoint import load_checkpoint
from tests.paths import ROOT
from tests.unit.lab.train.conftest import write_recipe
from tests.unit.lab.train.test_run import same

STARVED = """
import resource, sys
from diffdescent.train import load_config, train
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
train(load_config(sys.argv[1]))
"""


def environment() -> dict[str, str]:
    source = str(ROOT / "src")
    path = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}


def start(*command: str | Path) -> subprocess.Popen[str]:
    """``python command…`` with the package's source on its path."""
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )


def steps_logged(out: Path) -> int:
    log = out / "log.jsonl"
    return len(log.read_text(encoding="utf-8").splitlines()) if log.exists() else 0


@pytest.mark.parametrize("kills", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_kill_9_changes_nothing(tmp_path: Path, values: dict[str, Any], kills: int) -> None:
    values["run"].update(steps=30, checkpoint_every=1, log_every=1)
    values["out"] = str(tmp_path / "whole")
    train(make_config(values), quiet=True)
    values["out"] = str(tmp_path / "killed")
    recipe, out = write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "killed"
    for kill in range(kills):
        process = start("-m", "diffdescent.train", recipe)
        before = steps_logged(out)
        while process.poll() is None and steps_logged(out) < before + 3:
            time.sleep(0.005)
        time.sleep(0.013 * kill)  # so that kills fall on different moments of a step
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert load_checkpoint(out / "checkpoint.pt")["step"] > 0
    assert load_checkpoint(out / "checkpoint.pt")["step"] < 30, "the run ended before it was killed"
    train(make_config(values), quiet=True)
    whole, again = (
        load_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("whole", "killed")
    )
    assert again["step"] == 30
    for part in ("model", "ema", "optimizer"):
        assert same(whole[part], again[part]), part
    assert steps_logged(out) == 30


def test_a_full_disk_leaves_the_last_good_checkpoint(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    values["run"]["steps"] = 4
    train(make_config(values), quiet=True)
    path = Path(values["out"]) / "checkpoint.pt"
    before = path.read_bytes()
    values["run"]["steps"] = 8
    recipe = write_recipe(tmp_path / "recipe.yaml", values)
    process = start(
        "-c", STARVED, recipe, str(len(before) // 2)
    )  # no file may grow beyond half a checkpoint
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "could not be written" in output
    assert "is whole: make room on the disk, then resume" in output
    assert path.read_bytes() == before
    assert not [p for p in Path(values["out"]).iterdir() if p.suffix in (".tmp", ".partial")]


@pytest.mark.parametrize(("kind", "atol"), [("adamw", 1e-5), ("muon", 1e-4)])
def test_two_processes_reach_what_one_reaches(
    kind: str, atol: float, tmp_path: Path, values: dict[str, Any]
) -> None:
    """Muon's iteration is in bfloat16, hence its tolerance: a tenth of one step."""
    values["optimizer"]["kind"] = kind
    values["run"].update(precision="fp32", steps=5)
    values["model"]["dropout"] = 0.0  # each process draws its own dropout
    values["out"] = str(tmp_path / "one")
    train(make_config(values), quiet=True)
    values["out"] = str(tmp_path / "two")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    odd = write_recipe(tmp_path / "odd.yaml", {**values, "run": {**values["run"], "batch": 5}})
    output, _ = start(*launch, "-m", "diffdescent.train", odd).communicate(timeout=240)
    assert "run.batch is 5, which 2 processes cannot share" in output  # they are two
    recipe = write_recipe(tmp_path / "recipe.yaml", values)
    process = start(*launch, "-m", "diffdescent.train", recipe)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert output.count("step 4/5") == 1, "one process speaks for all"
    one, two = (load_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("one", "two"))
    for part in ("model", "ema"):
        for name, found in two[part].items():
            if not name.endswith("to_k.bias"):  # its gradient is 0, and Adam steps by the rounding
                assert torch.allclose(one[part][name], found, atol=atol), (part, name)
