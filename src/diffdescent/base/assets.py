"""Where the files lie that ship with the package."""

from __future__ import annotations

from pathlib import Path

ASSETS = Path(__file__).parent.parent / "assets"
CALIBRATED = ASSETS / "calibrated"
"""The bundled calibrated samplers, a JSON file each."""
