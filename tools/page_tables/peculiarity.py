"""The tables of ``docs/peculiarity.md``."""

from __future__ import annotations

from tools.verdict_checks import LEVEL, Statement, corrected
from tools.verdict_numbers import Cells, Interval, show
from tools.verdict_tables import Maker, Row, Tables

CLUSTERS = ("5", "10", "15", "25", "50")
STEPS = ("10", "20", "50", "100")


def poses(tables: Tables) -> list[list[str]]:
    changes = {
        "joint displaced by 10 %": "a joint displaced by 10 % of the person",
        "joint displaced by 25 %": "… by 25 %",
        "joint displaced by 50 %": "… by 50 %",
        "joint displaced by 100 %": "… by 100 %",
        "arm and leg swapped": "arm and leg swapped",
        "arms swapped": "left and right arm swapped",
        "legs swapped": "left and right leg swapped",
        "leg doubled": "leg doubled (right leg where the left one is)",
    }
    ks = " / ".join(CLUSTERS)
    lines = [["change", f"rises, K = {ks}", f"caught, K = {ks}"]]
    for name, title in changes.items():
        rows = [tables.one("tables/peculiarity-poses.csv", change=name, k=k) for k in CLUSTERS]
        rises = " / ".join(show(float(row["rises"]), "0%") for row in rows)
        caught = " / ".join(
            show(x, "0%" if x >= 0.0995 else "1%") for x in (float(row["caught"]) for row in rows)
        )
        lines.append([title, f"{rises} %", f"{caught} %"])
    return lines


RECIPES = (
    "ddim",
    *(f"ddim | momentum(beta={b})" for b in (-0.8, -0.5, -0.3, -0.1, 0.1, 0.2, 0.5, 0.8)),
    *(f"ge(gamma={g})" for g in ("1.5", "2", "2.5", "3.0")),
    *("plms", "dpmpp(order=2)", "unipc", "ddpm"),
)


def study(tables: Tables) -> list[list[str]]:
    head = "only here / only in the teacher, 10, 20, 50, 100 steps"
    lines = [["sampler", *(f"{steps} steps" for steps in STEPS), head]]
    for recipe in RECIPES:
        cells, pairs = [], []
        for steps in STEPS:
            rows = tables.select(
                "tables/peculiarity-study.csv",
                {"recipe": recipe, "grid": "uniform*", "steps": steps},
            )
            cells += [_shares(rows[0]) if rows else "–"]
            pairs += [
                "/".join(rows[0][f"teacher_only_{side}"] for side in ("here", "there"))
                if rows
                else "–"
            ]
        lines.append([f"`{recipe}`".replace("|", "\\|"), *cells, ", ".join(pairs)])
    return lines


def _shares(row: Row) -> str:
    abnormal = show(int(row["abnormal"]) / int(row["n"]), "0%")
    inside = ", ".join(show(float(row[end]), "0%") for end in ("low", "high"))
    return f"{show(float(row['share']), '0%')} % [{inside}] ({abnormal} %)"


def points(row: Row) -> str:
    """A difference of shares in points: ``−1.5 points [−2.2, −0.8]``."""
    value, *ends = (float(row[name]) for name in ("difference", "low", "high"))
    inside = ", ".join(show(x, "1%+" if x > 0 else "1%") for x in ends)
    return f"{show(value, '1%+' if value > 0 else '1%')} points [{inside}]"


FIGURES = "registered:figures"


def registered(tables: Tables) -> list[list[str]]:
    tested = tables.select(FIGURES, {"test": "figures", "species": "all"})
    found = corrected(Statement("", "", "", test="mcnemar"), tested)
    sure = {
        (r["kind"], r["steps"], r["outcome"]): p for r, (_, p) in zip(tested, found, strict=True)
    }
    only = "against `ddim`: only here, only there"
    head = [f"{outcome} {only}" for outcome in ("abnormal", "peculiar")]
    lines = [["", "peculiar", "unreadable", head[0], "difference", head[1], "difference"]]
    for steps in ("50", "100"):
        for kind, title in (("momentum", "β = −0.3"), ("ddpm", "`ddpm`")):
            rows = {
                outcome: tables.one(FIGURES, test="figures", species="all", kind=kind, steps=steps,
                                    outcome=outcome)
                for outcome in ("abnormal", "peculiar")
            }  # fmt: skip
            odd = Cells(rows["peculiar"])
            if kind == "momentum":
                name = f"`ddim`, {steps}" + (" steps" if steps == "50" else "")
                lines.append([name, f"{odd.base:1%} %", f"{odd.base_unreadable:1%} %", *[""] * 4])
            line = [f"{title}, {steps}", f"{odd.share:1%} %", f"{odd.unreadable:1%} %"]
            for outcome, row in rows.items():
                bold = "**" if sure[kind, steps, outcome] <= LEVEL else ""
                line += [f"{row['only_here']}, {row['only_there']}", bold + points(row) + bold]
            lines.append(line)
    return lines


def species(tables: Tables) -> list[list[str]]:
    lines = [["", "50 steps", "100 steps"]]
    for kind, title in (("momentum", "β = −0.3"), ("ddpm", "`ddpm`")):
        line = [title]
        for steps in ("50", "100"):
            wanted = {"test": "figures", "outcome": "abnormal", "kind": kind, "steps": steps}
            rows = [tables.one(FIGURES, species=x, **wanted) for x in ("person", "horse", "hand")]
            line += [", ".join(map(points, rows))]
        lines.append(line)
    return lines


def minima(tables: Tables) -> list[list[str]]:
    rest, same = "‖D(x, σ) − x‖/(σ√n)", "comes back with the same counts"
    odd, moved = "comes back peculiar", "RMS change when it comes back"
    rows = [
        (rest, rest, "σ = 0.02", "σ = 0.02"), ("", rest, "σ = 0.1", "σ = 0.1"),
        ("", rest, "σ = 0.5", "σ = 0.5"), (same, same, "noised to 20%", "noised to 20 %"),
        ("", same, "noised to 40%", "40 %"), ("", same, "noised to 80%", "80 %"),
        (odd, odd, "noised to 20%", "20 %"), ("", odd, "noised to 40%", "40 %"),
        ("", odd, "noised to 60%", "60 %"),
        ("moved when it came back (RMS)", moved, "noised to 40%", "40 %"),
    ]  # fmt: skip
    lines = [["figure", "at", "peculiar", "normal", "difference"]]
    for title, figure, at, shown in rows:
        row = tables.one("tables/peculiarity-minima.csv", figure=figure, at=at)
        found = Cells(row)
        if figure in (rest, moved):
            cells = [
                _half(found.peculiar_interval), _half(found.normal_interval),
                _half(found.difference_interval),
            ]  # fmt: skip
        else:
            cells = [
                f"{getattr(found, kind):0%} % {getattr(found, f'{kind}_interval'):b0%}"
                for kind in ("peculiar", "normal")
            ]
            gap = found.difference_interval
            plus = "+" if gap.value > 0 else ""
            cells.append(f"{show(gap.value, f'0%{plus}')} points {gap:b0%{plus}}")
        lines.append([title, shown, *cells])
    return lines


def _half(found: Interval) -> str:
    return f"{show(found.value, '3')} ± {show((found.high - found.low) / 2, '3')}"


CHECKED = ("wrong", "peculiar", "unreadable")


def _read(row: Row) -> list[str]:
    """How figures are read: the shares with their intervals."""
    return [f"{getattr(Cells(row), f'{what}_interval'):1%}" for what in CHECKED]


def check(tables: Tables) -> list[list[str]]:
    first, *others = tables.read("tables/peculiarity-check.csv")
    plain = [Cells(row) for row in others if row["figures"] != "person, 3 arms"]
    low, high = (show(of(row.wrong for row in plain), "1%") for of in (min, max))
    if len({(row["peculiar"], row["unreadable"]) for row in others}) != 1:
        raise ValueError("the kinds are not read alike")
    third = next(_read(row) for row in others if row["figures"] == "person, 3 arms")
    wrong, odd, lost = _read(first)
    title = f"figures drawn with other counts, {len(others)} kinds × {others[0]['n']} (seed 2)"
    return [
        ["checked on", "read wrongly", "taken for peculiar", "unreadable"],
        [
            f"{Cells(first).n:0} held-out renders (seed 1)",
            wrong,
            f"**{odd}** (false positives)",
            lost,
        ],
        [title, f"{low} to {high} %, a third arm {third[0]}", f"{third[1]} of each kind", third[2]],
    ]


def check_noised(tables: Tables) -> list[list[str]]:
    rows = tables.read("tables/peculiarity-check-noised.csv")
    head = f"noised to ({rows[0]['n']} held-out figures each)"
    titles = (row["figures"].replace("%", " %") for row in rows)
    return [
        [head, "read wrongly", "of which peculiar", "unreadable"],
        *([title, *_read(row)] for title, row in zip(titles, rows, strict=True)),
    ]


MAKERS: dict[str, Maker] = {
    "check": check,
    "check-noised": check_noised,
    "poses": poses,
    "peculiarity-study": study,
    "registered-figures": registered,
    "registered-species": species,
    "minima": minima,
}
