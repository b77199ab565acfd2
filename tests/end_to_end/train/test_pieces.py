"""Training in pieces: stopped by the clock, and by the script for lent machines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from diffdescent import UserError
from diffdescent.lab.train import make_config, train
from diffdescent.lab.train.checkpoint import load_checkpoint
from tests.end_to_end.train.test_crash import environment
from tests.paths import ROOT
from tests.unit.lab.train.conftest import write_recipe
from tests.unit.lab.train.test_run import same


def test_pieces_make_the_run(tmp_path: Path, values: dict[str, Any]) -> None:
    values["run"].update(steps=12, checkpoint_every=100, log_every=3)
    values["out"] = str(tmp_path / "whole")
    train(make_config(values), quiet=True)
    values["out"] = str(tmp_path / "pieces")
    config = make_config(values)  # the clock is looked at every three steps
    reached = [train(config, quiet=True, seconds=1e-9).steps for _ in range(4)]
    assert reached == [3, 6, 9, 12]
    whole, pieces = (
        load_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("whole", "pieces")
    )
    for part in ("model", "ema", "optimizer"):
        assert same(whole[part], pieces[part]), part
    with pytest.raises(UserError, match="0 seconds makes no step"):
        train(make_config(values), quiet=True, seconds=0)


@pytest.mark.slow
def test_the_script_for_lent_machines(tmp_path: Path, values: dict[str, Any]) -> None:
    values["run"].update(steps=1000, log_every=2)
    data, out, state = values["data"]["path"], tmp_path / "out", tmp_path / "state"
    config = write_recipe(tmp_path / "recipe.yaml", values)
    settings = {"CONFIG": config, "STATE": state, "BATCH": 4, "SECONDS_EACH": 0.01}
    given = {name: str(value) for name, value in settings.items()}

    def piece(*options: str) -> int:
        """The steps that are logged after one more piece."""
        subprocess.run(
            ["sh", ROOT / "tools/train_on_gpu.sh", data, out, *options],
            env={**environment(), **given, "PYTHON": sys.executable},
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip
        return int(json.loads((out / "log.jsonl").read_text().splitlines()[-1])["step"])

    assert [piece(), piece()] == [2, 4]
    with tarfile.open(out / "model.tar") as packed:
        names = packed.getnames()
    assert any(name.endswith(".safetensors") for name in names)
    assert os.path.getsize(out / "model.tar") < 2**24
    shutil.rmtree(state)  # the machine was given back
    # What was brought back counts, not what the first piece began with.
    assert piece("--set", "run.steps=1", "--set", "init_from=nowhere") == 1
    assert (tmp_path / "state-begun" / "model").is_dir()


def test_the_script_says_how_it_is_called() -> None:
    done = subprocess.run(
        ["sh", ROOT / "tools/train_on_gpu.sh"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "tools/train_on_gpu.sh DATA OUT" in done.stderr
