"""The tables of samplers, grids and parameters in ``docs/results``."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from tools.verdict_numbers import Cells, show
from tools.verdict_tables import Maker, Row, Tables

from .behind import behind, decided

BUDGETS = ("5", "10", "20", "50")


def published(study: str, item: str, column: int = 0) -> float:
    """A number of the paper's table that a study file lists."""
    return float(next(r["values"][column] for r in _published(study) if r["name"] == item))


@functools.cache
def _published(study: str) -> list[dict[str, Any]]:
    path = Path(__file__).parents[2] / "studies" / f"{study}.yaml"
    rows: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["published"][0][
        "rows"
    ]
    return rows


def value(tables: Tables, study: str, metric: str = "fd", /, **wanted: str) -> Row:
    """A cell of a study's table."""
    return tables.one(f"results/{study}.csv", metric=metric, **wanted)


def over_budgets(
    tables: Tables, study: str, label: str, budgets: Sequence[str], **wanted: str
) -> list[str]:
    """FD at each budget, with how far it is behind the best of that budget."""
    found = []
    column = "nfe_asked" if tables.read(f"results/{study}.csv")[0]["nfe_asked"] else "nfe"
    for asked in budgets:
        text = show(float(value(tables, study, **{column: asked}, **wanted)["value"]), "1")
        found.append(behind(tables, study, asked, label).with_gap(text))
    return found


def schedules(tables: Tables) -> list[list[str]]:
    grids = {
        "log-linear from σ/α = 40": ("loglinear(start=40)", "log-linear (theirs)"),
        'DDIM from 40 ("offset")': ("ddim(start=40)", "DDIM offset"),
        "DDIM": ("ddim", "DDIM"),
        "Karras (EDM)": ("karras(start=80, last=0.002, snap=true, end=first)", "EDM"),
    }
    lines = [["grid", "FD here", "behind the best", "FID in the paper (CIFAR-10)"]]
    for name, (grid, item) in grids.items():
        cell = Cells(value(tables, "schedules", grid=grid))
        found = behind(tables, "schedules", "10", f"ddim; {grid}")
        gap = "–" if found.gap is None else f"{found.gap:1}"
        fid = show(published("schedules", item), "2")
        lines.append([name, found.bold(f"{cell.interval:1}"), gap, fid])
    return lines


def gradient_estimation(tables: Tables) -> list[list[str]]:
    kinds = [
        ("`ge(gamma=2)`, log-linear from 40", "ge(gamma=2)", "loglinear(start=40)"),
        ("`unipc`, log-SNR", "unipc", "logsnr"),
        ("`deis`, quadratic in time", "deis", "quadratic_time"),
        (
            "`dpm(order=3)`, single step (3, 9, 18, 48 used)",
            "dpm(order=3, method=singlestep)",
            "logsnr",
        ),
        ("`pndm` (5, 9, 20, 50 used)", "pndm", "uniform"),
        ("`ddim`, uniform from the top", "ddim", "ddim"),
        (
            "`analytic`, Γ of the network, uniform",
            "analytic(gamma='studies/cifar10-gamma.json')",
            "uniform(spacing=trailing)",
        ),
    ]
    lines = [["sampler, grid", *BUDGETS]]
    for name, sampler, grid in kinds:
        study = "samplers-gradient-estimation"
        label = f"{sampler}; {grid}"
        lines.append([name, *over_budgets(tables, study, label, BUDGETS, sampler=sampler)])
    return lines


def gamma(tables: Tables) -> list[list[str]]:
    lines = [["γ", *BUDGETS]]
    for value_ in (1, 1.25, 1.5, 1.75, 2, 2.25, 2.5, 2.75, 3):
        sampler = f"ge(gamma={value_:g})"
        cells = over_budgets(tables, "gamma", sampler, BUDGETS, sampler=sampler)
        lines.append([f"{value_:g}", *cells])
    return lines


BETAS = ("-0.8", "-0.3", "0", "0.2")


def beta(tables: Tables) -> list[list[str]]:
    lines = [["β", "T = 10", "25", "50", "100"]]
    for one in BETAS:
        sampler = f"ddim | momentum(beta={one})"
        cells = over_budgets(tables, "beta", sampler, ("10", "25", "49", "97"), sampler=sampler)
        lines.append([one.replace("-", "−"), *cells])
    return lines


def beta_against_none(tables: Tables) -> list[list[str]]:
    lines = [["β", "T = 10", "25", "50", "100"]]
    for one in ("-0.8", "-0.3", "0.2"):
        found = [
            decided(tables, "beta", "contrast*", metric="fd", where=f"{steps} steps, beta = {one}")
            for steps in (10, 25, 50, 100)
        ]
        lines.append([one.replace("-", "−"), *(f"{gap:1}" for ((gap, _),) in found)])
    return lines


def momentum(tables: Tables) -> list[list[str]]:
    study, lines = "samplers-momentum", []
    for sampler in ("ddim", "plms(start=ddim)", "dpmpp(order=2)"):
        for name, grid, nfe in (("linear", "uniform", "50"), ("quadratic", "quadratic", "49")):
            line = [f"`{sampler}`" if grid == "uniform" else "", name]
            for one in ("", "0.2", "-0.3", "-0.8"):
                recipe = f"{sampler} | momentum(beta={one})" if one else sampler
                fd = float(value(tables, study, sampler=recipe, grid=grid)["value"])
                text = f"{show(fd, '0')}: it diverges" if fd > 200 else show(fd, "1")
                line.append(behind(tables, study, nfe, f"{recipe}; {grid}").bold(text))
            lines.append(line)
    return [["sampler", "grid", "no momentum", "β = 0.2", "β = −0.3", "β = −0.8"], *lines]


def cost(tables: Tables) -> list[list[str]]:
    names = ("T = 250 without momentum", "T = 50 without momentum", "T = 50 with momentum")
    cells = ("T = 250", "T = 50", "T = 50 with momentum")
    lines = [
        ["sampler", "steps", "GFLOPs an image", "FD here", "behind `plms`, 250 steps",
         "FID in the paper (CelebA, 64²)"]
    ]  # fmt: skip
    for name, item in zip(cells, names, strict=True):
        row = Cells(value(tables, "cost", name=name))
        gaps = [
            gap
            for side in ("a", "b")
            for gap, _ in decided(
                tables, "cost", "published*", **{side: item, "ab"[side == "a"]: names[0]}
            )
        ]
        recipe = value(tables, "cost", name=name)["sampler"].replace("(start=ddim)", "")
        recipe = recipe.replace("|", "\\|")
        flops = float(row.flops_per_image) / 1e9
        gap = f"{gaps[0]:1a}" if gaps else "–"
        fid = show(published("cost", item), "2")
        fd = f"{row.interval:1}"
        lines.append([f"`{recipe}`", f"{row.steps:0}", show(flops, "0"), fd, gap, fid])
    return lines


MAKERS: dict[str, Maker] = {
    "schedules": schedules,
    "gradient-estimation": gradient_estimation,
    "gamma": gamma,
    "beta": beta,
    "beta-against-none": beta_against_none,
    "momentum": momentum,
    "cost": cost,
}
