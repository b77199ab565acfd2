"""Runs: a model, a recipe, a grid, and noise that belongs to each sample.

:func:`prepare` decides everything and gives a :class:`Run`; :func:`draw` makes its batches,
:func:`watch` shows every evaluation, :func:`sample` makes all of its images at once; its
:class:`RunRecord` is enough to :func:`repeat` it.
"""

from .inversion import invert
from .levels import from_level, initial_state, noise_for, resolve_grid
from .micro_batch import CPU_WIDTH, GPU_WIDTH, evaluate, micro_batch_width
from .prepared import NOISES, Run, noise_source
from .preparing import make_recipe, prepare
from .progress import Callback, Progress
from .record import RunRecord
from .repeating import repeat
from .restoring import Restored, prepare_restoration, restore
from .result import Result
from .sampling import Batch, collect, draw, sample, watch

__all__ = [
    "CPU_WIDTH",
    "GPU_WIDTH",
    "NOISES",
    "Batch",
    "Callback",
    "Progress",
    "Restored",
    "Result",
    "Run",
    "RunRecord",
    "collect",
    "draw",
    "evaluate",
    "from_level",
    "initial_state",
    "invert",
    "make_recipe",
    "micro_batch_width",
    "noise_for",
    "noise_source",
    "prepare",
    "prepare_restoration",
    "repeat",
    "resolve_grid",
    "restore",
    "sample",
    "watch",
]
