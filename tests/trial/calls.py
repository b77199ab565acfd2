"""Bad calls from Python: every public function and class, each of its arguments at values of other
types, shapes and sizes; what is refused is refused by :class:`UserError`, and changes nothing."""

from __future__ import annotations

import functools
import inspect
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import diffdescent as dd
from tests.public import registered, surface

from .bad_input import fresh
from .judge import attempt, faults
from .passed import Passed


class Anything:
    """A class that can be called with anything."""

    def __init__(self, *given: Any, **named: Any) -> None:
        self.given = given, named


WRONG: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "-1": lambda: -1,
    "1.5": lambda: 1.5,
    "10**30": lambda: 10**30,
    "True": lambda: True,
    "a text": lambda: "no such",
    "markup": lambda: "[/x]{b:q}$\\frac$",
    "an empty text": lambda: "",
    "a long text": lambda: "x" * 300,
    "bytes": lambda: b"\xff\x00",
    "[]": list,
    "[None]": lambda: [None],
    "['a', 1]": lambda: ["a", 1],
    "nested lists": lambda: [[[[1.0]]]],
    "{}": dict,
    "a dict": lambda: {"a": None},
    "an object": object,
    "a class": lambda: Anything,
    "a function": lambda: lambda *given, **named: None,
    "a path": lambda: Path("no/such"),
    "a complex number": lambda: 1j,
    "an array of nan": lambda: np.full((2, 3, 4, 4), np.nan),
    "an array of objects": lambda: np.array([None, {}], dtype=object),
    "a tensor of nan": lambda: torch.full((2, 3, 4, 4), float("nan")),
    "an empty tensor": lambda: torch.zeros(0),
    "another shape": lambda: torch.zeros(2, 5, 3),
    "whole numbers": lambda: torch.zeros(2, 3, 4, 4, dtype=torch.uint8),
    "a module": torch.nn.Identity,
    "a generator": lambda: (i for i in ("a", None)),
}


def tiny() -> Any:
    return dd.load_model("tiny")


def images() -> Any:
    return torch.zeros(2, 3, 4, 4)


def _plan() -> Any:
    return dd.sampler("ddim").plan(dd.grid("loglinear", dd.VP.named(), 3))


FITTED: dict[str, Any] = {
    "nfe": 3, "trajectories_count": 8, "held_out": 8, "teacher_levels": 12, "bands": 1,
    "end_to_end": 0,
}  # fmt: skip
GOOD: dict[str, Callable[[], dict[str, Any]]] = {
    "sample": lambda: {"model": tiny(), "recipe": "ddim", "steps": 2, "n": 2, "progress": False},
    "compare": lambda: {
        "model": tiny(), "samplers": "ddim; ge", "nfe": 3, "n": 4, "resamples": 2, "solution": 8,
    },
    "calibrate": lambda: {"model": tiny(), **FITTED},
    "restore": lambda: {
        "model": tiny(), "y": images(), "operator": "blur(sigma=1)", "method": "hqs", "nfe": 3,
    },
    "invert": lambda: {"model": tiny(), "images": images(), "steps": 2},
    "repeat": lambda: {"record": "done"},
    "load_model": lambda: {"name": "tiny"},
    "grid": lambda: {"text": "loglinear", "process": dd.VP.named(), "steps": 3},
    "sampler": lambda: {"text": "ge"},
    "effective_weights": lambda: {"sampler": "ge", "steps": 3},
    "Executor": lambda: {"plan": _plan(), "x": images()},
    "Network": lambda: {
        "module": torch.nn.Identity(), "process": dd.VP.named(), "shape": (3, 4, 4),
    },
    "EDM": lambda: {"module": torch.nn.Identity(), "process": dd.VE(), "shape": (3, 4, 4)},
    "VP": lambda: {"betas": np.full(10, 0.1)},
    "Recipe": lambda: {"solver": dd.sampler("ddim").solver},
}  # fmt: skip
"""Arguments that work; what is missing is given one for each argument by its name."""
USUAL: dict[str, Callable[[], Any]] = {
    "model": tiny, "predictor": tiny, "net": tiny, "recipe": lambda: "ddim",
    "sampler": lambda: "ddim", "samplers": lambda: "ddim; ge", "grid": lambda: "loglinear",
    "process": dd.VP.named, "steps": lambda: 3, "n": lambda: 2, "seed": lambda: 0, "x": images,
    "images": images, "y": images, "x0": images, "path": lambda: "photos", "text": lambda: "ddim",
    "name": lambda: "x", "scale": lambda: 1.0, "eta": lambda: 0.1, "nu": lambda: 2.0,
    "device": lambda: "cpu", "labels": lambda: None, "shape": lambda: (3, 4, 4), "plan": _plan,
    "out": lambda: "made", "folder": lambda: "made", "module": torch.nn.Identity,
}  # fmt: skip
DATA = frozenset(
    {
        "ModelInfo", "Plan", "Point", "Prediction", "Progress", "Query", "Restored", "Result",
        "RunRecord", "UserError", "Grid", "Predictor",
    }
)  # fmt: skip
"""What the library makes and hands out; nobody calls it, so it checks nothing."""


@dataclass(frozen=True)
class Call:
    """A call with one argument at a bad value; ``wrong`` is None where the argument is not there at
    all."""

    name: str
    target: Callable[..., Any]
    argument: str
    wrong: str | None

    @property
    def title(self) -> str:
        return f"{self.name}({self.argument}={self.wrong})"

    def __call__(self) -> None:
        """In a fork: exit code 2 and a sentence for what is refused."""
        given = _good(self.name.rpartition(".")[2], self.target)
        given.pop(self.argument, None)
        if self.wrong is not None:
            given[self.argument] = WRONG[self.wrong]()
        try:
            self.target(**given)
        except dd.UserError as refused:
            _refuse(refused)
        except TypeError as error:
            # Python's own answer to arguments that are missing or that nobody knows.
            said, own = str(error), self.name.rpartition(".")[2]
            passed_on = "unexpected keyword argument" in said or said.startswith(
                (f"{own}() missing", "Identity.forward() takes")  # the caller's own module
            )
            inside = len(traceback.extract_tb(error.__traceback__)) > 1
            if "argument" not in said or (inside and not passed_on):
                raise
            _refuse(error)


def _refuse(error: Exception) -> None:
    print(f"Error: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(2)


def _good(name: str, target: Callable[..., Any]) -> dict[str, Any]:
    if name in GOOD:
        return GOOD[name]()
    several = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    required = [
        p.name
        for p in inspect.signature(target).parameters.values()
        if p.default is p.empty and p.kind not in several
    ]
    return {name: USUAL[name]() if name in USUAL else None for name in required}


def targets() -> Iterator[tuple[str, Callable[..., Any]]]:
    """What is called: the names of ``import diffdescent``, and all that a text can name."""
    for module, name, thing in surface():
        if module == "diffdescent" and name not in DATA:
            yield f"dd.{name}", thing
    for name, thing in registered().items():
        yield name, _grid(name) if name.startswith("grid ") else thing


def _grid(name: str) -> Callable[..., Any]:
    """A grid as it is made by its name, with the builder's own arguments."""
    from diffdescent.core.grid import GRIDS
    from diffdescent.core.grid.base import make_grid

    word = name.removeprefix("grid ")

    @functools.wraps(GRIDS[word])
    def make(process: Any, steps: Any, **options: Any) -> Any:
        return make_grid(word, process, steps, **options)

    return make


def call_all(
    material: Path, work: Path, every: int, passed: Passed, match: str | None = None
) -> tuple[Counter[str], int]:
    """Make one call of ``every`` so many; how many worked and were refused, and how many did what
    must not be."""
    counts: Counter[str] = Counter()
    wrong = 0
    folder = fresh(material, work)
    for i, call in enumerate(every_call()):
        if i % every or (match is not None and match not in call.title):
            continue
        if (before := passed.outcome(call.title)) is not None:
            counts[before] += 1
            continue
        ended = attempt(call, folder)
        bad = faults(ended, "sane")
        outcome = "wrong" if bad else "refused" if ended.code == 2 else "worked"
        counts[outcome] += 1
        wrong += bool(bad)
        if bad:
            print(f"✗ {call.title}\n    {'; '.join(bad)}\n    {ended.err[-400:]}", flush=True)
        else:
            passed.note(call.title, outcome)
        if ended.changed:
            folder = fresh(material, work)
    return counts, wrong


def every_call() -> Iterator[Call]:
    """Every argument of every target at bad values: of ``dd`` at all of them, of the registered at
    some, others in each turn; and once left out, and once unknown."""
    names = list(WRONG)
    turn = 0
    for name, target in targets():
        for parameter in inspect.signature(target).parameters.values():
            if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                continue
            if parameter.kind is parameter.POSITIONAL_ONLY:
                continue
            turn += 1
            chosen = (
                names if name.startswith("dd.")
                else [names[(turn * 5 + i * 7) % len(names)] for i in range(4)]
            )  # fmt: skip
            for wrong in chosen:
                yield Call(name, target, parameter.name, wrong)
            if parameter.default is parameter.empty:
                yield Call(name, target, parameter.name, None)
        yield Call(name, target, "no_such_argument", "None")
