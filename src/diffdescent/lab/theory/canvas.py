"""Panels for the pictures of the theory, drawn without a screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffdescent.base.images import save_figure


def panels(rows: int, columns: int, width: float = 4.6, height: float = 3.5) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        rows, columns, figsize=(width * columns, height * rows), layout="constrained", squeeze=False
    )
    return figure, axes


def save_and_close(figure: Any, path: Path) -> None:
    import matplotlib.pyplot as plt

    save_figure(figure, path, dpi=80)
    plt.close(figure)
