"""The report of a study: one HTML file that needs no network, the same tables in Markdown and in
the terminal."""

from .files import write
from .html_page import html
from .markdown_text import markdown
from .ranking import ranked_table
from .sections import notes, orderings_text
from .terminal_table import terminal

__all__ = [
    "html",
    "markdown",
    "notes",
    "orderings_text",
    "ranked_table",
    "terminal",
    "write",
]
