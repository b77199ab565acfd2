"""What README and docs name is there: files, folders, modules, and pages that are linked."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
TOP = "tests|tools|benchmarks|src|configs|studies|comfyui|docs"


def named(page: Path) -> list[str]:
    """Paths from the checkout's root that stand in backticks, without options or wildcards."""
    found = re.findall(rf"`((?:{TOP})/[\w./-]*)`", page.read_text())
    return sorted(set(found))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_and_linked_pages_are_there(page: Path) -> None:
    for path in named(page):
        assert (ROOT / path).exists(), path
    for link in re.findall(r"\]\(([^)#\s:]+)(?:#[^)\s]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_are_there(page: Path) -> None:
    for name in set(
        re.findall(r"(?<![\w./-])diffdescent(?:\.[a-z_]+)+(?![\w.]*\()", page.read_text())
    ):
        if name.endswith((".json", ".md")):
            continue
        parent, _, last = name.rpartition(".")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            assert hasattr(importlib.import_module(parent), last), name
