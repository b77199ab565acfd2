"""Execute the notebooks under ``examples/`` and keep what they print and draw.

python tools/run_notebooks.py            # all, in place
python tools/run_notebooks.py quickstart # one
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[1] / "examples"


def execute(path: Path, *, folder: Path | None = None) -> nbformat.NotebookNode:
    """The notebook with its outputs; ``folder`` is where its code runs."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder or path.parent)}}
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources)
    client.execute(env=os.environ | {"PYTHONWARNINGS": "ignore"})  # of notebook widgets
    for cell in notebook.cells:
        cell.metadata = {}  # times of execution would change with every run
    return notebook


def main(names: list[str]) -> None:
    for path in sorted(EXAMPLES.glob("*.ipynb")):
        if not names or path.stem in names:
            nbformat.write(execute(path), path)
            print(path.name)


if __name__ == "__main__":
    main(sys.argv[1:])
