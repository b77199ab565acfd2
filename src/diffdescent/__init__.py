"""diffdescent: diffusion sampling as optimization.

The names of daily work::

    import diffdescent as dd
    model = dd.load_model("cifar10-mixture")
    result = dd.sample(model, "ge(gamma=2)", steps=10, grid="loglinear", n=16, seed=0)
    recipe = dd.sampler("ge") | dd.momentum(-0.3)
    latents = dd.invert(model, result.images, "ddim", steps=50)
    table = dd.effective_weights(recipe, dd.grid("loglinear", model.process, 10)).table()
"""

from diffdescent.base.errors import UserError
from diffdescent.base.version import __version__
from diffdescent.core.executor import Executor, Query
from diffdescent.core.grid import Grid
from diffdescent.core.model_info import ModelInfo
from diffdescent.core.plan import Plan
from diffdescent.core.predict import EDM, Network, Prediction, Predictor
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
from diffdescent.doors import open_doors
from diffdescent.models import load_model
from diffdescent.run import Progress, Result, invert, sample

open_doors()

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
    "Result",
    "UserError",
    "VPContinuous",
    "__version__",
    "dynamic_threshold",
    "effective_weights",
    "gradient_estimation",
    "grid",
    "invert",
    "load_model",
    "momentum",
    "monitor",
    "pnm",
    "sample",
    "sampler",
    "threshold",
]
