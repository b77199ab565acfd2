"""Which sampler to take: a sentence for each budget, and the lines to copy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffdescent.base.extensions import IMPORTED
from diffdescent.base.shell import command_line
from diffdescent.base.words import counted
from diffdescent.core.model_info import info
from diffdescent.core.recipe import default_grid, parse, parse_grid
from diffdescent.evaluate.half_sampling import LEAST
from diffdescent.evaluate.own_solution import OWN

from .cells import NONE
from .metrics import title
from .summary import Line, Ranked, metrics_in, ranked

if TYPE_CHECKING:
    from .gather import Results

MOST = 3
"""A sentence names at most so many samplers that cannot be told from the best."""
ENOUGH = 64
"""Images that a sentence asks for at least, where more may decide."""
_HOLM = (
    " An interval is of one difference alone; with all comparisons of the table taken together"
    " (Holm, 5 %) also one that leaves out 0 may not be decided."
)


@dataclass(frozen=True)
class Recommendation:
    """The best sampler at one budget.

    ``alike`` are those that cannot be told from it, ``sentence`` says so, and the lines make images
    with it: on the command line, in Python, in a diffusers pipeline. A model that was given in
    Python has the second line alone, and there is none where the model's own solution is not known
    well enough to recommend anything.
    """

    evaluations: int
    sampler: str
    grid: str | None
    steps: int
    alike: tuple[str, ...]
    sentence: str
    cli: str | None
    python: str | None
    diffusers: str | None

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """Where each line is for, and the line."""
        lines = (
            ("Command line", self.cli),
            ("Python", self.python),
            ("diffusers", self.diffusers),
        )
        return tuple((place, line) for place, line in lines if line is not None)


def recommendations(results: Results) -> list[Recommendation]:
    """One for each budget, by the study's first metric; none where that is not a distance to the
    model's own solution.

    Args:
        results: of a study.

    Returns:
        The recommendations, by budget.
    """
    metric = next(iter(metrics_in(results.lines)), "")
    if metric not in OWN:
        return []
    by_budget: dict[int, list[Ranked]] = {}
    for one in ranked(results.lines, metric):
        by_budget.setdefault(one.line.budget, []).append(one)
    return [_of(results, budget, found, metric) for budget, found in by_budget.items()]


def _of(results: Results, budget: int, found: Sequence[Ranked], metric: str) -> Recommendation:
    best, others = found[0].line, found[1:]
    alike = [one for one in others if one.tied or _unjudged(one)]
    columns = best.columns
    recipe = parse(columns["sampler"])
    process = results.study.worker.model.process
    usual = columns["grid"] == default_grid(recipe, process)
    grid = None if usual else str(columns["grid"])
    label = _label(str(columns["labels"]))
    columns = {**columns, "label": label}
    study = results.study
    in_python = study.given and study.config.prompts is None
    piped = not in_python or info(study.worker.model).decode is not None
    advised = not _unknown(results, best, metric)
    return Recommendation(
        budget,
        str(columns["sampler"]),
        grid,
        int(columns["steps"]),
        tuple(_called(one.line, results) for one in alike),
        _sentence(results, budget, found[0], others, metric),
        _cli(results, columns, grid) if advised and not in_python else None,
        _python(results, columns, grid) if advised else None,
        _diffusers(results, columns) if advised and piped else None,
    )


def _sentence(
    results: Results, budget: int, best: Ranked, others: Sequence[Ranked], metric: str
) -> str:
    name, value = _called(best.line, results), best.line.metrics[metric]
    where = f"At {counted(budget, 'evaluation')}{_labels(results, best.line)}"
    begin = f"{where} take {name}: {title(metric)} {value}"
    if _unknown(results, best.line, metric):
        return (
            f"{where} nothing is recommended: {name} is nearest to the model's own solution, at"
            f" {value}, but that is known to {results.unknown:.2g} only. A model that diverges, or"
            " answers one question in two ways (dropout: call .eval()), has none."
        )
    if not others:
        return f"{begin}; nothing else was measured."
    if any(_unjudged(one) for one in others):
        return (
            f"{where} {name} has the least {title(metric)}, {value}, but {_no_interval(results)}."
        )
    alike = [one for one in others if one.tied]
    if not alike:
        second = others[0]
        return (
            f"{begin}, less than that of {_called(second.line, results)}, the next best, by"
            f" {second.behind}."
        )
    named = [f"{_called(one.line, results)} (by {one.behind})" for one in alike[:MOST]]
    more = f" and {len(alike) - MOST} more" if len(alike) > MOST else ""
    return (
        f"{begin}, but it cannot be told from {', '.join(named)}{more}: any of them will"
        f" do.{_HOLM if any(_apart(one) for one in alike[:MOST]) else ''}"
        f" More images may decide ({_more(results.study.config.n)})."
    )


def _unknown(results: Results, best: Line, metric: str) -> bool:
    """Whether the own solution is known to no better than half the distance to it."""
    value = best.metrics[metric].value
    return metric == "solution_rmse" and results.unknown > value / 2


def _unjudged(one: Ranked) -> bool:
    """Whether its difference from the best is a number without an interval."""
    return one.behind.value != 0 and math.isfinite(one.behind.value) and not one.behind.known


def _apart(one: Ranked) -> bool:
    """Whether the interval of its difference leaves out 0."""
    return one.behind.low > 0


def _no_interval(results: Results) -> str:
    """Why there are no intervals, and how to get them."""
    config = results.study.config
    if config.n < LEAST:
        return (
            f"{config.n} images are too few for an interval, so no winner is named; ask for at"
            f" least {LEAST}, better {ENOUGH} (--n {ENOUGH}, n={ENOUGH} in Python)"
        )
    return (
        "there are no intervals, so no winner is named; ask for them (--resamples 200,"
        " resamples=200 in Python)"
    )


def _more(n: int) -> str:
    count = max(ENOUGH, 4 * n)
    return f"--n {count}, n={count} in Python"


def _labels(results: Results, line: Line) -> str:
    """Which labels the samples had, where the model knows some and prompts do not say more."""
    known = info(results.study.worker.model)
    named = known.conditional and results.study.config.prompts is None
    return f" (labels: {line.columns['labels']})" if named else ""


def _called(line: Line, results: Results) -> str:
    """The sampler, and its grid where that is not its own."""
    sampler, grid = str(line.columns["sampler"]), str(line.columns["grid"])
    process = results.study.worker.model.process
    return sampler if grid == default_grid(parse(sampler), process) else f"{sampler} on {grid}"


def _cli(results: Results, columns: dict[str, Any], grid: str | None) -> str:
    prompts = results.study.config.prompts
    imported = [word for name in IMPORTED for word in ("--import", name)]
    words = ["diffdescent", *imported, "sample", results.study.config.model]
    words += [] if prompts is None else ["--prompts", prompts, *_pipeline(results, columns)]
    words += ["--sampler", str(columns["sampler"])]
    words += ["--steps", str(columns["steps"])]
    words += [] if grid is None else ["--grid", grid]
    words += [] if columns["guidance"] == NONE else ["--guidance", str(columns["guidance"])]
    words += [] if prompts or columns["label"] is None else ["--labels", columns["label"]]
    return command_line(words)


def _pipeline(results: Results, columns: dict[str, Any]) -> list[str]:
    """What the pipeline was asked for beside its prompts; without its own guidance under this
    library's."""
    options: dict[str, Any] = getattr(results.study.worker.model, "options", {})
    inside = columns["guidance"] == NONE
    return [
        word
        for key, value in sorted(options.items())
        if inside or key != "guidance_scale"
        for word in (f"--{key.replace('_', '-')}", str(value))
    ]


def _python(results: Results, columns: dict[str, Any], grid: str | None) -> str:
    if results.study.config.prompts is not None:
        return "no line: dd.load_model does not read a text-to-image folder; use its pipeline"
    model = "model" if results.study.given else repr(results.study.config.model)
    options = [f"steps={columns['steps']}"]
    options += [] if grid is None else [f"grid={grid!r}"]
    options += [] if columns["guidance"] == NONE else [f"guidance={columns['guidance']!r}"]
    options += [] if columns["label"] is None else [f"labels={columns['label']!r}"]
    return f"dd.sample({model}, {columns['sampler']!r}, {', '.join(options)})"


def _label(labels: str) -> str | None:
    """The labels as a run takes them."""
    return None if labels == NONE else labels


def _diffusers(results: Results, columns: dict[str, Any]) -> str:
    """The grid is written unless the sampler's name implies it: without it a scheduler lays out
    its config's own levels."""
    if columns["guidance"] != NONE:
        return "no line: a pipeline has its own guidance; set it there, as docs/diffusers.md says"
    recipe, process = parse(columns["sampler"]), results.study.worker.model.process
    levels = parse_grid(columns["grid"], process, columns["steps"])
    if recipe.plan(levels).start:
        return (
            "no line: a pipeline asks the network before this sampler could scale the start; fit"
            " one with diffdescent calibrate --plain-start"
        )
    implied = columns["grid"] == recipe.grid
    given = f"recipe={columns['sampler']!r}" + ("" if implied else f", grid={columns['grid']!r}")
    fewer = "" if levels.steps == columns["steps"] else f", of which {levels.steps} are run"
    return (
        f"pipe.scheduler = DescentScheduler.from_config(pipe.scheduler.config, {given})"
        f"  # num_inference_steps={columns['steps']}{fewer}"
    )


def as_json(results: Results) -> dict[str, Any]:
    """What a program wants of a study's results: recommendations, the table, notes, the report.

    Args:
        results: of a study.

    Returns:
        Plain data that JSON can hold.
    """
    from .report.sections import notes

    rows = [
        {
            **line.columns,
            "metrics": {name: found.to_json() for name, found in line.metrics.items()},
            "seconds_per_image": line.seconds,
        }
        for line in results.lines
    ]
    best = [
        {
            "evaluations": one.evaluations,
            "sampler": one.sampler,
            "grid": one.grid,
            "steps": one.steps,
            "alike": list(one.alike),
            "sentence": one.sentence,
            "lines": {"cli": one.cli, "python": one.python, "diffusers": one.diffusers},
        }
        for one in recommendations(results)
    ]
    return {
        "model": results.study.config.model,
        "recommendations": best,
        "table": rows,
        "notes": notes(results),
        "report": str(results.study.out / "report.html"),
    }
