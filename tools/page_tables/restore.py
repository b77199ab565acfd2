"""The tables of ``docs/restore.md``."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from tools.verdict_numbers import Cells, show
from tools.verdict_tables import Maker, Row, Tables

from .crossed import crossed, each


def _code(method: str) -> str:
    return f"`{method}`".replace("|", "\\|")


def _half(row: Row, name: str = "psnr") -> str:
    found = getattr(Cells(row), f"{name}_interval")
    return f"{show(found.value, '1')} ± {show((found.high - found.low) / 2, '1')}"


BIAS = {
    "`ddim \\| diffpir(strength=1, spread=s)`": "ddim | diffpir(strength=1, spread=*",
    "`diffpir`": "diffpir",
    "`ddim \\| pigdm(spread=s)`": "ddim | pigdm(spread=*",
    "`pigdm(spread=s)`": "pigdm(spread=*",
    "`pigdm(spectrum=…)`": "pigdm(spectrum=*",
    "`ddim \\| mmps(steps=36, through=inf)`": "ddim | mmps(steps=36, through=inf)",
    "`ddnm`": "ddnm",
    "`ddrm`": "ddrm",
    "`ddim \\| ddrm`": "ddim | ddrm",
    "`ddrm(spectrum=…)`": "ddrm(spectrum=*",
    "`ddim \\| ddrm(spectrum=…)`": "ddim | ddrm(spectrum=*",
    "`hqs`": "hqs",
    "`admm(strength=3)`": "admm(strength=3)",
    "`dps(through=inf)`": "dps(through=inf)",
    "`dps(size=paper, through=inf)`": "dps(size=paper, through=inf)",
    "`reddiff`": "reddiff",
}


def bias(tables: Tables) -> list[list[str]]:
    columns = [
        ("white, s = 1", "mask", "0.05"),
        ("white, s = 1", "blur(sigma=0.8)", "0.05"),
        ("white, s = 1", "blur(sigma=0.8)", "0.3"),
        ("white, s = 0.5", "downsample(2)", "0.3"),
        ("smooth", "downsample(2)", "0.05"),
        ("smooth", "blur(sigma=0.8)", "0.3"),
        ("smooth", "mask", "0.3"),
    ]
    return crossed(
        tables.read("tables/restore-bias.csv"),
        "method",
        [(title, {"method": method, "nfe": "100"}) for title, method in BIAS.items()],
        [
            (f"{prior}; `{where}`, σ_n = {v}", {"prior": prior, "operator": where, "noise": v})
            for prior, where, v in columns
        ],
        _bias,
    )


def _bias(row: Row) -> str:
    value, low, high = (float(row[name]) for name in ("bias_percent", "low", "high"))
    if math.isnan(low):
        return f"{value:.3g}"
    return f"{show(value, '0')} [{show(low, '0')}, {show(high, '0')}]"


def study(
    tables: Tables, name: str, by: str, head: str, cell: Callable[[Row], str]
) -> list[list[str]]:
    """The methods of a study by its problems; ``by`` is the column that tells these apart."""
    rows = tables.read(f"tables/restore-{name}.csv")
    problems = each(rows, "operator", by)
    return crossed(
        rows,
        "method",
        [(_code(row["method"]), row) for row in each(rows, "method")],
        [(f"`{row['operator']}`, {head.format(row[by])}", row) for row in problems],
        cell,
    )


def _posterior(row: Row) -> str:
    found = Cells(row)
    error = show(math.sqrt(found.mean_error), "0%")
    return f"{error} %, {found.spread:2}, {found.coverage50:2}"


CELLS = [(where, n) for where in ("mask(share=0.5)", "downsample(2)") for n in ("20", "100")]
CHAIN = "ddim(fresh=0.1) | threshold | diffpir(strength=3.5, zeta=0.1)"
THEIRS = ("DDRM", "DiffPIR", "DPS", "DPS, annealed")
OURS = (
    *("ddrm(temperature=0.5) @ karras(start=2, rho=1)", f"{CHAIN} @ deepinv"),
    *("ddrm(temperature=0) @ karras(start=2, rho=1)", "diffpir", "hqs", "dps", "ddrm"),
)


def deepinv(tables: Tables, model: str) -> list[list[str]]:
    theirs = [(f"deepinv's {m}", {"who": "deepinv", "method": m}) for m in THEIRS]
    ours = [
        (_code(m).replace(" @ deepinv`", "`, its levels"), {"who": "ours", "method": m})
        for m in OURS
    ]
    return crossed(
        tables.select("tables/restore-deepinv.csv", {"model": model}),
        "",
        [*theirs, *ours],
        [(f"`{where}`, {n}", {"operator": where, "budget": n}) for where, n in CELLS],
        _half,
    )


PAIRS = {
    "DDRM, its settings": ("same settings", "ddrm*"),
    "DiffPIR, its settings": ("same settings", "ddim*"),
    "DDRM, `temperature=0`": ("settings of ours", "ddrm*"),
    "DiffPIR, ours": ("settings of ours", "diffpir"),
    "DPS, ours; its best": ("settings of ours", "dps"),
}


def deepinv_pairs(tables: Tables) -> list[list[str]]:
    columns = []
    for model, title in (("cifar10", "network"), ("cifar10-mixture", "mixture")):
        for where, budget in CELLS:
            head = f"{where.partition('(')[0]}, {budget}"
            first = (where, budget) == CELLS[0]
            at = {"where": f"{model}, {where}, {budget}"}
            columns.append((f"{title}, {head}" if first else head, at))
    return crossed(
        tables.read("tables/restore-deepinv-paired.csv"),
        "",
        [(title, {"family": family, "a": a}) for title, (family, a) in PAIRS.items()],
        columns,
        _gain,
    )


def _gain(row: Row) -> str:
    value, low, high = (float(row[name]) for name in ("difference", "low", "high"))
    return f"{show(value, '2+' if value > 0 else '2')} ± {show((high - low) / 2, '2')}"


MAKERS: dict[str, Maker] = {
    "restore-bias": bias,
    "restore-mixture": functools.partial(
        study, name="mixture", by="noise", head="σ_n = {}", cell=_posterior
    ),
    "restore-cifar10": functools.partial(
        study, name="cifar10", by="nfe", head="{} evaluations", cell=_half
    ),
    "restore-mnist": functools.partial(
        study, name="mnist", by="noise", head="σ_n = {}", cell=_half
    ),
    "deepinv-mixture": functools.partial(deepinv, model="cifar10-mixture"),
    "deepinv-cifar10": functools.partial(deepinv, model="cifar10"),
    "deepinv-pairs": deepinv_pairs,
}
