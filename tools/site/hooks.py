"""What MkDocs does beyond the pages in ``docs/``: the README as the front page, the changelog, the
notebooks, and the parts of the reference that are read off the registries and the command line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import commands
import notebooks
import registries
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
COPIES = {"index.md": "README.md", "changelog.md": "CHANGELOG.md"}
"""Pages that are files at the root of the checkout."""
PARTS = {
    "solvers": registries.solvers,
    "transforms": registries.transforms,
    "grids": registries.grids,
    "guidance": registries.guidance,
    "metrics": registries.metrics,
    "commands": commands.reference,
}
"""What a line ``<!-- all NAME -->`` of a page stands for."""
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s:]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that do not lie in ``docs/``."""
    for page, source in COPIES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text.replace("](docs/", "](")))
    for path in sorted((ROOT / "examples").glob("*.ipynb")):
        for name, content in notebooks.pages(path).items():
            files.append(File.generated(config, f"examples/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Fill in the reference, and mend links that leave the site."""
    for name, write in PARTS.items():
        marker = f"<!-- all {name} -->"
        if marker in markdown:
            markdown = markdown.replace(marker, write())
    return LINK.sub(lambda match: _link(match, page.file.src_uri), markdown)


def _link(match: re.Match[str], page: str) -> str:
    """A link as the site needs it: to the README as the front page, and to files of the checkout
    that are not on the site as their path."""
    picture, shown, target, anchor = match.group(1), match.group(2), match.group(3), match.group(4)
    home = ROOT if page in COPIES else ROOT / "docs" / Path(page).parent
    if picture or not target or page.startswith("examples/"):
        return match.group(0)
    place = (home / target).resolve()
    if place == ROOT / "README.md":
        return f"[{shown}]({'../' * page.count('/')}index.md{anchor or ''})"
    if place.is_relative_to(ROOT / "docs") or (page in COPIES and not place.exists()):
        return match.group(0)
    return f"{shown} (`{place.relative_to(ROOT)}`)" if place.is_relative_to(ROOT) else shown
