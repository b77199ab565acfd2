"""The registered study of `figures-return.md`.

python studies/registered/figures-return.py run FIGURES OUT   # FIGURES: the folder of figures.py
python studies/registered/figures-return.py analyse           # from figures-return.csv
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import figures
import numpy as np
import torch

from diffdescent import load_model
from diffdescent.base.files import kept_arrays, make_folder, pack_arrays, write_atomically
from diffdescent.base.statistics import holm
from diffdescent.lab.peculiarity.counter import count_limbs
from diffdescent.lab.peculiarity.minima import come_back
from diffdescent.lab.peculiarity.study import outcomes, precision

TABLE = Path(__file__).with_suffix(".csv")
NOISE = 2028


def run(made: Path, out: Path) -> None:
    """Noise and denoise all figures, and write the table."""
    model = load_model("figures")
    one = next(o for o in outcomes(made) if o.point == figures.POINTS["ddim 50"])
    kinds = np.array(figures.codes(one))
    make_folder(out)
    columns = [[str(i) for i in range(len(kinds))], [str(k) for k in one.labels], list(kinds)]
    for strength in figures.STRENGTHS:
        parts = []
        for begin in range(0, len(kinds), figures.BLOCK):
            path = out / f"{strength:g}-{begin:04d}.npz"
            kept = kept_arrays(path)
            if kept is None:
                part = slice(begin, begin + figures.BLOCK)
                x = torch.from_numpy(one.images[part])[:, None].float().div(127.5).sub(1)
                labels = torch.from_numpy(one.labels[part])
                with precision(model, True):
                    back = come_back(model, x, strength, labels, seed=NOISE, first=begin)
                kept = {"same": (count_limbs(back).counts == one.readings.counts[part]).all(1)}
                write_atomically(path, pack_arrays(kept))
                print(f"{strength:g}: {begin + figures.BLOCK} of {len(kinds)}", flush=True)
            parts.append(kept["same"])
        same = np.concatenate(parts)
        columns.append(
            [
                "" if k == figures.UNREADABLE else str(int(s))
                for k, s in zip(kinds, same, strict=True)
            ]
        )
    names = ["sample", "asked", "ddim 50", *(f"same after {s:g}" for s in figures.STRENGTHS)]
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([names, *zip(*columns, strict=True)])


def analyse() -> None:
    """Print the registered tests."""
    with TABLE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    asked = np.array([int(row["asked"]) for row in rows])
    read = np.array([row["ddim 50"] for row in rows])
    found = [figures.stability(rows, asked, read, strength) for strength in figures.STRENGTHS]
    adjusted = holm([p for _, p in found])
    for strength, (text, _), p in zip(figures.STRENGTHS, found, adjusted, strict=True):
        print(f"{strength:.0%}: {text}; p = {p:.2g} (Holm, 2 tests)")


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"] and len(sys.argv) == 4:
        run(Path(sys.argv[2]), Path(sys.argv[3]))
    elif sys.argv[1:] == ["analyse"]:
        analyse()
    else:
        sys.exit(__doc__)
