"""Conflict analysis: runs a guided sampler and records how the parts of its steps lie to each
other.

What is recorded is the 6 × 6 Gram matrix of each step and sample, of the three parts before and
after PxP's projections, on the device; it is read once for every 16 samples, after their last step.
Under ``pxp_free``, which acts on estimates of x0, it is that of each evaluation.
:mod:`.table` makes figures of it.
"""

from .measure import CHUNK, Analysis, analysis, conflicts
from .recorder import FreeRecorder, Recorder, gram, rule_of, with_recorder
from .table import ConflictTable

__all__ = [
    "CHUNK",
    "Analysis",
    "ConflictTable",
    "FreeRecorder",
    "Recorder",
    "analysis",
    "conflicts",
    "gram",
    "rule_of",
    "with_recorder",
]
