"""Time against deepinv's DDRM, DiffPIR and DPS at equal evaluations, in one run.

Each of its methods and ours of the same kind are run in turn, again and again.

Usage: python benchmarks/restore_times.py IMAGES [--model cifar10] [--count 8] [--nfe 20]
       [--operator "downsample(2)"] [--noise 0.05] [--repeats 6] [--csv FILE]

Seconds are those of the process on the CPU, on one thread, so that other work on the machine counts
little; the ratio is ours over theirs, the mean of its logarithm over the repeats, with Student's
interval. What is made is that of ``benchmarks/restore.py``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import diffdescent as dd
from diffdescent.base.csv_text import csv_text
from diffdescent.base.files import write_atomically
from diffdescent.base.statistics import student_mean
from diffdescent.core.operators import Linear, parse_operator
from diffdescent.run.image_files import read_init
from diffdescent.run.problem import measure

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.restore import OWN, SAME, Denoiser, deepinv, grid_of, physics_of, theirs


def seconds(made: Callable[[], Any]) -> float:
    """CPU seconds that a call takes."""
    begun = time.process_time()
    made()
    return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--model", default="cifar10")
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--nfe", type=int, default=20)
    parser.add_argument("--operator", default="downsample(2)")
    parser.add_argument("--noise", type=float, default=0.05)
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    model, inv = dd.load_model(asked.model), deepinv()
    clean = read_init(asked.images, (model.shape or (3,))[0])[: asked.count]
    operator = parse_operator(asked.operator).bind(tuple(model.shape or ()))
    assert isinstance(operator, Linear)
    y = measure(operator, clean, asked.noise, 0, range(len(clean)))
    half = (y + operator.forward(torch.ones_like(clean))) / 2
    denoiser = Denoiser(model)
    methods = dict(theirs(inv, denoiser, asked.nfe))
    lines = [("a", "b", "a_seconds", "b_seconds", "a_nfe", "b_nfe", "value", "low", "high", "n")]
    for name, ours in (*SAME.items(), *OWN.items()):
        method, _, grid = (part.strip() for part in ours.partition("@"))
        levels = grid_of(grid, inv, asked.nfe, model)

        def peer(name: str = name) -> None:
            methods[name](half, physics_of(inv, operator, asked.noise))

        def own(method: str = method, levels: Any = levels) -> int:
            made = dd.restore(
                model, y, operator, noise=asked.noise, method=method, nfe=asked.nfe, grid=levels,
                micro_batch=len(clean),
            )  # fmt: skip
            return made.plan.nfe

        nfe, denoiser.asked = own(), 0
        peer()
        pairs = np.array([(seconds(own), seconds(peer)) for _ in range(asked.repeats)])
        ratio = student_mean(np.log(pairs[:, 0] / pairs[:, 1]))
        known = [float(np.exp(x)) for x in (ratio.value, ratio.low, ratio.high)]
        counts = (nfe, denoiser.asked // (asked.repeats + 1))
        row = (ours, name, *(f"{x:.3g}" for x in pairs.mean(0)), *counts)
        lines.append((*row, *(f"{x:.3f}" for x in known), asked.repeats))
        print(*lines[-1], sep="\t", flush=True)
    if asked.csv is not None:
        write_atomically(asked.csv, csv_text(lines).encode())


if __name__ == "__main__":
    main()
