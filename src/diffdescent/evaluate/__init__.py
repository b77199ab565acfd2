"""Judging images: features, distances to a reference with intervals, and errors on exact models.

from diffdescent.evaluate import extract, load_extractor, read_reference, score

extractor = load_extractor("cifar10-features")
reference = read_reference("photos.zip", extractor)
scores = score(extract(extractor, images), reference, ["fd", "precision", "recall"])
"""

from .exact_errors import rmse_score, score_exact, swd_score
from .extractors import ModuleExtractor, load_extractor
from .features import Extractor, Features, extract, join
from .frechet import frechet_distance
from .metric import ALIASES, METRICS, Metric, Task, Values, metric_name, register
from .metrics import BUILT_IN
from .moments import Moments, RunningMoments, moments_of
from .reference import Reference, make_reference, read_reference, summarise, write_statistics
from .resize import RESIZES
from .scored import Score
from .scores import check_against, possible, score
from .wasserstein import rmse, sliced_wasserstein

__all__ = [
    "ALIASES",
    "BUILT_IN",
    "METRICS",
    "RESIZES",
    "Extractor",
    "Features",
    "Metric",
    "ModuleExtractor",
    "Moments",
    "Reference",
    "RunningMoments",
    "Score",
    "Task",
    "Values",
    "check_against",
    "extract",
    "frechet_distance",
    "join",
    "load_extractor",
    "make_reference",
    "metric_name",
    "moments_of",
    "possible",
    "read_reference",
    "register",
    "rmse",
    "rmse_score",
    "score",
    "score_exact",
    "sliced_wasserstein",
    "summarise",
    "swd_score",
    "write_statistics",
]
