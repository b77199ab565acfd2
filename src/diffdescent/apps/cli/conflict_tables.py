"""The tables of ``diffdescent conflicts``, on the terminal and as JSON."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from diffdescent.base.statistics import Estimate
from diffdescent.lab.conflicts.rows import PAIRS, SHARES, ConflictRow
from diffdescent.lab.conflicts.table import ConflictTable

from .results import finite
from .terminal import console as plain_console

SHOWN = 10
"""The table prints at most this many steps; the file has all."""
LABELS = {
    "direction": "⟨a, b⟩ < 0",
    "magnitude": "Φ",
    "cosine": "cos φ",
    "norm_a": "‖a‖",
    "norm_b": "‖b‖",
    "negative_after": "⟨â, b⟩ < 0",
    "both_negative_after": "⟨â, b̂⟩ < 0",
}


def print_conflicts(found: ConflictTable) -> None:
    """The table of all steps together, and under it one of single steps."""
    record = found.record
    title = (
        f"{record['model']}, {record['recipe']}, {len(found.t)} {record['rows']}, {record['n']}"
        f" samples, seed {record['seed']}\nmeans over {record['rows']}, [95 % interval] over"
        f" samples; â, b̂: projected by {record['rule']}\ncls: guidance, den: denoising, div: noise"
    )
    table = Table(title=title, show_edge=False, show_lines=True)
    table.add_column("")
    figures = {pair: found.overall(pair).figures for pair in PAIRS}
    for pair in PAIRS:
        table.add_column(f"{pair} (a, b)", justify="right")
    for name, label in LABELS.items():
        table.add_row(label, *(_text(figures[pair][name], name in SHARES) for pair in PAIRS))
    console = plain_console()
    console.print(table, "", _by_step(found))


def _by_step(found: ConflictTable) -> Table:
    table = Table(title="step by step: samples in conflict (%), Φ", show_edge=False)
    for name in ("t", "σ/α", *(f"{pair} {figure}" for pair in PAIRS for figure in ("%", "Φ"))):
        table.add_column(name, justify="right")
    last = len(found.t) - 1
    every = [found.steps(pair) for pair in PAIRS]
    for i in sorted({round(k * last / (SHOWN - 1)) for k in range(SHOWN)}):
        cells = [f"{found.t[i]:.5g}", f"{found.ratio[i]:.4g}"]
        for rows in every:
            direction, magnitude = rows[i].figures["direction"], rows[i].figures["magnitude"]
            cells += (
                [f"{100 * direction.value:.0f}", f"{magnitude.value:.3f}"]
                if direction.n
                else ["–", "–"]
            )
        table.add_row(*cells)
    return table


def _text(figure: Estimate, percent: bool) -> str:
    """The figure, and its interval beneath."""
    if not figure.n:
        return "–"
    if percent:
        return f"{100 * figure.value:.1f} %\n[{100 * figure.low:.1f}, {100 * figure.high:.1f}]"
    return f"{figure.value:.3g}\n[{figure.low:.3g}, {figure.high:.3g}]"


def described(found: ConflictTable) -> dict[str, Any]:
    """Everything as JSON, with null where there is no number."""
    return {
        "record": dict(found.record),
        "overall": [_row(found.overall(pair)) for pair in PAIRS],
        "steps": [_row(row) for row in found.rows()],
    }


def _row(row: ConflictRow) -> dict[str, Any]:
    place = (
        {}
        if row.step < 0
        else {"step": row.step, "t": row.t, "sigma_over_alpha": finite(row.ratio)}
    )
    figures = {
        name: {"value": finite(f.value), "low": finite(f.low), "high": finite(f.high), "n": f.n}
        for name, f in row.figures.items()
    }
    return {"pair": row.pair, **place, **figures}
