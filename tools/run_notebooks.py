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
        if cell.cell_type == "code":
            cell.outputs = [one for one in map(_light, cell.outputs) if one is not None]
    return notebook


def _light(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """An output with each picture once, as PNG; None for a progress bar that is gone."""
    data = output.get("data", {})
    if data.get("text/html") == "" and "image/png" not in data:
        return None
    if "image/png" in data:
        for other in ("image/jpeg", "text/html"):
            data.pop(other, None)
    return output


def main(names: list[str]) -> None:
    for path in sorted(EXAMPLES.glob("*.ipynb")):
        if not names or path.stem in names:
            nbformat.write(execute(path), path)
            print(path.name)


if __name__ == "__main__":
    main(sys.argv[1:])
