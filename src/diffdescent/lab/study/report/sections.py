"""What the report says in words and small tables, in whatever form it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .. import contrasts
from ..config import StudyConfig
from ..contrasts import Contrasted, Gap
from ..gather import Results
from ..published import Beside, Compared
from ..summary import DESCRIBING, Line, flops_text, metrics_in, spreads, varying

PAIRED = (
    "Samples of one number have the same noise in all cells, so what differs is told by 95 %"
    " intervals of paired differences, which are narrower than those of the values: two cells may"
    " differ though their intervals overlap. What differs measurably from the best does so at 5 %"
    " with Holm's correction for all comparisons with the best in the study; the intervals are not"
    " corrected."
)
IN_FAMILY = (
    "paired differences, two-sided normal tests at 5 %, Holm's correction for all orderings of the"
    " table"
)
CONTRASTED = (
    "The first one's value minus the second one's with its paired 95 % interval, and both values."
    " What all tests of a table taken together decide (Holm's adjustment, 5 %) is marked as better"
    " or worse. At the best of each the images that choose the setting also judge it, which"
    " flatters both."
)


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
    if study.worker.needs.solution:
        found.append(("Own solution", f"{config.solution} levels from the highest one"))
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


def shown(entry: Beside) -> tuple[str, str]:
    return (
        "–" if entry.published is None else f"{entry.published:g}",
        "–" if entry.ours is None else str(entry.ours),
    )


@dataclass(frozen=True)
class Difference:
    """An entry of a contrast: the difference, what is said of it, and the two values."""

    text: str
    verdict: str
    values: str


def contrast_rows(one: Contrasted, metrics: Sequence[str]) -> list[tuple[str, list[Difference]]]:
    nothing = Difference("–", "", "not measured")
    return [
        (row.where, [_difference(row.gaps[m]) if m in row.gaps else nothing for m in metrics])
        for row in one.rows
    ]


def _difference(gap: Gap) -> Difference:
    verdict = ("better" if gap.better else "worse") if gap.decided else ""
    values = f"{gap.of.bare()}, {gap.against.bare()}"
    return Difference(f"{'+' if gap.difference.value > 0 else ''}{gap.difference}", verdict, values)


def described(line: Line, lines: Sequence[Line]) -> str:
    """What distinguishes a line from others with its title."""
    words = [str(line.columns[name]) for name in varying(lines, DESCRIBING)]
    return ", ".join([*words, f"{line.columns['nfe']} evaluations"])


def cost_rows(lines: Iterable[Line]) -> list[tuple[str, str, str, str, str]]:
    """(cell, budget, evaluations, seconds, FLOPs), the cheapest first."""
    found = list(lines)
    return [
        (
            f"{line.title} ({described(line, found)})",
            str(line.columns["nfe_asked"] or "–"),
            str(line.columns["nfe"]),
            f"{line.seconds:.3g}",
            flops_text(line.flops).strip(),
        )
        for line in sorted(found, key=lambda line: (line.flops, line.seconds))
    ]


def spread_rows(results: Results) -> list[list[str]]:
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


def orderings_text(one: Compared) -> str:
    """How many of a published table's orderings hold here, and which are reversed."""
    found = one.orderings
    if not found.total:
        return "No two rows of it are measured here."
    text = (
        f"Of {found.total} published orderings ({found.independent} of them independent)"
        f" {len(found.holds)} hold here, {len(found.reversed)} are reversed and"
        f" {len(found.undecided)} are undecided: {IN_FAMILY}."
    )
    return text + "".join(f"\n- reversed: {line}" for line in found.reversed)
