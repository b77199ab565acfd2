"""Consoles that show text as it is: names, paths and titles come from outside, and brackets,
colons or addresses in them mean nothing."""

from __future__ import annotations

from typing import Any

from rich.console import Console


def console(**options: Any) -> Console:
    """Rich's console without its markup and emoji codes; ``options`` are its own."""
    return Console(**{"markup": False, "emoji": False, **options})
