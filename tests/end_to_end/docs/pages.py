"""The examples of a page that says how to write something of one's own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.paths import DOCS, ROOT


def blocks(page: str, language: str) -> list[str]:
    """The page's blocks of code in ``language``, in order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def put(page: str, name: str, folder: Path) -> str:
    """Write the page's first Python block to ``folder/name.py``, as its reader would; its text."""
    code = blocks(page, "python")[0]
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    return code


@contextmanager
def reading(
    page: str, name: str, registry: MutableMapping[str, Any], folder: Path
) -> Iterator[None]:
    """While it lasts, the page's first Python block is the module ``name``; afterwards it and what
    it registered are gone."""
    assert put(page, name, folder).count("\n") <= 40
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        try:
            yield
        finally:
            registry.pop(name, None)
            sys.modules.pop(name, None)


def command(line: str, folder: Path) -> str:
    """What a command of the page prints, run in the checkout with ``folder`` on the path, or where
    the file is that it imports."""
    words = shlex.split(line)
    assert words[0] in ("python", "diffdescent")
    program = words[1:] if words[0] == "python" else ["-m", *words]
    path = os.pathsep.join([str(folder), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *program],
        cwd=folder if "--import" in words else ROOT,
        env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
