"""The examples of the pages "Write a …" as parts of the library: each file in its folder of a copy
of the package, with its line in the list there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.docs.pages import blocks, put
from tests.paths import DOCS, ROOT

SPLIT = "# isort: split\n"
INSIDE = [
    ("write-a-solver.md", "two_step", "core/solvers", '"two_step(weight=0.25)"'),
    ("write-a-grid.md", "kl_optimal", "core/grid", '"ddim", grid="kl_optimal(start=40)"'),
    ("write-a-transform.md", "smooth", "core/transforms", '"ddim | smooth(share=0.1)"'),
    ("write-a-guide.md", "bright", "guidance", '"ddim", guidance="bright(interval=[0, 2])"'),
]
USE = """
import diffdescent as dd

model = dd.load_model("cifar10-mixture")
print(dd.__file__, dd.sample(model, {arguments}, steps=3, n=1).images.isfinite().all().item())
"""
LAYERS = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"


def run(code: str, root: Path) -> str:
    """What a program prints in a checkout of the copy at ``root``."""
    environment = os.environ | {"PYTHONPATH": str(root / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the library's code, with the models of the original."""
    package, ours = tmp_path / "src" / "diffdescent", ROOT / "src" / "diffdescent"
    shutil.copytree(ours, package, ignore=shutil.ignore_patterns("__pycache__", "assets"))
    (package / "assets").symlink_to(ours / "assets")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(("page", "name", "folder", "arguments"), INSIDE, ids=lambda v: v)
def test_an_example_in_the_package(
    page: str, name: str, folder: str, arguments: str, checkout: Path
) -> None:
    """It is known by its name, and keeps the layers."""
    package = checkout / "src" / "diffdescent"
    put(page, name, package / folder)
    index = package / folder / "__init__.py"
    text = index.read_text(encoding="utf-8")
    assert text.count(SPLIT) == 1
    text = text.replace(SPLIT, f"{SPLIT}from . import {name}\n")
    index.write_text(text.replace("__all__ = [", f'__all__ = [\n    "{name}",'), encoding="utf-8")
    (line,) = [b for b in blocks(page, "text") if b.startswith("from . import")]
    assert line == f"from . import {name}\n"
    printed = run(USE.format(arguments=arguments), checkout)
    assert printed.split() == [str(package / "__init__.py"), "True"]
    run(LAYERS, checkout)


def test_the_design_names_the_folders_of_the_pages() -> None:
    design = (DOCS / "design.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \w+ \| `([\w/]+)`.*\((write-a-\w+\.md)\) \|$", design, re.MULTILINE)
    assert sorted(page for _, page in rows) == sorted(p.name for p in DOCS.glob("write-a-*.md"))
    for folder, page in rows:
        text = " ".join((DOCS / page).read_text(encoding="utf-8").split())
        named = re.findall(r"in(?:to)? `src/diffdescent/([\w/]+/)`", text)
        assert named == [folder], page
