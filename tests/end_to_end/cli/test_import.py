"""``diffdescent --import``: solvers and models of one's own on the command line, by module or
file."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import polars
import pytest
import torch

from diffdescent.base.errors import UserError
from diffdescent.base.extensions import IMPORTED
from diffdescent.core.solvers import SOLVERS
from diffdescent.lab.study import make_study, prepare
from diffdescent.lab.study.ray_runner import _worker, shard
from diffdescent.models import MODELS
from tests.end_to_end.cli.command import run
from tests.end_to_end.docs.pages import blocks, put
from tests.unit.lab.study.conftest import tiny

__all__ = ["tiny"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the solver of docs/write-a-solver.md, which Python does not search."""
    put("write-a-solver.md", "two_step", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", ".")])
    yield tmp_path
    forget()
    IMPORTED.clear()


def forget() -> None:
    SOLVERS.pop("two_step", None)
    sys.modules.pop("two_step", None)


def test_a_file_and_a_module(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Unknown sampler" in run("weights", "two_step", "--steps", 4, code=2).stderr
    by_file = run("--import", "two_step.py", "weights", "two_step", "--steps", 4).stdout
    assert "two_step" in by_file
    assert run("--import", "two_step.py", "weights", "two_step", "--steps", 4).stdout == by_file
    forget()
    monkeypatch.syspath_prepend(str(folder))
    words = ["--import", "json", "--import", "two_step"]
    assert run(*words, "weights", "two_step", "--steps", 4).stdout == by_file


def test_a_file_reaches_its_neighbours(folder: Path) -> None:
    (folder / "solvers_of_mine.py").write_text("import two_step\n")
    assert "two_step" in run("--import", folder / "solvers_of_mine.py", "list").stdout
    del sys.modules["solvers_of_mine"]


def test_the_command_of_each_cell_has_it(folder: Path, tiny: Path) -> None:
    words = ["--samplers", "two_step", "--nfe", 4, "--n", 4, "--resamples", 0, "--quiet"]
    run("--import", "./two_step.py", "compare", tiny, *words, "--out", "all")
    forget()
    there = polars.read_csv(folder / "all" / "table.csv")
    (command,) = set(there["command"])
    program, *same = shlex.split(command)
    assert program == "diffdescent"
    assert same[:3] == ["--import", "./two_step.py", "compare"]
    run(*same, "--quiet")
    (made,) = folder.glob("cell-*/table.csv")
    assert polars.read_csv(made)["value"].equals(there["value"])


def test_a_model_of_one_s_own_is_a_model_of_every_command(folder: Path) -> None:
    """The file of the tutorial."""
    (code,) = (b for b in blocks("tutorials/your-own-model.md", "python") if "@register" in b)
    torch.manual_seed(0)
    code = code.replace('name="my_unet"', 'name="my_unet", fingerprint="of the test"')
    code = code.replace('"eps"', '"x0"').replace("net(x)", "torch.tanh(net(x))")  # to settle
    (folder / "mine.py").write_text(f"{code}\n\n@register('nothing')\ndef none(device): pass\n")
    own = ["--import", "mine.py"]
    few = ["--n", 4, "--resamples", 0, "--solution", 16]
    try:
        assert "My network of CIFAR-10" in run(*own, "list", "models").stdout
        words = ["--samplers", "ddim; ge", "--nfe", 4, *few, "--metrics", "solution_rmse"]
        compared = run(*own, "compare", "my_unet", *words, "--out", "compared", "--json")
        (best,) = json.loads(compared.stdout)["recommendations"]
        fit = ["--trajectories", 10, "--held-out", 8, "--teacher", 20, "--end-to-end", 0, "--quiet"]
        run(*own, "calibrate", "my_unet", "--nfe", 3, *fit, "--out", "my.json")
        recipe = "calibrated('my.json')"
        run(*own, "sample", "my_unet", "--sampler", recipe, "--n", 2, "--out", "drawn")
        assert (folder / "drawn" / "000001.png").is_file()
        _, *line = shlex.split(best["lines"]["cli"] or "diffdescent --import mine.py list")
        assert line[:2] == own
        run(*line, *(["--n", 1, "--out", "again"] if "sample" in line else []))
        error = run(*own, "sample", "my_unte", "--out", "no", code=2).stderr
        assert "did you mean 'my_unet'" in error
        error = run(*own, "sample", "nothing", "--out", "no", code=2).stderr
        assert "registered by a function that gave None" in error
        (folder / "taken.py").write_text(code.replace('register("my_unet")', 'register("mnist")'))
        assert "it is a bundled model" in run("--import", "taken.py", "list", code=2).stderr
    finally:
        for name in ("my_unet", "nothing"):
            MODELS.pop(name, None)
        for name in ("mine", "taken"):
            sys.modules.pop(name, None)


def test_workers_of_ray_import_it(folder: Path, tiny: Path) -> None:
    """A worker is another process: it gets the file by its whole path."""
    words = ["--samplers", "two_step", "--nfe", 4, "--n", 4, "--resamples", 0, "--quiet"]
    run("--import", "two_step.py", "compare", tiny, *words, "--out", "all")
    assert {"two_step.py": str(folder / "two_step.py")} == IMPORTED
    study = prepare(
        make_study({"model": str(tiny), "samplers": ["two_step"], "nfe": [4], "n": 4}),
        folder / "again",
    )
    forget()
    config, (task,) = study.config.model_dump_json(), study.tasks
    with pytest.raises(UserError, match="Unknown sampler"):
        shard(config, task, None)
    _worker.cache_clear()
    assert shard(config, task, None, tuple(IMPORTED.values()))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module", "The module 'no_such_module' cannot be imported"),
        (".relative", "The module '.relative' cannot be imported"),
        ("written", "for the file of this folder write written.py"),
        ("nowhere.py", "There is no file .*nowhere.py"),
        ("json.py", "there is another module 'json'; rename the file"),
        ("lacking.py", "No module named 'no_such_module'.*install what it imports"),
    ],
)
def test_what_cannot_be_imported_is_one_sentence(folder: Path, name: str, message: str) -> None:
    (folder / "json.py").write_text("")
    (folder / "lacking.py").write_text("import no_such_module\n")
    (folder / "written.py").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        error = run("--import", name, "list", code=2).stderr
    assert error.startswith("Error: ")
    assert len(error.splitlines()) == 1

    assert re.search(message, error)
