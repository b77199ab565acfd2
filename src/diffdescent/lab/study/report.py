"""The report of a study: one HTML file that needs no network, the same tables in Markdown and in
the terminal."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from diffdescent.base.files import write_atomically
from diffdescent.base.images import sheet

from . import contrasts, figures
from .config import StudyConfig
from .contrasts import Contrasted, Gap
from .gather import Results
from .metrics import lower_is_better, title
from .published import Beside, Compared
from .summary import Estimate, Line, Ranked, flops_text, metrics_in, ranked, spreads, varying

SHOWN = 10
"""Images of a cell in its sample sheet."""
PAIRED = (
    "Samples of one number have the same noise in all cells, so what differs is told by 95 %"
    " intervals of paired differences, which are narrower than those of the values: two cells may"
    " differ though their intervals overlap."
)
CONTRASTED = (
    "The first one's value minus the second one's with its paired 95 % interval, and both values."
    " What all tests of a table taken together decide (Holm's adjustment, 5 %) is marked as better"
    " or worse. At the best of each the images that choose the setting also judge it, which"
    " flatters both."
)
_DESCRIBING = ("grid", "guidance", "labels")


@dataclass(frozen=True)
class Column:
    """A column of the ranked table; numbers are sorted by ``key`` and stand to the right."""

    title: str
    number: bool = True


@dataclass(frozen=True)
class Entry:
    """What stands in a table: its text, what it is sorted by, and whether it is among the best."""

    text: str
    key: float | str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """The ranked table, which all three forms of the report show."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]


def ranked_table(results: Results) -> Table:
    """Cells by budget and rank, and how far behind the best of its budget each is by the first
    metric.

    Of each budget the best of every metric, and what cannot be told from it, is marked.
    """
    lines = results.lines
    metrics = metrics_in(lines)
    describing = varying(lines, _DESCRIBING)
    columns = [Column("Budget"), Column("Rank"), Column("Sampler", number=False)]
    columns += [Column(name.capitalize(), number=False) for name in describing]
    columns += [Column("Evaluations"), Column("Steps")]
    columns += [Column(_head(m)) for m in metrics]
    columns += [Column("Behind the best"), Column("s/image"), Column("FLOPs/image")]
    marked = {m: {id(r.line) for r in ranked(lines, m) if r.tied} for m in metrics}
    rows = [_row(one, describing, metrics, marked) for one in ranked(lines, metrics[0])]
    return Table(tuple(columns), tuple(rows))


def _row(
    one: Ranked, describing: Sequence[str], metrics: Sequence[str], marked: dict[str, set[int]]
) -> Any:
    line = one.line
    asked, used = line.columns["nfe_asked"], line.columns["nfe"]
    evaluations = f"{used} of {asked}" if asked is not None and asked != used else str(used)
    entries = [
        Entry(str(line.budget), line.budget),
        Entry(str(one.rank), one.rank),
        Entry(line.title, line.title),
    ]
    entries += [Entry(str(line.columns[name]), str(line.columns[name])) for name in describing]
    entries += [Entry(evaluations, used), Entry(str(line.columns["steps"]), line.columns["steps"])]
    for metric in metrics:
        estimate = line.metrics.get(metric)
        if estimate is None or math.isnan(estimate.value):
            entries.append(Entry("–", 1e308))
        else:
            entries.append(Entry(str(estimate), estimate.value, id(line) in marked[metric]))
    entries.append(Entry(str(one.behind) if one.behind.value else "–", _last(one.behind.value)))
    entries += [
        Entry(f"{line.seconds:.3g}", line.seconds),
        Entry(flops_text(line.flops).strip(), line.flops),
    ]
    return tuple(entries)


def _head(metric: str) -> str:
    """A metric's title with the direction in which it is better."""
    return f"{title(metric)} {'↓' if lower_is_better(metric) else '↑'}"


def _last(value: float) -> float:
    """What a number is sorted by; one that is none comes last."""
    return 1e308 if math.isnan(value) else value


def write(results: Results) -> Path:
    """report.html and report.md in the study's folder; where the first one is."""
    out = results.study.out
    write_atomically(out / "report.md", markdown(results).encode())
    path = out / "report.html"
    write_atomically(path, html(results).encode())
    return path


# --- HTML


def html(results: Results) -> str:
    """The whole report as one file: styles, figures and pictures are inside."""
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
        paired=PAIRED,
        table=ranked_table(results),
        notes=notes(results),
        figures=[(_data("image/svg+xml", one.svg), one.caption) for one in drawn],
        changed=changed(results.study.config),
        published=[
            (one, [(name, [_shown(e) for e in row]) for name, row in one.rows])
            for one in results.published
        ],
        contrasted=CONTRASTED,
        contrasts=[
            (one.contrast.name, _contrast_rows(one, metrics), one.tests)
            for one in results.contrasts
            if one.rows
        ],
        metric_heads=[_head(m) for m in metrics],
        sheets=_sheets(results),
        spreads=_spreads(results),
        metric_titles=[title(m) for m in metrics],
        costs=_costs(results.lines),
        protocol=[(key, value) for key, value in results.study.protocol.items()],
        protocol_hash=results.study.protocol_hash,
        commands=[
            (line.title, _described(line, results.lines), line.command) for line in results.lines
        ],
    )


def _data(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def facts(results: Results) -> list[tuple[str, str]]:
    """What a reader must know before the first number."""
    study, config = results.study, results.study.config
    seeds = sorted({cell.seed for cell in study.cells})
    found = [
        ("Model", config.model),
        (
            "Images",
            (
                f"{config.n} for each"
                f" cell{f' and each of {len(seeds)} seeds' if len(seeds) > 1 else ''}"
            ),
        ),
    ]
    if study.worker.needs.features:
        found.append(("Features", f"{config.features}, resized {config.resize!r}"))
    if study.protocol["reference"] is not None:
        found.append(("Reference", study.protocol["reference"]))
    found.append(("Seed" if len(seeds) == 1 else "Seeds", ", ".join(map(str, seeds))))
    found.append(("Cells", str(len(results.lines))))
    return found


def changed(config: StudyConfig) -> str:
    """What is measured otherwise than the study file says; empty where nothing is."""
    return f"Ours are measured with {'; '.join(config.changes)}." if config.changes else ""


def notes(results: Results) -> list[str]:
    """What a reader should beware of, each thing once."""
    study = results.study
    found = (
        [f"The study file is changed: {'; '.join(study.config.changes)}."]
        if study.config.changes
        else []
    )
    found += [
        f"{left.sampler} on {left.grid} with a budget of {left.asked} is left out:"
        f" {left.reason.rstrip('.')}."
        for left in study.left_out
    ]
    short = sorted(
        {(c.sampler, c.grid, c.asked, c.nfe) for c in study.cells if c.asked not in (None, c.nfe)}
    )
    found += [
        f"{sampler} on {grid} cannot use exactly {asked} evaluations; it uses {nfe}."
        for sampler, grid, asked, nfe in short
    ]
    if results.unfinished:
        found.append(
            f"{len(results.unfinished)} of {len(study.cells)} cells are not finished and are not"
            " shown."
        )
    found += [
        f"{one.contrast.name}: not compared, for {contrasts.lacking(one.contrast, results.lines)}."
        for one in results.contrasts
        if not one.rows
    ]
    return found + list(results.remarks)


def _shown(entry: Beside) -> tuple[str, str]:
    return (
        "–" if entry.published is None else f"{entry.published:g}",
        "–" if entry.ours is None else str(entry.ours),
    )


@dataclass(frozen=True)
class _Difference:
    """An entry of a contrast: the difference, what is said of it, and the two values."""

    text: str
    verdict: str
    values: str


def _contrast_rows(one: Contrasted, metrics: Sequence[str]) -> list[tuple[str, list[_Difference]]]:
    nothing = _Difference("–", "", "not measured")
    return [
        (row.where, [_difference(row.gaps[m]) if m in row.gaps else nothing for m in metrics])
        for row in one.rows
    ]


def _difference(gap: Gap) -> _Difference:
    verdict = ("better" if gap.better else "worse") if gap.decided else ""
    values = f"{_bare(gap.of)}, {_bare(gap.against)}"
    return _Difference(
        f"{'+' if gap.difference.value > 0 else ''}{gap.difference}", verdict, values
    )


def _bare(estimate: Estimate) -> str:
    return str(estimate).split(" [")[0]


def _described(line: Line, lines: Sequence[Line]) -> str:
    """What tells a line from others with its title."""
    words = [str(line.columns[name]) for name in varying(lines, _DESCRIBING)]
    return ", ".join([*words, f"{line.columns['nfe']} evaluations"])


def _sheets(results: Results) -> list[tuple[str, list[tuple[str, str]]]]:
    """(heading, rows of (title, picture)): one block for each budget and grid, all rows from the
    same noise."""
    blocks: dict[str, list[tuple[str, str]]] = {}
    several = varying(results.lines, ("grid",))
    for line in sorted(results.lines, key=lambda line: (line.budget, line.columns["grid"])):
        pictures = results.pictures[line.cells[0]][:SHOWN]
        if not len(pictures) or pictures.shape[1] not in (1, 3):
            continue
        heading = f"{line.budget} evaluations" + (f", {line.columns['grid']}" if several else "")
        name = ", ".join(
            [
                line.title,
                *(str(line.columns[n]) for n in varying(results.lines, ("guidance", "labels"))),
            ]
        )
        blocks.setdefault(heading, []).append((name, _data("image/png", _png(pictures))))
    return list(blocks.items())


def _png(pictures: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    page = sheet(torch.from_numpy(pictures), columns=len(pictures), gap=1).permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(page[:, :, 0] if page.shape[2] == 1 else page).save(
        buffer, format="PNG", optimize=True
    )
    return buffer.getvalue()


def _costs(lines: Iterable[Line]) -> list[tuple[str, str, str, str, str]]:
    """(cell, budget, evaluations, seconds, FLOPs), the cheapest first."""
    found = list(lines)
    return [
        (
            f"{line.title} ({_described(line, found)})",
            str(line.columns["nfe_asked"] or "–"),
            str(line.columns["nfe"]),
            f"{line.seconds:.3g}",
            flops_text(line.flops).strip(),
        )
        for line in sorted(found, key=lambda line: (line.flops, line.seconds))
    ]


def _spreads(results: Results) -> list[list[str]]:
    """(parameter, where, values, mean ± std of each metric) of every parameter."""
    rows = []
    for one in spreads(results.lines, results.study.parameters):
        values = ", ".join(f"{value:g}" for value in one.values)
        found = [one.metrics.get(metric) for metric in metrics_in(results.lines)]
        rows.append(
            [
                one.parameter,
                one.where,
                values,
                *("–" if f is None else f"{f[0]:.4g} ± {f[1]:.2g}" for f in found),
            ]
        )
    return rows


# --- Markdown


def markdown(results: Results) -> str:
    """The report without pictures."""
    config = results.study.config
    parts = [f"# {config.title}", config.mirrors, config.about.strip()]
    parts.append("\n".join(f"- {name}: {value}" for name, value in facts(results)))
    table = ranked_table(results)
    rows = [[f"**{e.text}**" if e.best else e.text for e in row] for row in table.rows]
    parts += ["## Ranked by budget", _markdown_table([c.title for c in table.columns], rows)]
    parts.append(f"Bold: the best of its budget, and what cannot be told from it. {PAIRED}")
    parts += [f"- {note}" for note in notes(results)]
    for one in results.published:
        parts += [
            f"## Published beside ours: {one.table.table}",
            one.table.setting.strip(),
            changed(config),
        ]
        parts.append(_markdown_published(one))
        parts.append(orderings_text(one))
    for compared in results.contrasts:
        if compared.rows:
            metrics = metrics_in(results.lines)
            rows = [
                [
                    where,
                    *(
                        (
                            f"**{e.text} {e.verdict}** ({e.values})"
                            if e.verdict
                            else f"{e.text} ({e.values})"
                        )
                        for e in entries
                    ),
                ]
                for where, entries in _contrast_rows(compared, metrics)
            ]
            parts += [
                f"## {compared.contrast.name}",
                _markdown_table(["", *map(_head, metrics)], rows),
            ]
            parts.append(f"{CONTRASTED} ({compared.tests} tests.)")
    if over := _spreads(results):
        header = ["parameter", "where", "values", *(title(m) for m in metrics_in(results.lines))]
        parts += [
            "## Over each parameter: mean ± standard deviation",
            _markdown_table(header, over),
        ]
    parts += [
        "## Protocol",
        "\n".join(f"- {key}: `{value}`" for key, value in results.study.protocol.items()),
    ]
    parts += ["## Commands", "```\n" + "\n".join(line.command for line in results.lines) + "\n```"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines
    )


def _markdown_published(one: Compared) -> str:
    rows = []
    for name, row in one.rows:
        texts = [_shown(entry) for entry in row]
        rows.append(
            [
                name,
                *(
                    published if ours == "–" else f"{published} / {ours}"
                    for published, ours in texts
                ),
            ]
        )
    return _markdown_table(["published / ours", *one.titles], rows)


def orderings_text(one: Compared) -> str:
    """How many of a published table's orderings hold here, and which are reversed."""
    found = one.orderings
    total = len(found.holds) + len(found.reversed) + len(found.undecided)
    if not total:
        return "No two rows of it are measured here."
    text = (
        f"Of {total} published orderings {len(found.holds)} hold here, {len(found.reversed)} are"
        f" reversed and {len(found.undecided)} cannot be told (the interval of the difference"
        " holds 0)."
    )
    return text + "".join(f"\n- reversed: {line}" for line in found.reversed)


# --- terminal


def terminal(results: Results) -> Any:
    """The ranked table for a Rich console."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    table = ranked_table(results)
    config = results.study.config
    shown = RichTable(
        title=f"{config.title}: {config.model}, {config.n} images a cell",
        caption=(
            "bold: the best of its budget, and what cannot be told from it (paired 95 % intervals)"
        ),
        box=box.SIMPLE_HEAD,
    )
    for column in table.columns:
        shown.add_column(
            column.title, justify="right" if column.number else "left", overflow="fold"
        )
    before = None
    for row in table.rows:
        if before not in (None, row[0].text):
            shown.add_section()
        before = row[0].text
        shown.add_row(*(Text(entry.text, style="bold" if entry.best else "") for entry in row))
    return shown
