"""How commands write their numbers as JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from diffdescent.base.files import make_folder, write_atomically


def write_result(out: Path, name: str, content: Any) -> None:
    """Write a text, or anything that JSON can hold, into the folder."""
    make_folder(out)
    text = content if isinstance(content, str) else json.dumps(content, indent=1) + "\n"
    write_atomically(out / name, text.encode())


def finite(value: float | None) -> float | None:
    """The value, or None where JSON has no number for it."""
    return value if value is not None and math.isfinite(value) else None
