"""The tables of ``docs/restore.md``."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence

from tools.verdict_numbers import Cells, show
from tools.verdict_tables import Row, Tables


def _code(method: str) -> str:
    return f"`{method}`".replace("|", "\\|")


def _half(row: Row, name: str = "psnr") -> str:
    found = getattr(Cells(row), f"{name}_interval")
    return f"{show(found.value, '1')} ± {show((found.high - found.low) / 2, '1')}"


def _methods(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row["method"] for row in rows))


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
    lines = [["method", *(f"{prior}; `{where}`, σ_n = {v}" for prior, where, v in columns)]]
    for title, method in BIAS.items():
        line = [title]
        for prior, where, noise in columns:
            wanted = {"prior": prior, "operator": where, "noise": noise, "nfe": "100"}
            rows = tables.select("tables/restore-bias.csv", {**wanted, "method": method})
            line.append(_bias(rows[0]) if rows else "")
        lines.append(line)
    return lines


def _bias(row: Row) -> str:
    value, low, high = (float(row[name]) for name in ("bias_percent", "low", "high"))
    if math.isnan(low):
        return f"{value:.3g}"
    return f"{show(value, '0')} [{show(low, '0')}, {show(high, '0')}]"


def mixture(tables: Tables) -> list[list[str]]:
    rows = tables.read("tables/restore-mixture.csv")
    columns = list(dict.fromkeys((row["operator"], row["noise"]) for row in rows))
    lines = [["method", *(f"`{where}`, σ_n = {noise}" for where, noise in columns)]]
    for method in _methods(rows):
        line = [_code(method)]
        for where, noise in columns:
            row = Cells(
                tables.one("tables/restore-mixture.csv", method=method, operator=where, noise=noise)
            )
            error = show(math.sqrt(row.mean_error), "0%")
            line.append(f"{error} %, {row.spread:2}, {row.coverage50:2}")
        lines.append(line)
    return lines


def cifar10(tables: Tables) -> list[list[str]]:
    rows = tables.read("tables/restore-cifar10.csv")
    columns = list(dict.fromkeys((row["operator"], row["nfe"]) for row in rows))
    heads = [f"`{where}`, {nfe} evaluations" for where, nfe in columns]
    lines = [["method", *heads]]
    for method in _methods(rows):
        found = [
            tables.one("tables/restore-cifar10.csv", method=method, operator=where, nfe=nfe)
            for where, nfe in columns
        ]
        lines.append([_code(method), *map(_half, found)])
    return lines


def mnist(tables: Tables) -> list[list[str]]:
    rows = tables.read("tables/restore-mnist.csv")
    columns = list(dict.fromkeys((row["operator"], row["noise"]) for row in rows))
    lines = [["method", *(f"`{where}`, σ_n = {noise}" for where, noise in columns)]]
    for method in _methods(rows):
        found = [
            tables.one("tables/restore-mnist.csv", method=method, operator=where, noise=noise)
            for where, noise in columns
        ]
        lines.append([_code(method), *map(_half, found)])
    return lines


CELLS = [(where, n) for where in ("mask(share=0.5)", "downsample(2)") for n in ("20", "100")]
CHAIN = "ddim(fresh=0.1) | threshold | diffpir(strength=3.5, zeta=0.1)"
THEIRS = ("DDRM", "DiffPIR", "DPS", "DPS, annealed")
OURS = (
    *("ddrm(temperature=0.5) @ karras(start=2, rho=1)", f"{CHAIN} @ deepinv"),
    *("ddrm(temperature=0) @ karras(start=2, rho=1)", "diffpir", "hqs", "dps", "ddrm"),
)


def deepinv(tables: Tables, model: str) -> list[list[str]]:
    lines = [["", *(f"`{where}`, {budget}" for where, budget in CELLS)]]
    for who, method in [*(("deepinv", m) for m in THEIRS), *(("ours", m) for m in OURS)]:
        title = f"deepinv's {method}" if who == "deepinv" else _code(method)
        line = [title.replace(" @ deepinv`", "`, its levels")]
        for where, budget in CELLS:
            wanted = {"model": model, "operator": where, "budget": budget, "who": who}
            rows = tables.select("tables/restore-deepinv.csv", {**wanted, "method": method})
            line.append(_half(rows[0]) if rows else "")
        lines.append(line)
    return lines


PAIRS = {
    "DDRM, its settings": ("same settings", "ddrm*"),
    "DiffPIR, its settings": ("same settings", "ddim*"),
    "DDRM, `temperature=0`": ("settings of ours", "ddrm*"),
    "DiffPIR, ours": ("settings of ours", "diffpir"),
    "DPS, ours; its best": ("settings of ours", "dps"),
}


def deepinv_pairs(tables: Tables) -> list[list[str]]:
    heads: Sequence[str] = (
        *("network, mask, 20", "mask, 100", "downsample, 20", "downsample, 100"),
        *("mixture, mask, 20", "mask, 100", "downsample, 20", "downsample, 100"),
    )
    lines = [["", *heads]]
    for title, (family, a) in PAIRS.items():
        line = [title]
        for model in ("cifar10", "cifar10-mixture"):
            for where, budget in CELLS:
                wanted = {"family": family, "a": a, "where": f"{model}, {where}, {budget}"}
                rows = tables.select("tables/restore-deepinv-paired.csv", wanted)
                line.append(_gain(rows[0]) if rows else "")
        lines.append(line)
    return lines


def _gain(row: Row) -> str:
    value, low, high = (float(row[name]) for name in ("difference", "low", "high"))
    return f"{show(value, '2+' if value > 0 else '2')} ± {show((high - low) / 2, '2')}"


MAKERS = {
    "restore-bias": bias,
    "restore-mixture": mixture,
    "restore-cifar10": cifar10,
    "restore-mnist": mnist,
    "deepinv-mixture": functools.partial(deepinv, model="cifar10-mixture"),
    "deepinv-cifar10": functools.partial(deepinv, model="cifar10"),
    "deepinv-pairs": deepinv_pairs,
}
