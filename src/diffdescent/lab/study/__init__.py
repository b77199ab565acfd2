"""Studies: samplers compared fairly — the same noise, budgets in network evaluations, intervals —
and resumably.

    from pathlib import Path
    from diffdescent.study import execute, load_study
    results = execute(load_study("studies/gamma.yaml", {"n": 200}), Path("results/gamma"))

:func:`execute` runs what is missing, scores it and writes the table and the report;
:func:`prepare`, :func:`run` and :func:`gather` are its parts. docs/studies.md explains studies,
their files and what they write.
"""

from .config import StudyConfig
from .gather import Results, gather, read_reference
from .pipeline import execute
from .recommendation import Recommendation, as_json, recommendations
from .report import html, markdown, terminal
from .runner import Study, prepare, run
from .shards import missing, share
from .study_files import load_study, make_study

__all__ = [
    "Recommendation",
    "Results",
    "Study",
    "StudyConfig",
    "as_json",
    "execute",
    "gather",
    "html",
    "load_study",
    "make_study",
    "markdown",
    "missing",
    "prepare",
    "read_reference",
    "recommendations",
    "run",
    "share",
    "terminal",
]
