"""What ``import diffdescent`` promises: few names, each with a place, a docstring and no double."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import diffdescent

SOURCE = Path(diffdescent.__file__)
NAMES = sorted(set(diffdescent.__all__) - {"__version__"})
# fmt: off
FORBIDDEN = {
    "PIL", "accelerate", "diffusers", "gradio", "jinja2", "matplotlib", "polars", "pydantic", "ray",
    "rich", "scipy", "transformers", "typer", "yaml",
}
# fmt: on


def in_a_new_process(code: str) -> list[str]:
    """The modules that are loaded after ``code``."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded: list[str] = json.loads(done.stdout)
    return loaded


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_listed_documented_and_resolves(name: str) -> None:
    found = getattr(diffdescent, name)
    assert callable(found)
    assert (found.__doc__ or "").strip()
    assert name in dir(diffdescent)


def test_the_table_the_list_and_the_imports_for_type_checkers_hold_the_same_names() -> None:
    block = next(
        node
        for node in ast.parse(SOURCE.read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    imported = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    table = {name: f"diffdescent.{home}" for name, home in diffdescent._HOMES.items()}
    assert imported == table
    assert set(NAMES) == set(table)


def test_no_public_name_shadows_a_module() -> None:
    modules = {module.name for module in pkgutil.iter_modules(diffdescent.__path__)}
    doors = {door.split(".")[1] for door in importlib.import_module("diffdescent.doors").DOORS}
    assert not set(NAMES) & (modules | doors)


def test_names_stay_what_they_are_when_every_layer_is_imported() -> None:
    before = {name: getattr(diffdescent, name) for name in NAMES}
    for layer in diffdescent._LAYERS:
        assert getattr(diffdescent, layer) is importlib.import_module(f"diffdescent.{layer}")
    assert {name: getattr(diffdescent, name) for name in NAMES} == before


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'sampel'"):
        _ = diffdescent.sampel


def test_importing_the_package_loads_no_torch_and_its_names_load_torch_and_numpy_alone() -> None:
    assert "torch" not in in_a_new_process("import diffdescent")
    # What PyTorch and NumPy load of themselves is not ours to judge.
    bare = set(in_a_new_process("import torch, numpy"))
    loaded = in_a_new_process("from diffdescent import *")
    assert {"torch", "numpy"} <= set(loaded)
    assert not FORBIDDEN & (set(loaded) - bare)
