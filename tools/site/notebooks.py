"""A notebook as a page: its text, its code, and what it printed and drew."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def pages(path: Path) -> dict[str, str | bytes]:
    """The page of a notebook and its pictures, by file name."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    files: dict[str, str | bytes] = {}
    text = [part for cell in cells for part in _cell(cell, path.stem, files)]
    text.append(f"\nThis page is the notebook `examples/{path.name}`.")
    return {f"{path.stem}.md": "\n".join(text), **files}


def _cell(cell: dict[str, Any], stem: str, files: dict[str, str | bytes]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield f"{source}\n"
        return
    yield f"```python\n{source}\n```\n"
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if "image/png" in data:
            name = f"{stem}-{len(files)}.png"
            files[name] = base64.b64decode("".join(data["image/png"]))
            yield f"![output]({name})\n"
        elif text := "".join(output.get("text", data.get("text/plain", ""))).rstrip():
            yield f"```text\n{text}\n```\n"
