"""diffdescent: diffusion sampling as optimization.

The names of daily work::

    import diffdescent as dd
    model = dd.load_model("cifar10-mixture")
    result = dd.sample(model, "ge(gamma=2)", steps=10, grid="loglinear", n=16, seed=0)
    recipe = dd.sampler("ge") | dd.momentum(-0.3)
    latents = dd.invert(model, result.images, "ddim", steps=50)
    table = dd.effective_weights(recipe, dd.grid("loglinear", model.process, 10)).table()

A name is imported at its first use (PEP 562), so that the command line can answer ``--help``
without PyTorch.
"""

from __future__ import annotations

import importlib

from diffdescent.base.version import __version__
from diffdescent.doors import open_doors

TYPE_CHECKING = False  # typing's own, without the import: this is on the way to every command
if TYPE_CHECKING:  # the table below again, for type checkers and editors
    from diffdescent.apps.comparing import compare
    from diffdescent.base.errors import UserError
    from diffdescent.core.executor import Executor, Query
    from diffdescent.core.grid import Grid
    from diffdescent.core.model_info import ModelInfo
    from diffdescent.core.network import EDM, Network
    from diffdescent.core.plan import Plan
    from diffdescent.core.predict import Prediction, Predictor
    from diffdescent.core.process import VE, VP, Flow, Point, VPContinuous
    from diffdescent.core.recipe import Recipe, sampler
    from diffdescent.core.recipe import parse_grid as grid
    from diffdescent.core.transforms import DynamicThreshold as dynamic_threshold
    from diffdescent.core.transforms import GradientEstimation as gradient_estimation
    from diffdescent.core.transforms import Momentum as momentum
    from diffdescent.core.transforms import Monitor as monitor
    from diffdescent.core.transforms import PositiveNegative as pnm
    from diffdescent.core.transforms import Threshold as threshold
    from diffdescent.core.weights import effective_weights
    from diffdescent.models import load_model
    from diffdescent.run import (
        Progress,
        Restored,
        Result,
        RunRecord,
        invert,
        repeat,
        restore,
        sample,
    )
    from diffdescent.run.calibrate import calibrate

open_doors()

_HOMES = {
    "EDM": "core.network:EDM",
    "VE": "core.process:VE",
    "VP": "core.process:VP",
    "Executor": "core.executor:Executor",
    "Flow": "core.process:Flow",
    "Grid": "core.grid:Grid",
    "ModelInfo": "core.model_info:ModelInfo",
    "Network": "core.network:Network",
    "Plan": "core.plan:Plan",
    "Point": "core.process:Point",
    "Prediction": "core.predict:Prediction",
    "Predictor": "core.predict:Predictor",
    "Progress": "run:Progress",
    "Query": "core.executor:Query",
    "Recipe": "core.recipe:Recipe",
    "Restored": "run:Restored",
    "Result": "run:Result",
    "RunRecord": "run:RunRecord",
    "UserError": "base.errors:UserError",
    "VPContinuous": "core.process:VPContinuous",
    "calibrate": "run.calibrate:calibrate",
    "compare": "apps.comparing:compare",
    "dynamic_threshold": "core.transforms:DynamicThreshold",
    "effective_weights": "core.weights:effective_weights",
    "gradient_estimation": "core.transforms:GradientEstimation",
    "grid": "core.recipe:parse_grid",
    "invert": "run:invert",
    "load_model": "models:load_model",
    "momentum": "core.transforms:Momentum",
    "monitor": "core.transforms:Monitor",
    "pnm": "core.transforms:PositiveNegative",
    "repeat": "run:repeat",
    "restore": "run:restore",
    "sample": "run:sample",
    "sampler": "core.recipe:sampler",
    "threshold": "core.transforms:Threshold",
}
"""Where each public name lives: a module of this package, and the name there."""

_LAYERS = ("base", "core", "models", "guidance", "run", "evaluate", "lab", "apps")

__all__ = [
    "EDM",
    "VE",
    "VP",
    "Executor",
    "Flow",
    "Grid",
    "ModelInfo",
    "Network",
    "Plan",
    "Point",
    "Prediction",
    "Predictor",
    "Progress",
    "Query",
    "Recipe",
    "Restored",
    "Result",
    "RunRecord",
    "UserError",
    "VPContinuous",
    "__version__",
    "calibrate",
    "compare",
    "dynamic_threshold",
    "effective_weights",
    "gradient_estimation",
    "grid",
    "invert",
    "load_model",
    "momentum",
    "monitor",
    "pnm",
    "repeat",
    "restore",
    "sample",
    "sampler",
    "threshold",
]

if not TYPE_CHECKING:  # a type checker that sees it believes in every name

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            module, _, attribute = _HOMES[name].partition(":")
            found = getattr(importlib.import_module(f"diffdescent.{module}"), attribute)
            globals()[name] = found
            return found
        if name in _LAYERS:
            return importlib.import_module(f"diffdescent.{name}")
        raise AttributeError(f"module 'diffdescent' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_LAYERS})
