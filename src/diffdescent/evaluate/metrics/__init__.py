"""The metrics that come with the package, a file each; a new one is one more line here."""

from ..metric import register
from .agreement import AGREEMENT
from .frechet import FRECHET, SPATIAL_FRECHET
from .inception_score import INCEPTION_SCORE
from .kid import KERNEL
from .precision_recall import PRECISION, RECALL

BUILT_IN = (
    FRECHET,
    SPATIAL_FRECHET,
    INCEPTION_SCORE,
    AGREEMENT,
    PRECISION,
    RECALL,
    KERNEL,
)
"""In the order in which they are shown."""

for _metric in BUILT_IN:
    register(_metric)
