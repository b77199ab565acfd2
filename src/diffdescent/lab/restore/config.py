"""What is restored: the problems, the methods, and how many images and samples; from the command
line or a YAML file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar

from diffdescent.base.errors import UserError, unknown
from diffdescent.base.hashes import json_hash
from diffdescent.base.yaml_text import read_yaml
from diffdescent.core.operators import parse_operator
from diffdescent.core.options import Filled, In, Options
from diffdescent.guidance.restoration import parse_method

Count = Annotated[int, In(1)]
Noise = Annotated[float, In(0, ends="[)", hint="in units of y, for images in [−1, 1]")]


@dataclass(frozen=True)
class RestoreConfig(Options):
    """The product operators × noise × nfe × methods, for the same images.

    ``count`` images (None: all), ``n`` samples of each. ``micro_batch`` is the network's width,
    ``threads`` PyTorch's: part of what makes an image the same. Raises :class:`UserError` for
    texts that name no operator or method.
    """

    model: str
    operators: Annotated[tuple[str, ...], Filled("name at least one operator")]
    methods: Annotated[tuple[str, ...], Filled("name at least one method")]
    noise: Annotated[tuple[Noise, ...], Filled("0 is no noise")] = (0.0,)
    nfe: Annotated[tuple[Count, ...], Filled("20 evaluations, for example")] = (20,)
    n: Count = 1
    count: Count | None = None
    seed: int = 0
    sampler: str | None = None
    grid: str | None = None
    guidance: str | None = None
    label: str | None = None
    micro_batch: Count = 4
    device: str = "cpu"
    threads: Count = 1
    about: str = ""
    name: ClassVar[str] = "restore"

    def check_together(self) -> None:
        for text in self.operators:
            parse_operator(text)
        for text in self.methods:
            parse_method(text, self.sampler)

    def cells(self) -> Iterator[Cell]:
        """Every combination, problems outside and methods inside."""
        for operator, noise, nfe, method in itertools.product(
            self.operators, self.noise, self.nfe, self.methods
        ):
            yield Cell(operator, noise, nfe, method)


@dataclass(frozen=True)
class Cell:
    """One method on one problem at one budget."""

    operator: str
    noise: float
    nfe: int
    method: str

    @property
    def key(self) -> str:
        """The name of its folder: a readable part and a hash."""
        words = "".join(c if c.isalnum() else "-" for c in self.method)[:24].strip("-")
        return f"{words}-{json_hash([self.operator, self.noise, self.nfe, self.method], 8)}"


def read_config(path: Path, overrides: Mapping[str, Any]) -> RestoreConfig:
    """The configuration in a YAML file, ``overrides`` in place of its entries.

    Raises :class:`UserError` for a file that is no such configuration.
    """
    found = read_yaml(path, "restoration study")
    if not isinstance(found, dict):
        raise UserError(f"{path} must hold a mapping: model, operators, methods and so on.")
    known = [field.name for field in fields(RestoreConfig)]
    for key in found:
        if key not in known:
            raise unknown(f"entry of {path}:", key, known)
    for key in ("model", "operators", "methods"):
        if key not in {**found, **overrides}:
            raise UserError(f"{path} does not say its {key}; add the entry.")
    return RestoreConfig(**{**found, **overrides})
