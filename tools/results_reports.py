"""Reports of the studies in ``docs/results``, made from their tables: curves, and every number.

    python tools/results_reports.py --out reports

A page for each CSV file, with all figures inside. Sample sheets and paired differences need the
images and are in the report that ``diffdescent study`` writes next to its own table.
"""

from __future__ import annotations

import argparse
import base64
import csv
import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from diffdescent.lab.study import figures
from diffdescent.lab.study.summary import Line, lines_of, metrics_in

RESULTS = Path(__file__).parents[1] / "docs" / "results"
OF_METRIC = ("metric", "value", "low", "high", "metric_protocol")
"""Columns of the table that belong to a metric and not to a cell."""
FIXED = {
    "study", "cell", "name", "sampler", "template", "grid", "guidance", "labels", "nfe_asked",
    "nfe", "steps", "seed", "n", "seconds_per_image", "flops_per_image", "model", "protocol",
    "diffdescent", "torch", "command",
}  # fmt: skip
"""Columns that every study has; the others are its parameters."""
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
img { max-width: 100%; background: white; }
div { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; }
td, th { padding: .2rem .7rem .2rem 0; text-align: left; white-space: nowrap; }
"""


def read(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of a study's table, numbers as numbers, and the names of its parameters."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [{k: _value(v) for k, v in row.items()} for row in csv.DictReader(file)]
    for row in rows:
        row["draws"] = ()
        row["name"], row["template"] = row["name"] or "", str(row["template"])
    parameters = [n for n in rows[0] if n not in FIXED and n not in (*OF_METRIC, "draws")]
    return rows, parameters


def _value(text: str) -> Any:
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        return text
    return int(text) if re.fullmatch(r"-?\d+", text) else number


def page(path: Path) -> str:
    """One study as a page."""
    rows, parameters = read(path)
    columns = [n for n in rows[0] if n not in (*OF_METRIC, "draws", "command")]
    lines = lines_of(rows, columns)
    metrics = metrics_in(lines)
    pictures = [one for m in metrics for one in _drawn(lines, m, parameters)]
    body = [
        f"<h1>{html.escape(str(rows[0]['study']))}</h1>",
        f"<p>Model {html.escape(str(rows[0]['model']))}, {lines[0].n} images for each line, made"
        f" with diffdescent {rows[0]['diffdescent']}. Intervals are 95 %.</p>",
    ]
    for one in pictures:
        data = base64.b64encode(one.svg).decode()
        body.append(
            f'<p><img alt="{html.escape(one.caption)}" src="data:image/svg+xml;base64,{data}"></p>'
            f"<p>{html.escape(one.caption)}</p>"
        )
    body.append(_table(lines, metrics))
    head = (
        '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    )
    return f"{head}<title>{path.stem}</title><style>{STYLE}</style>\n" + "\n".join(body)


def _drawn(lines: Sequence[Line], metric: str, parameters: Sequence[str]) -> list[Any]:
    return [
        *figures.curves(lines, metric),
        *figures.sweeps(lines, metric, parameters),
        *figures.heat_maps(lines, metric, parameters),
    ]


def _table(lines: Iterable[Line], metrics: Sequence[str]) -> str:
    names = ("sampler", "grid", "guidance", "nfe")
    head = "".join(f"<th>{name}</th>" for name in (*names, *metrics, "command"))
    body = []
    for line in lines:
        cells = [line.columns[name] for name in names]
        cells += [_shown(line.metrics[m]) if m in line.metrics else "–" for m in metrics]
        body.append("".join(f"<td>{html.escape(str(c))}</td>" for c in (*cells, line.command)))
    rows = "".join(f"<tr>{row}</tr>" for row in body)
    return f"<div><table><tr>{head}</tr>{rows}</table></div>"


def _shown(found: Any) -> str:
    return f"{found.value:.4g} [{found.low:.4g}, {found.high:.4g}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Make the reports of docs/results from its tables."
    )
    parser.add_argument("--out", type=Path, default=Path("reports"), help="folder to write to")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(RESULTS.glob("*.csv")):
        (out / f"{path.stem}.html").write_text(page(path), encoding="utf-8")
        print(out / f"{path.stem}.html")


if __name__ == "__main__":
    main()
