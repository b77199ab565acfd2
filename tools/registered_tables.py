"""Tables that are not CSV files: registered studies by their own scripts on their committed
figures, and the reports in the bundled calibrated samplers."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from diffdescent.base.statistics import paired_difference

Row = dict[str, str]


def registered(folder: Path, name: str) -> list[Row]:
    """The rows of one study: ``figures``, ``figures-return`` or ``pxp-diversity``.

    Raises:
        ValueError: another name.
    """
    if name not in STUDIES:
        raise ValueError(f"is not a registered study ({', '.join(STUDIES)})")
    sys.path.insert(0, str(folder))
    try:
        return [
            {key: str(value) for key, value in row.items()} for row in STUDIES[name](folder, name)
        ]
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("figures", None)


def bundled(folder: Path) -> list[Row]:
    """What each bundled calibrated sampler's file says was measured on held-out noises."""
    found = []
    for path in sorted(folder.glob("*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))["report"]
        own, fixed = report["rmse"], report["fixed"]["rmse"]
        row = {
            "name": path.stem, **report["difference"], "n": report["held_out"],
            "calibrated": own["value"], "calibrated_half": (own["high"] - own["low"]) / 2,
            "fixed": fixed["value"], "fixed_half": (fixed["high"] - fixed["low"]) / 2,
            "ratio": own["value"] / fixed["value"], "fixed_recipe": report["fixed"]["recipe"],
            "fixed_grid": report["fixed"]["grid"], "teacher_error": report["teacher_error"],
        }  # fmt: skip
        row["difference"] = row.pop("value")
        row |= {f"pays_{name}": x for name, x in (report.get("pays_off") or {}).items()}
        found.append({key: str(value) for key, value in row.items()})
    return found


def _script(folder: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name.replace("-", "_"), folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _rows(folder: Path, name: str) -> list[Row]:
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _figures(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """McNemar's counts of each test, pooled and by species; then Mantel and Haenszel's."""
    script, rows = _script(folder, name), _rows(folder, name)
    asked = np.array([int(row["asked"]) for row in rows])
    species = {"all": np.ones(len(rows), bool)}
    species |= {kind: asked == k for k, kind in enumerate(script.SPECIES)}
    for outcome in ("abnormal", "peculiar"):
        flags, lost = {}, {}
        for point in script.POINTS:
            read = np.array([row[point] for row in rows])
            odd = read == script.PECULIAR
            lost[point] = read == script.UNREADABLE
            flags[point] = odd if outcome == "peculiar" else read != script.NORMAL
        for kind in ("momentum", "ddpm"):
            for steps in (50, 100):
                for which, some in species.items():
                    pair = (flags[f"{kind} {steps}"][some], flags[f"ddim {steps}"][some])
                    here, there = script.discordant(*pair)
                    n, normal = int(some.sum()), some & ~flags[f"{kind} {steps}"]
                    from_pieces = lost[f"ddim {steps}"] & normal
                    mended = flags[f"ddim {steps}"] & normal
                    gap = paired_difference(here, there, n)
                    yield {
                        "test": "figures", "outcome": outcome, "kind": kind, "steps": steps,
                        "species": which, "only_here": here, "only_there": there, "n": n,
                        "share": pair[0].mean(), "base": pair[1].mean(),
                        "unreadable": lost[f"{kind} {steps}"][some].mean(),
                        "base_unreadable": lost[f"ddim {steps}"][some].mean(),
                        "difference": gap.value, "low": gap.low, "high": gap.high,
                        "mended_unreadable": from_pieces.sum(),
                        "mended_peculiar": (mended & ~from_pieces).sum(),
                    }  # fmt: skip
    yield from _stability(script, rows)


def _stability(script: ModuleType, rows: list[Row]) -> Iterator[dict[str, Any]]:
    asked = np.array([int(row["asked"]) for row in rows])
    read = np.array([row["ddim 50"] for row in rows])
    for at in script.STRENGTHS:
        _, p = script.stability(rows, asked, read, at)
        same = np.array([row[f"same after {at:g}"] == "1" for row in rows])
        found = {
            f"{kind} {name}": same[(asked == k) & (read == code)].mean()
            for k, kind in enumerate(script.SPECIES)
            for name, code in (("peculiar", script.PECULIAR), ("normal", script.NORMAL))
        }
        gap = sum(found[f"{k} peculiar"] - found[f"{k} normal"] for k in script.SPECIES)
        n = int((read != script.UNREADABLE).sum())
        yield {"test": "stability", "at": f"{at:g}", "p": p, "difference": gap, "n": n, **found}


def _again(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    yield from _stability(_script(folder, "figures"), _rows(folder, name))


def _diversity(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    script, rows = _script(folder, name), _rows(folder, name)
    column = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    size = column["conditional distance"].mean()
    pairs = (("pxp", "plain"), ("pxp", "conditional"), ("plain", "conditional"))
    for one, other in pairs:
        found, p = script.equivalence(column[f"{one} distance"], column[f"{other} distance"])
        yield {
            "registered": "yes" if one == "pxp" else "no", "test": other,
            "difference": found.value, "low": found.low, "high": found.high, "p": p,
            "margin": script.MARGIN, "n": len(rows),
            "agreement": column[f"{one} agreement"].mean(),
            "other_agreement": column[f"{other} agreement"].mean(),
            "distance": column[f"{one} distance"].mean() / size,
            "other_distance": column[f"{other} distance"].mean() / size,
        }  # fmt: skip


STUDIES: dict[str, Callable[[Path, str], Iterator[dict[str, Any]]]] = {
    "figures": _figures,
    "figures-return": _again,
    "pxp-diversity": _diversity,
}
"""By name, what makes its rows."""
