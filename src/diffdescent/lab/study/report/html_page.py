"""The report as one HTML file that needs no network."""

from __future__ import annotations

import base64
from pathlib import Path

import torch

from diffdescent.base.images import png_bytes, sheet
from diffdescent.base.words import counted

from .. import figures
from ..gather import Results
from ..metrics import title
from ..recommendation import recommendations
from ..summary import metrics_in, varying
from .ranking import metric_head, ranked_table
from .sections import (
    CONTRASTED,
    IN_FAMILY,
    PAIRED,
    changed,
    contrast_rows,
    cost_rows,
    described,
    facts,
    notes,
    shown,
    spread_rows,
)

SHOWN = 10
"""Images of a cell in its sample sheet."""


def html(results: Results) -> str:
    """The whole report as one file: styles, figures and pictures are inside.

    Args:
        results: of a study.

    Returns:
        The text of the page.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    metrics = metrics_in(results.lines)
    parameters = results.study.parameters
    drawn = [picture for m in metrics for picture in figures.curves(results.lines, m)]
    drawn += [picture for m in metrics for picture in figures.sweeps(results.lines, m, parameters)]
    drawn += [
        picture for m in metrics for picture in figures.heat_maps(results.lines, m, parameters)
    ]
    drawn += [
        picture
        for m in metrics[1:]
        for picture in figures.tradeoffs(results.lines, metrics[0], m, parameters)
    ]
    return environment.from_string(source).render(
        config=results.study.config,
        facts=facts(results),
        recommended=recommendations(results),
        paired=PAIRED,
        in_family=IN_FAMILY,
        table=ranked_table(results),
        notes=notes(results),
        figures=[
            (_data("image/svg+xml", one.svg), _data("image/svg+xml", one.narrow), one.caption)
            for one in drawn
        ],
        changed=changed(results.study.config),
        published=[
            (
                one,
                [(name, [shown(e) for e in row]) for name, row in one.rows],
                title(one.table.metric) if one.table.metric else "",
            )
            for one in results.published
        ],
        contrasted=CONTRASTED,
        contrasts=[
            (one.contrast.name, contrast_rows(one, metrics), one.tests)
            for one in results.contrasts
            if one.rows
        ],
        metric_heads=[metric_head(m) for m in metrics],
        sheets=_sheets(results),
        spreads=spread_rows(results),
        metric_titles=[title(m) for m in metrics],
        costs=cost_rows(results.lines),
        protocol=[(key, value) for key, value in results.study.protocol.items()],
        protocol_hash=results.study.protocol_hash,
        commands=[
            (line.title, described(line, results.lines), line.command) for line in results.lines
        ],
    )


def _data(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _sheets(results: Results) -> list[tuple[str, list[tuple[str, str]]]]:
    """(heading, rows of (title, picture)): one block for each budget, all rows from the same noise
    whatever their grids."""
    blocks: dict[str, list[tuple[str, str]]] = {}
    several = varying(results.lines, ("grid", "guidance", "labels"))
    for line in sorted(results.lines, key=lambda line: (line.budget, line.columns["grid"])):
        pictures = results.pictures[line.cells[0]][:SHOWN]
        if not len(pictures) or pictures.shape[1] not in (1, 3):
            continue
        name = ", ".join([line.title, *(str(line.columns[n]) for n in several)])
        row = sheet(torch.from_numpy(pictures), columns=len(pictures), scale=1, gap=1)
        picture = _data("image/png", png_bytes(row, optimize=True))
        heading = counted(line.budget, "evaluation")
        blocks.setdefault(heading, []).append((name, picture))
    return list(blocks.items())
