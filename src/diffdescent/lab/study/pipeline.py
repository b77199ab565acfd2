"""A study from its start, or from wherever it stands, to its report."""

from __future__ import annotations

from pathlib import Path

from . import report, runner, shards
from .config import StudyConfig
from .gather import Results, Scoring, gather, read_reference


def execute(
    config: StudyConfig,
    out: Path,
    *,
    watch: runner.Watch | None = None,
    scoring: Scoring | None = None,
    ray: bool = False,
    address: str | None = None,
    workers: int | None = None,
) -> Results:
    """Run what is missing in ``out``, score it, and write table.parquet, table.csv, report.html and
    report.md.

    Stop it at any moment and call it again, on this machine or another one with the same versions:
    the result is that of an uninterrupted run. ``ray`` runs on Ray (:mod:`.ray_runner`), on the
    cluster at ``address`` or on ``workers`` processors of this machine.

    Args:
        config: what to compute.
        out: the study's folder, new or to be continued.
        watch: called as the runs go on.
        scoring: called as the scoring goes on.
        ray: whether to run on Ray.
        address: of a Ray cluster; None starts one on this machine.
        workers: processors that Ray may take here; None takes all.

    Returns:
        The :class:`Results`: ``.frame`` is a polars table with a row for each cell and metric.

    Raises:
        UserError: bad input; what was computed stays.
    """
    study = runner.prepare(config, out)
    todo = shards.missing(study.tasks, out)
    reference = read_reference(study) if todo else None
    if ray:
        from . import ray_runner

        ray_runner.run(study, todo, watch, address=address, workers=workers)
    else:
        runner.run(study, todo, watch)
    results = gather(study, scoring, reference)
    report.write(results)
    return results
