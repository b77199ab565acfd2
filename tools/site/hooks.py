"""What MkDocs does beyond the pages in ``docs/``: the README as the front page, the changelog, the
notebooks, and the parts of the reference that are read off the registries and the command line.
"""

from __future__ import annotations

import posixpath
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
    "constraints": registries.constraints,
    "operators": registries.operators,
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
        files.append(File.generated(config, page, content=text))
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
    """A link as the site needs it; one to a file that is not on the site becomes its path."""
    picture, shown, target, anchor = (part or "" for part in match.groups())
    if not target or (page.startswith("examples/") and picture):
        return match.group(0)
    place = (_source(page).parent / target).resolve()
    uri = _uri(place)
    if uri is not None:
        return f"{picture}[{shown}]({posixpath.relpath(uri, posixpath.dirname(page))}{anchor})"
    return f"{shown} (`{place.relative_to(ROOT)}`)" if place.is_relative_to(ROOT) else shown


def _source(page: str) -> Path:
    """The file of the checkout that a page is made from."""
    if page in COPIES:
        return ROOT / COPIES[page]
    return ROOT / page if page.startswith("examples/") else ROOT / "docs" / page


def _uri(place: Path) -> str | None:
    """Where a file of the checkout is on the site."""
    for page, source in COPIES.items():
        if place == ROOT / source:
            return page
    if place.is_relative_to(ROOT / "examples") and place.suffix == ".ipynb":
        return f"examples/{place.stem}.md"
    inside = place.is_relative_to(ROOT / "docs") and not place.is_dir()
    return place.relative_to(ROOT / "docs").as_posix() if inside else None
