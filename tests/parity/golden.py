"""The recorded reference trajectories: loading them, the exact denoiser they were made with,
running and comparing.

The cases come from ``tests/data`` (a slice, made by ``tools/slice_golden.py``) or from the folder
named by the environment variable ``DIFFDESCENT_GOLDEN`` (all of them: ``make golden DATA=…``). The
tests are parametrised over whatever the folder's index holds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffdescent.core.executor import Executor
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.process import VP, Point, Process
from diffdescent.core.transforms import Displacement, Estimate
from tests.paths import ROOT

DATA = Path(os.environ.get("DIFFDESCENT_GOLDEN") or ROOT / "tests" / "data")

ERRORS: dict[str, dict[str, float]] = {}
"""Method → case → worst error so far; the terminal summary prints it."""


@cache
def _index() -> dict[str, dict[str, Any]]:
    return {case["id"]: case for case in json.loads((DATA / "index.json").read_text())["cases"]}


@cache
def members(file: str) -> Any:
    """The open npz archive ``file`` (its arrays are read when they are asked for)."""
    return np.load(DATA / file)


def common(name: str) -> np.ndarray:
    """An array of ``common.npz``."""
    return members("common.npz")[name]


@dataclass(frozen=True)
class Case:
    """One recorded run: its options from the index, its arrays by name (``case["x_final"]``)."""

    id: str

    @property
    def entry(self) -> dict[str, Any]:
        return _index()[self.id]

    @property
    def options(self) -> dict[str, Any]:
        return self.entry["options"]

    @property
    def method(self) -> str:
        return self.entry["method"]

    @property
    def tol(self) -> float:
        """1e-5 for a reference that ran in float32, 1e-10 for all others."""
        return 1e-5 if "native32" in self.id else 1e-10

    def __getitem__(self, name: str) -> np.ndarray:
        return members(self.entry["file"])[f"{self.id}/{name}"]

    def __contains__(self, name: str) -> bool:
        return name in self.entry["arrays"]

    def process(self) -> VP:
        """The VP process of ``options["schedule"]``."""
        return VP.named(self.options.get("schedule", "linear"))

    def noise(self) -> Replay:
        """The recorded draws, in order."""
        return Replay([int(i) for i in self["noise_index"]] if "noise_index" in self else [])


def cases(method: str, where: Callable[[dict[str, Any]], bool] = lambda entry: True) -> Any:
    """``pytest.mark.parametrize`` of the argument ``case`` over the cases of ``method`` for which
    ``where(entry)``."""
    found = [Case(i) for i, entry in _index().items() if entry["method"] == method and where(entry)]
    return pytest.mark.parametrize(
        "case", [pytest.param(c, id=c.id, marks=pytest.mark.golden) for c in found]
    )


def start(scale: float = 1.0) -> Tensor:
    """x_T·scale, (4, 3, 8, 8), float64."""
    return torch.tensor(common("x_T")) * scale


@cache
def _mixture() -> tuple[Tensor, Tensor, Tensor]:
    means, variances, weights = (
        torch.tensor(common(name)) for name in ("means", "variances", "weights")
    )
    return means, variances, weights.log()


def mixture_eps(x: Tensor, a: float, s: float) -> Tensor:
    """E[ε | x = a x0 + s ε] under the mixture of ``common.npz``: Σ_k r_k s (x − a μ_k)/(a² v_k +
    s²)."""
    means, variances, log_weights = _mixture()
    d = x[:, None] - a * means
    total = a * a * variances + s * s
    r = torch.softmax(log_weights - 0.5 * (d * d / total + total.log()).flatten(2).sum(-1), dim=1)
    return (r[:, :, None, None, None] * s * d / total).sum(1)


@dataclass
class Exact:
    """The exact denoiser as a predictor of ε. ``level``, when given, replaces the noise level that
    is evaluated."""

    process: Process = field(default_factory=VP.named)
    level: Callable[[Point], tuple[float, float]] = lambda point: (point.alpha, point.sigma)
    shape: tuple[int, ...] | None = (3, 8, 8)

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        return Prediction(mixture_eps(x, *self.level(point)), conversion("eps", point))


@dataclass
class Replay:
    """A noise source that hands out ``noise_bank[index[0]]``, ``noise_bank[index[1]]``, … in the
    order it is asked."""

    index: Sequence[int]
    used: int = 0

    def initial(self, shape: Sequence[int]) -> Tensor:
        return start()

    def __call__(self, x: Tensor, step: int, draw: int, src: Point, dst: Point) -> Tensor:
        self.used += 1
        return torch.tensor(common("noise_bank")[self.index[self.used - 1]]).to(x)


@dataclass(frozen=True)
class Run:
    """What happened: the state at each evaluation, whether it began a step, the levels asked, and
    the last state."""

    states: list[Tensor]
    begins: list[bool]
    asked: list[Point]
    final: Tensor

    @property
    def steps(self) -> list[Tensor]:
        """The states at which a step began."""
        return [x for x, begin in zip(self.states, self.begins, strict=True) if begin]

    def then(self, other: Run) -> Run:
        """This run followed by another that started at its end."""
        return Run(
            self.states + other.states,
            self.begins + other.begins,
            self.asked + other.asked,
            other.final,
        )


def run(
    plan: Plan,
    x: Tensor,
    *,
    model: Callable[[Tensor, Point], Prediction] | None = None,
    noise: Replay | None = None,
    estimates: Sequence[Estimate] = (),
    displacements: Sequence[Displacement] = (),
    dtype: torch.dtype = torch.float64,
) -> Run:
    """Run ``plan`` from ``x`` in float64 (or ``dtype``) with the exact denoiser (or ``model``)."""
    model = model or Exact(plan.grid.process)
    machine = Executor(
        plan, x, noise=noise, estimates=estimates, displacements=displacements, dtype=dtype
    )
    states, begins, asked = [], [], []
    while not machine.done:
        query = machine.ask()
        states.append(query.x.clone())
        begins.append(query.x is machine.x)
        asked.append(query.at)
        machine.tell(model(query.x, query.at))
    return Run(states, begins, asked, machine.x)


def error(ours: Tensor | np.ndarray, theirs: Tensor | np.ndarray) -> float:
    """Largest difference, relative to the largest entry where that is above one."""
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    assert a.shape == b.shape, f"{a.shape} against {b.shape}"
    assert np.isfinite(a).all()
    return float(np.abs(a - b).max() / max(1.0, np.abs(b).max())) if a.size else 0.0


def note(case: Case, worst: float) -> None:
    """Record the error for the summary and hold it against the case's tolerance."""
    table = ERRORS.setdefault(case.method, {})
    table[case.id] = max(worst, table.get(case.id, 0.0))
    assert worst <= case.tol, f"{case.id}: error {worst:.3g} above {case.tol:g}"


def compare(
    case: Case,
    ours: Run,
    *,
    states: Sequence[Tensor] | None = None,
    scale: Callable[[int], float] = lambda i: 1.0,
    calls: bool = True,
    idle: int = 0,
) -> None:
    """Final state, recorded states, number of evaluations and their s/a against the case, all at
    its tolerance.

    ``states`` are ours that correspond to ``case["x"]`` (default: one per evaluation), multiplied
    by ``scale(i)``. ``calls=False`` leaves s/a out, for a reference whose network is asked at
    another level than its state's. The reference's last ``idle`` evaluations belong to steps of
    length zero, which we do not take: its state there must be its final state already.
    """
    count = len(case["x"]) - idle if "x" in case else 0
    worst = error(ours.final * scale(count), case["x_final"])
    if "x" in case:
        for x in case["x"][count:]:
            worst = max(worst, error(x, case["x_final"][: len(x)]))
        recorded = case["x"][:count]
        mine = ours.states if states is None else states
        assert len(mine) == len(recorded), f"{len(mine)} states against {len(recorded)}"
        for i, (x, expected) in enumerate(zip(mine, recorded, strict=True)):
            worst = max(worst, error(x[: expected.shape[0]] * scale(i), expected))
    asked = case.entry["nfe"] - idle
    assert len(ours.asked) == asked
    if calls:
        _, alpha, sigma = case["calls"][:asked].T
        worst = max(worst, error([p.ratio for p in ours.asked] * alpha / sigma, np.ones(asked)))
    note(case, worst)
