"""The registered study of `figures.md`: makes the figures, and analyses the committed table.

python studies/registered/figures.py run FOLDER      # about 35 minutes of one core; can be stopped
python studies/registered/figures.py analyse         # from figures.csv, next to this file
"""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from diffdescent import load_model
from diffdescent.base.statistics import holm, paired_difference, points, sign_test
from diffdescent.core.predict import Predictor
from diffdescent.lab.peculiarity.counter import count_limbs
from diffdescent.lab.peculiarity.minima import come_back
from diffdescent.lab.peculiarity.points import Point
from diffdescent.lab.peculiarity.species import SPECIES
from diffdescent.lab.peculiarity.study import Outcome, outcomes, precision, run_study

TABLE = Path(__file__).with_suffix(".csv")
SEED, N, BLOCK = 2026, 1800, 100
GRID = "uniform(spacing=trailing)"
RECIPES = {"ddim": "ddim", "momentum": "ddim | momentum(beta=-0.3)", "ddpm": "ddpm"}
POINTS = {f"{name} {t}": Point(text, t, GRID) for t in (50, 100) for name, text in RECIPES.items()}
STRENGTHS = (0.2, 0.4)
NORMAL, PECULIAR, UNREADABLE = "npu"
Flags = npt.NDArray[np.bool_]


def run(out: Path) -> None:
    """Make all figures and what comes back after noise, and write the table."""
    model = load_model("figures")

    def progress(done: int, total: int, point: Point) -> None:
        print(f"{done} of {total} evaluations, {point}", flush=True)

    run_study(
        model, list(POINTS.values()), N, out, seed=SEED, block=BLOCK, bf16=True, progress=progress
    )
    found = {one.point: one for one in outcomes(out)}
    columns = {"asked": [str(k) for k in found[POINTS["ddim 50"]].labels.tolist()]}
    columns |= {name: codes(found[point]) for name, point in POINTS.items()}
    first = found[POINTS["ddim 50"]]
    for strength in STRENGTHS:
        columns[f"same after {strength:g}"] = returned(model, first, strength)
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sample", *columns])
        writer.writerows(
            [str(i), *row] for i, row in enumerate(zip(*columns.values(), strict=True))
        )


def codes(one: Outcome) -> list[str]:
    """``n``, ``p`` or ``u`` for each figure."""
    kinds = np.where(one.peculiar, PECULIAR, np.where(one.abnormal, UNREADABLE, NORMAL))
    return [str(k) for k in kinds]


def returned(model: Predictor, one: Outcome, strength: float) -> list[str]:
    """1 where a readable figure comes back with the same limbs, 0 where not, empty for others.

    Unreadable ones are denoised with the others, so that sample i has its own noise.
    """
    found: list[str] = []
    for begin in range(0, len(one.images), BLOCK):
        part = slice(begin, begin + BLOCK)
        x = torch.from_numpy(one.images[part])[:, None].float().div(127.5).sub(1)
        labels = torch.from_numpy(one.labels[part])
        with precision(model, True):
            back = come_back(model, x, strength, labels, seed=SEED, first=begin)
        same = (count_limbs(back).counts == one.readings.counts[part]).all(1)
        readable = np.array(codes(one)[part]) != UNREADABLE
        found += ["" if not r else str(int(s)) for s, r in zip(same, readable, strict=True)]
        print(f"noised to {strength:g}: {begin + BLOCK} of {len(one.images)}", flush=True)
    return found


def analyse() -> None:
    """Print the registered tests, and what is reported with them."""
    with TABLE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    asked = np.array([int(row["asked"]) for row in rows])
    read = {name: np.array([row[name] for row in rows]) for name in POINTS}
    flags = {
        (outcome, name): read[name] == PECULIAR if outcome == "peculiar" else read[name] != NORMAL
        for outcome in ("abnormal", "peculiar")
        for name in POINTS
    }
    for name in POINTS:
        shares = {k: (read[name] == k).mean() for k in (PECULIAR, UNREADABLE)}
        print(f"{name}: peculiar {shares['p']:.1%}, unreadable {shares['u']:.1%}")
    tests = [
        (outcome, kind, t)
        for outcome in ("abnormal", "peculiar")
        for kind in ("momentum", "ddpm")
        for t in (50, 100)
    ]
    counts = [
        discordant(flags[outcome, f"{kind} {t}"], flags[outcome, f"ddim {t}"])
        for outcome, kind, t in tests
    ]
    adjusted = holm([sign_test(*pair) for pair in counts])
    print("\noutcome, point against ddim: only here, only in ddim; difference; p (Holm, 8 tests)")
    for (outcome, kind, t), (here, there), p in zip(tests, counts, adjusted, strict=True):
        difference = points(paired_difference(here, there, len(rows)))
        verdict = "decided" if p <= 0.05 else "undecided"
        print(f"{outcome}, {kind} {t}: {here}, {there}; {difference}; p = {p:.2g}: {verdict}")
        for k, species in enumerate(SPECIES):
            some = asked == k
            pair = discordant(
                flags[outcome, f"{kind} {t}"][some], flags[outcome, f"ddim {t}"][some]
            )
            print(f"    {species}: {points(paired_difference(*pair, int(some.sum())))}")
    print("\nsame limbs after noise, peculiar against normal, within the species asked for")
    found = [stability(rows, asked, read["ddim 50"], strength) for strength in STRENGTHS]
    for strength, (text, _), p in zip(STRENGTHS, found, holm([p for _, p in found]), strict=True):
        print(f"{strength:.0%}: {text}; p = {p:.2g} (Holm, 2 tests)")


def discordant(here: Flags, there: Flags) -> tuple[int, int]:
    return int((here & ~there).sum()), int((there & ~here).sum())


def stability(
    rows: list[dict[str, str]], asked: npt.NDArray[np.int64], read: npt.NDArray[np.str_], at: float
) -> tuple[str, float]:
    """Shares by species as text, and Mantel and Haenszel's two-sided p-value (no continuity
    correction)."""
    same = np.array([row[f"same after {at:g}"] == "1" for row in rows])
    gap = variance = 0.0
    texts = []
    for k, species in enumerate(SPECIES):
        odd, plain = (asked == k) & (read == PECULIAR), (asked == k) & (read == NORMAL)
        a, b, m = int((odd & same).sum()), int((plain & same).sum()), int(odd.sum())
        n = m + int(plain.sum())
        texts.append(
            f"{species} {a / max(m, 1):.0%} of {m} against {b / max(n - m, 1):.0%} of {n - m}"
        )
        if n > 1:
            gap += a - m * (a + b) / n
            variance += m * (n - m) * (a + b) * (n - a - b) / (n**2 * (n - 1))
    p = math.erfc(abs(gap) / math.sqrt(2 * variance)) if variance else 1.0
    return ", ".join(texts), p


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"] and len(sys.argv) == 3:
        run(Path(sys.argv[2]))
    elif sys.argv[1:] == ["analyse"]:
        analyse()
    else:
        sys.exit(__doc__)
