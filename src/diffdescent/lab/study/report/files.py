"""The files of a report."""

from __future__ import annotations

from pathlib import Path

from diffdescent.base.files import write_atomically

from ..gather import Results
from .html_page import html
from .markdown_text import markdown


def write(results: Results) -> Path:
    """report.html and report.md in the study's folder; where the first one is."""
    out = results.study.out
    write_atomically(out / "report.md", markdown(results).encode())
    path = out / "report.html"
    write_atomically(path, html(results).encode())
    return path
