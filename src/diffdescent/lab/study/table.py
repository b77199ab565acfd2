"""The tidy table: a row for each cell, seed and metric, as parquet and CSV."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffdescent.base.errors import UserError
from diffdescent.base.extensions import IMPORTED
from diffdescent.base.files import write_atomically
from diffdescent.base.shell import command_line
from diffdescent.core import recipe as recipes
from diffdescent.evaluate import Score
from diffdescent.evaluate.metric import full_name

from .cells import NONE, Cell
from .config import Value

if TYPE_CHECKING:
    import polars

    from .runner import Study


def command(study: Study, cell: Cell) -> str:
    """The command that makes this one cell, under the same protocol."""
    config = study.config
    if study.given and config.prompts is None:
        plan = f"nfe={cell.asked}" if cell.asked is not None else f"steps={cell.steps}"
        metrics = ",".join(map(full_name, study.metrics))
        chosen = {
            "guidance": None if cell.guidance == NONE else cell.guidance,
            "labels": None if cell.labels == NONE else cell.labels,
            "n": config.n,
            "seed": cell.seed,
            "reference": config.reference,
            "metrics": metrics,
            "features": config.features if study.worker.needs.features else None,
            "solution": config.solution if study.worker.needs.solution else None,
            "micro_batch": study.protocol["micro_batch"],
        }
        under = "".join(f", {key}={value!r}" for key, value in chosen.items() if value is not None)
        return f"dd.compare(model, {f'{cell.sampler} @ {cell.grid}'!r}, {plan}{under})"
    words: list[object] = [
        "diffdescent",
        *(word for name in IMPORTED for word in ("--import", name)),
        "compare",
        config.model,
        "--samplers",
        cell.sampler,
        "--grids",
        cell.grid,
    ]
    words += ["--nfe", cell.asked] if cell.asked is not None else ["--steps", cell.steps]
    words += ["--prompts", config.prompts] if config.prompts is not None else []
    if cell.guidance != NONE:
        words += ["--guidance", cell.guidance]
    if cell.labels != NONE:
        words += ["--labels", cell.labels]
    words += [
        "--seeds",
        cell.seed,
        "--n",
        config.n,
        "--metrics",
        ",".join(map(full_name, study.metrics)),
    ]
    if study.worker.needs.features:
        words += ["--features", config.features, "--resize", config.resize]
    if study.worker.needs.solution:
        words += ["--solution", config.solution]
    if study.protocol["reference"] is not None:
        words += ["--reference", config.reference]
    words += [
        "--micro-batch",
        study.protocol["micro_batch"],
        "--dtype",
        config.dtype,
        "--device",
        config.device,
    ]
    words += ["--threads", config.threads] if config.threads != 1 else []
    if study.worker.guided(cell.guidance, recipes.parse(cell.sampler))[1].whole_batch:
        words += ["--batch-size", config.batch_size, "--shard-size", config.shard]
    return command_line([*words, "--out", f"cell-{cell.key[:6]}"])


@dataclass(frozen=True)
class Scored:
    """One cell with its scores and its cost."""

    cell: Cell
    scores: tuple[Score, ...]
    seconds: float
    flops: float


def rows_of(study: Study, scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """A row for each score; each parameter of the study is a column."""
    return [
        {
            "study": study.config.title,
            "cell": one.cell.key,
            **one.cell.columns(),
            **{name: _number(dict(one.cell.parameters).get(name)) for name in study.parameters},
            "metric": score.metric,
            "value": score.value,
            "low": score.low if score.known else None,
            "high": score.high if score.known else None,
            "draws": score.draws,
            "n": score.count,
            "seconds_per_image": one.seconds,
            "flops_per_image": one.flops,
            "model": study.config.model,
            "protocol": study.protocol_hash,
            "metric_protocol": json.dumps(dict(score.protocol), sort_keys=True),
            **study.protocol["versions"],
            "command": command(study, one.cell),
        }
        for one in scored
        for score in one.scores
    ]


def tidy(rows: Sequence[dict[str, Any]]) -> polars.DataFrame:
    """The rows as a table, without the draws. Raises :class:`UserError` without polars."""
    try:
        import polars
    except ImportError:
        raise UserError(
            "Tables need polars; install it with: pip install 'diffdescent[evaluate]'."
        ) from None
    return polars.from_dicts(list(rows), infer_schema_length=None).drop("draws")


def _number(value: Value | None) -> Value | None:
    return float(value) if isinstance(value, int) else value


def write(frame: polars.DataFrame, out: Path) -> None:
    """table.parquet and table.csv, atomically."""
    parquet, text = io.BytesIO(), io.BytesIO()
    frame.write_parquet(parquet)
    frame.write_csv(text)
    write_atomically(out / "table.parquet", parquet.getvalue())
    write_atomically(out / "table.csv", text.getvalue())
