"""What a study is: a YAML file, or the same from the command line, checked before anything is
loaded or run.

A study is the product of its axes: samplers × grids × guidance × budgets × seeds × the values of
its parameters. ``blocks`` are several such products in one study; a block overrides the axes that
it names.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from .extras import BaseModel, ConfigDict, Field, field_validator, model_validator

Value = int | float | str
Dtype = Literal["float32", "bf16", "fp16"]
_WHOLE = re.compile(r"[+-]?\d+")


class Section(BaseModel):
    """A part of the file: unknown names are refused, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def split_outside(text: str, separators: str) -> list[str]:
    """``text`` cut at separators that stand outside of brackets: ``"ddim, loglinear(start=40,
    last=1)"`` has two."""
    parts, depth, begin = [], 0, 0
    for at, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if char in separators and depth == 0:
            parts.append(text[begin:at])
            begin = at + 1
    return [part.strip() for part in (*parts, text[begin:]) if part.strip()]


class Axes(Section):
    """One product of axes. Texts may hold ``{name}``, which runs over the values of that parameter.

    ``samplers`` are recipes; ``"ge @ loglinear"`` fixes the grid of one. ``grids`` are grids
    (``usual``: each recipe's own). ``nfe`` are budgets in network evaluations, ``steps`` plain step
    counts; a block has one of them. ``guidance`` is ``none`` or what
    :func:`diffdescent.guidance.apply_guidance` reads. ``labels``: ``none``, ``cycle`` (sample i
    gets class i mod the number of classes), or a list of names or numbers, repeated over the
    samples. ``name`` stands before the sampler in tables.
    """

    name: str | None = None
    samplers: tuple[str, ...] | None = None
    grids: tuple[str, ...] | None = None
    nfe: tuple[int, ...] | None = None
    steps: tuple[int, ...] | None = None
    guidance: tuple[str, ...] | None = None
    labels: str | None = None
    seeds: tuple[int, ...] | None = None
    parameters: dict[str, tuple[Value, ...]] | None = None

    @field_validator("samplers", "guidance", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        return tuple(split_outside(value, ";")) if isinstance(value, str) else value

    @field_validator("samplers", "guidance")
    @classmethod
    def _apart(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        wrong = next((text for text in value or () if len(split_outside(text, ",")) > 1), None)
        if wrong is not None:
            parts = "; ".join(split_outside(wrong, ","))
            raise ValueError(f"{wrong!r} is not one; write ; between several: {parts!r}")
        return value

    @field_validator("grids", mode="before")
    @classmethod
    def _grids(cls, value: Any) -> Any:
        return tuple(split_outside(value, ";,")) if isinstance(value, str) else value

    @field_validator("nfe", "steps", "seeds", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        if isinstance(value, str):
            parts = tuple(split_outside(value, ","))
            wrong = next((part for part in parts if not _WHOLE.fullmatch(part)), None)
            if wrong is not None:
                raise ValueError(f"write whole numbers, such as 5,10, not {wrong!r}")
            return parts
        return (value,) if isinstance(value, int) else value

    @field_validator("labels", mode="before")
    @classmethod
    def _labels(cls, value: Any) -> Any:
        return ",".join(map(str, value)) if isinstance(value, list) else value

    @field_validator("samplers", "grids", "nfe", "steps", "guidance", "seeds")
    @classmethod
    def _filled(cls, value: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        if value is not None and not value:
            raise ValueError("an axis needs at least one value")
        return value

    @field_validator("nfe", "steps")
    @classmethod
    def _positive(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and min(value) < 1:
            raise ValueError("budgets and step counts are at least 1")
        return value

    @field_validator("seeds")
    @classmethod
    def _keys(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and not all(0 <= seed < 2**64 for seed in value):
            raise ValueError("seeds are whole numbers from 0 to 2^64 − 1")
        return value

    @model_validator(mode="after")
    def _one_budget(self) -> Axes:
        if self.nfe is not None and self.steps is not None:
            raise ValueError("give nfe or steps, not both")
        return self


class Line(Section):
    """One row of a published table: its name, which of our cells stand next to it, and a value for
    each column."""

    name: str
    cells: dict[str, Value] | None = None
    values: tuple[float | None, ...]


class Published(Section):
    """A published table. ``by`` says what its columns are: ``metric``, ``nfe``, ``steps``, ``seed``
    or a parameter.

    With another ``by`` than ``metric``, ``metric`` is ours that stands next to all of it. A line's
    ``cells`` select our cells by any column of the tidy table, and so do the table's own ``cells``,
    which hold for every line; a line without any has no counterpart here.
    """

    table: str
    setting: str = ""
    metric: str | None = None
    by: str
    columns: tuple[Value, ...]
    shown: tuple[str, ...] | None = None
    cells: dict[str, Value] = Field(default_factory=dict)
    rows: tuple[Line, ...]

    @model_validator(mode="after")
    def _complete(self) -> Published:
        for row in self.rows:
            if len(row.values) != len(self.columns):
                raise ValueError(
                    f"row {row.name!r} has {len(row.values)} values for {len(self.columns)} columns"
                )
        if self.shown is not None and len(self.shown) != len(self.columns):
            raise ValueError(
                f"{len(self.shown)} column titles are shown for {len(self.columns)} columns"
            )
        if self.by != "metric" and self.metric is None:
            raise ValueError("a table whose columns are not metrics names its metric")
        return self


class Contrast(Section):
    """Two methods to compare: each selects cells by columns of the tidy table, such as ``template``
    or ``sampler``.

    Cells of the two that are equal in everything else are compared by paired differences, and so
    are the best ones.
    """

    name: str
    of: dict[str, Value]
    against: dict[str, Value]


class StudyConfig(Axes):
    """A whole study.

    ``n`` images for each cell and seed, in shards of ``shard`` samples. ``reference`` is what
    ``evaluate`` reads; ``features`` the extractor with its ``resize`` protocol. ``images`` are kept
    of each cell for the sample sheets. ``dtype`` is that of the network, ``micro_batch`` its width,
    ``threads`` PyTorch's, both part of what makes images bit-identical. ``metrics`` default to
    ``rmse`` on exact models without a reference, else fd, precision and recall. ``solution`` is how
    many levels the model's own solution has, which the metrics ``solution_…`` compare with,
    ``prompts`` the file of a text-to-image pipeline's.
    ``changes`` says
    what else than its file a study measures (:func:`load_study` fills it in), each as "steps = 50
    in place of 250".
    """

    title: str = "Comparison"
    mirrors: str = ""
    about: str = ""
    model: str = "cifar10"
    prompts: str | None = None
    samplers: tuple[str, ...] | None = None
    n: int = Field(default=1000, ge=1, le=10_000_000)
    shard: int = Field(default=128, ge=1)
    images: int = Field(default=16, ge=0)
    batch_size: int = Field(default=64, ge=1)
    micro_batch: int | None = Field(default=None, ge=1)
    dtype: Dtype = "float32"
    device: str = "cpu"
    threads: int = Field(default=1, ge=1)
    reference: str | None = None
    features: str = "cifar10-features"
    resize: str = "clean"
    metrics: tuple[str, ...] | None = None
    solution: int = Field(default=64, ge=8)
    resamples: int = Field(default=200, ge=0)
    blocks: tuple[Axes, ...] = ()
    published: tuple[Published, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    changes: tuple[str, ...] = ()

    @field_validator("resamples")
    @classmethod
    def _spread(cls, value: int) -> int:
        if value == 1:
            raise ValueError("intervals need at least 2 random halves, or 0 for none")
        return value

    @field_validator("metrics", mode="before")
    @classmethod
    def _metrics(cls, value: Any) -> Any:
        return tuple(split_outside(value, ",;")) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _samplers_and_budgets(self) -> StudyConfig:
        for number, block in enumerate(self.products):
            where = f"blocks.{number}" if self.blocks else "the study"
            if block.samplers is None:
                raise ValueError(f"{where} names no samplers")
            if block.nfe is None and block.steps is None:
                raise ValueError(f"{where} names neither nfe nor steps")
        return self

    @property
    def products(self) -> tuple[Axes, ...]:
        """The products whose union the study is: its blocks, each with the study's axes where it
        names none."""
        shared = {name: getattr(self, name) for name in Axes.model_fields if name != "name"}
        if not self.blocks:
            return (Axes(**shared),)
        return tuple(_filled_in(block, shared) for block in self.blocks)


def _filled_in(block: Axes, shared: dict[str, Any]) -> Axes:
    own = {k: v for k, v in block.model_dump().items() if v is not None}
    if "nfe" in own or "steps" in own:
        shared = {k: v for k, v in shared.items() if k not in ("nfe", "steps")}
    own["parameters"] = {**(shared.get("parameters") or {}), **own.get("parameters", {})} or None
    return Axes(**{**shared, **own})
