"""The report as Markdown, without pictures."""

from __future__ import annotations

from collections.abc import Sequence

from diffdescent.base.markdown import block, cell, code, plain, prose

from ..gather import Results
from ..metrics import title
from ..published import Compared
from ..recommendation import recommendations
from ..summary import metrics_in
from .ranking import metric_head, ranked_table
from .sections import (
    CONTRASTED,
    PAIRED,
    changed,
    contrast_rows,
    facts,
    notes,
    orderings_text,
    shown,
    spread_rows,
)

# --- Markdown


def markdown(results: Results) -> str:
    """The report without pictures.

    Args:
        results: of a study.

    Returns:
        The report in Markdown.
    """
    config = results.study.config
    # What the author of a study writes about it is Markdown; names, paths and titles are text.
    parts = [f"# {plain(config.title)}", prose(config.mirrors), prose(config.about)]
    parts.append("\n".join(f"- {name}: {plain(str(value))}" for name, value in facts(results)))
    for one in recommendations(results):
        parts.append(f"**{plain(one.sentence)}**")
        parts.append(block("\n".join(line for _, line in one.lines)))
    table = ranked_table(results)
    rows = [[f"**{e.text}**" if e.best else e.text for e in row] for row in table.rows]
    parts += ["## Ranked by budget", _markdown_table([c.title for c in table.columns], rows)]
    parts.append(
        f"Bold: the best of its budget, and what does not differ from it measurably. {PAIRED}"
    )
    parts += [f"- {plain(str(note))}" for note in notes(results)]
    for published in results.published:
        parts += [
            f"## Published beside ours: {plain(published.table.table)}",
            prose(published.table.setting),
            changed(config),
        ]
        parts.append(_markdown_published(published))
        parts.append(orderings_text(published))
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
                for where, entries in contrast_rows(compared, metrics)
            ]
            parts += [
                f"## {plain(compared.contrast.name)}",
                _markdown_table(["", *map(metric_head, metrics)], rows),
            ]
            parts.append(f"{CONTRASTED} ({compared.tests} tests.)")
    if over := spread_rows(results):
        header = ["parameter", "where", "values", *(title(m) for m in metrics_in(results.lines))]
        parts += [
            "## Over each parameter: mean ± standard deviation",
            _markdown_table(header, over),
        ]
    parts += [
        "## Protocol",
        "\n".join(f"- {key}: {code(str(value))}" for key, value in results.study.protocol.items()),
    ]
    parts += ["## Commands", block("\n".join(line.command for line in results.lines))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(cell, row)) + " |" for row in lines)


def _markdown_published(one: Compared) -> str:
    rows = []
    for name, row in one.rows:
        texts = [shown(entry) for entry in row]
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
