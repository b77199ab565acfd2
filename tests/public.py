"""Everything that the library promises: names of ``import diffdescent``, of the modules behind
public paths, and of the registries."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

from diffdescent.core.constraints import CONSTRAINTS
from diffdescent.core.grid import GRIDS
from diffdescent.core.operators import OPERATORS
from diffdescent.core.solvers import SOLVERS
from diffdescent.core.transforms import TRANSFORMS
from diffdescent.doors import DOORS
from diffdescent.guidance.elements import ACTIONS, SOURCES

LAYERS = ("diffdescent.evaluate", "diffdescent.guidance")
"""Layers whose names are public as they stand."""
INTEGRATIONS = tuple(f"diffdescent.apps.{n}" for n in ("diffusers", "kdiffusion", "textimage"))


def modules() -> list[str]:
    """Modules with public names, by where they live."""
    doors = {target for target in DOORS.values() if ":" not in target}
    with_names = [m for m in sorted(doors) if hasattr(importlib.import_module(m), "__all__")]
    return ["diffdescent", *with_names, *LAYERS, *INTEGRATIONS]


def surface() -> Iterator[tuple[str, str, Any]]:
    """(module, name, thing) of each public class and function behind a public path."""
    for module in modules():
        found = importlib.import_module(module)
        for name in found.__all__:
            thing = getattr(found, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield module, name, thing


def registered() -> dict[str, Any]:
    """What texts can name, by kind and name: ``"grid ddim"`` is not ``"solver ddim"``."""
    kinds = {
        "solver": SOLVERS,
        "transform": TRANSFORMS,
        "constraint": CONSTRAINTS,
        "operator": OPERATORS,
        "grid": GRIDS,
        "guidance": {**SOURCES, **ACTIONS},
    }
    return {f"{kind} {n}": thing for kind, table in kinds.items() for n, thing in table.items()}


def options_text(thing: Any) -> str:
    """Where the options of something registered are described: its own docstring, and those of the
    base classes that it shares options with."""
    if not inspect.isclass(thing):
        return inspect.getdoc(thing) or ""
    own = (cls for cls in thing.__mro__ if "__annotations__" in vars(cls))
    return "\n".join(inspect.cleandoc(vars(cls).get("__doc__") or "") for cls in own)
