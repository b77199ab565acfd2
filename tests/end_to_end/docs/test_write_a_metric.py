"""The page "write a metric": its file, its Python and its command, as they stand there."""

from __future__ import annotations

import re
import shlex
import sys
import zipfile
from pathlib import Path
from typing import Any

import polars
import pytest
import torch

from diffdescent.apps.cli.app import main
from diffdescent.base.errors import UserError
from diffdescent.base.images import save_png
from diffdescent.evaluate import BUILT_IN, METRICS, Metric, metric_name, register
from tests.end_to_end.docs.pages import command
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "write-a-metric.md").read_text()
FILE, SCORE, STUDY = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMAND, SUITE = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's file and photos.zip, in which Python looks for modules."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(METRICS, "nearest", METRICS["fd"])  # so that it is gone after the test
    monkeypatch.delitem(METRICS, "nearest")
    monkeypatch.delitem(sys.modules, "nearest_image", raising=False)
    Path("nearest_image.py").write_text(FILE)
    with zipfile.ZipFile("photos.zip", "w") as archive:
        for i in range(12):
            picture = torch.randint(
                0, 256, (3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(i)
            )
            save_png(picture, tmp_path / f"{i}.png")
            archive.write(tmp_path / f"{i}.png", f"{i}.png")
    return tmp_path


def test_the_file_serves_python_a_study_and_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace: dict[str, Any] = {}
    exec(SCORE, namespace)
    found, x = namespace["found"], namespace["score"]
    assert found.known
    assert 0 < found.low < found.value < found.high
    images, others = torch.randn(5, 3), torch.randn(7, 3)
    features, make = namespace["Features"], namespace["make_reference"]
    by_hand = sum(min(float((a - b).norm()) for b in others) for a in images) / 5
    (again,) = x(features(images), make(features(others)), ["nearest"])
    assert again.value == pytest.approx(by_hand, rel=1e-5)

    exec(STUDY, namespace)
    table = polars.read_csv(folder / "results" / "table.csv")
    assert table.filter(polars.col("metric") == "nearest").height == 2
    page = (folder / "results" / "report.md").read_text()
    assert "Distance to the nearest reference image ↓" in page
    assert "--metrics nearest_image:nearest,fd" in table["command"][0]

    words = shlex.split(COMMAND.replace("\\\n", " "))
    assert words[:2] == ["PYTHONPATH=.", "diffdescent"]
    del METRICS["nearest"]
    monkeypatch.delitem(sys.modules, "nearest_image")
    monkeypatch.setattr(sys, "argv", [*words[1:], "--quiet"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    same = polars.read_csv(folder / "results-of-the-command" / "table.csv")
    values = table.filter(polars.col("metric") == "nearest")["value"]
    assert same["value"].to_list() == values.to_list()


def test_names_are_of_one_metric(folder: Path) -> None:
    assert [one.name for one in BUILT_IN] == list(METRICS)
    assert metric_name("nearest_image:nearest") == "nearest"
    assert metric_name("nearest_image:nearest") == "nearest"  # a second time changes nothing
    other = Metric("fd", "Another", False, "pool", None, lambda task: (0.0, None))
    with pytest.raises(UserError, match="that is the 'Fréchet distance' of diffdescent"):
        register(other)
    with pytest.raises(UserError, match="cannot be imported"):
        metric_name("no_such_module:nearest")
    with pytest.raises(UserError, match="Unknown metric"):
        metric_name("nearest_image:nearer")


def test_the_suite_takes_it(folder: Path) -> None:
    assert "passed" in command(SUITE.strip(), folder)
