"""diffdescent: diffusion sampling as optimization.

The names of daily work::

    import diffdescent as dd
    model = dd.load_model("cifar10-mixture")
    result = dd.sample(model, "ge(gamma=2)", steps=10, grid="loglinear", n=16, seed=0)
    recipe = dd.sampler("ge") | dd.momentum(-0.3)
    latents = dd.invert(model, result.images, "ddim", steps=50)
    table = dd.effective_weights(recipe, dd.grid("loglinear", model.process, 10)).table()
"""

from .errors import UserError
from .execute import Executor, Query
from .grid import Grid
from .models import load_model
from .plan import Plan
from .predict import EDM, Network, Prediction, Predictor
from .process import VE, VP, Flow, Point, VPContinuous
from .recipes import Recipe, sampler
from .recipes import parse_grid as grid
from .sample import Progress, Result, invert, sample
from .transforms import DynamicThreshold as dynamic_threshold
from .transforms import GradientEstimation as gradient_estimation
from .transforms import Momentum as momentum
from .transforms import Monitor as monitor
from .transforms import PositiveNegative as pnm
from .transforms import Threshold as threshold
from .weights import effective_weights

__version__ = "0.1.0"

__all__ = [
    "EDM",
    "VE",
    "VP",
    "Executor",
    "Flow",
    "Grid",
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
