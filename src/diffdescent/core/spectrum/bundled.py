"""The calibrated samplers that ship with the package, by name.

A file is called ``MODEL[-GUIDANCE][-unlabelled]-N.json`` and N is its number of evaluations; what
it was fitted for is what it says itself (``fitted_for``), never its name.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from diffdescent.base.assets import CALIBRATED

from .fitted import FittedSolver, load_fitted


def bundled_samplers(nfe: int | None = None) -> dict[str, Path]:
    """The bundled samplers: name → file; with ``nfe`` those of so many evaluations."""
    number = "[0-9]*" if nfe is None else str(nfe)
    return {path.stem: path for path in sorted(CALIBRATED.glob(f"*-{number}.json"))}


def sampler_file(text: str) -> Path:
    """The file that ``text`` names: a bundled sampler's name, else a path."""
    return bundled_samplers().get(text, Path(text))


@lru_cache(maxsize=64)
def bundled_sampler(path: Path) -> FittedSolver:
    """The solver in a bundled file, read once."""
    return load_fitted(path)
