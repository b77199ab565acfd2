"""Study files: one is read and checked, with the values that the command line replaces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffdescent.base.errors import UserError, unknown
from diffdescent.base.yaml_text import read_yaml

from .config import Axes, StudyConfig
from .extras import ValidationError


def make_study(values: dict[str, Any], where: str = "The study") -> StudyConfig:
    """A checked study from plain values.

    Args:
        values: the entries of a study file.
        where: what messages call the study.

    Returns:
        The checked study.

    Raises:
        UserError: it names every wrong or missing entry.
    """
    try:
        return StudyConfig.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_problem(e["loc"], e["msg"], e["type"]) for e in error.errors())
        raise UserError(f"{where} cannot be run: {problems}. See docs/studies.md.") from None


def _problem(place: tuple[int | str, ...], message: str, kind: str) -> str:
    name = ".".join(str(part) for part in place)
    block = place[:1] == ("blocks",) and len(place) == 3
    if kind == "extra_forbidden" and (len(place) == 1 or block):
        *way, last = map(str, place)
        known = Axes.model_fields if block else StudyConfig.model_fields
        text = str(unknown("entry", last, known)).rstrip(".")
        return f"{'.'.join(way)}{': ' if way else ''}{text[0].lower()}{text[1:]}"
    text = message.removeprefix("Value error, ")
    return f"{name}: {text[0].lower()}{text[1:]}" if name else text


def load_study(path: str | Path, overrides: dict[str, Any] | None = None) -> StudyConfig:
    """Read a study file; ``overrides`` replace its entries, by name or by path: ``blocks.0.steps``,
    counted from 0.

    The study's ``changes`` say which of them change what is measured.

    Args:
        path: a YAML file.
        overrides: entries by name or path, and their values.

    Returns:
        The checked study.

    Raises:
        UserError: a file that is missing, no YAML, or no study, and a path that does not lead into
            it.
    """
    path = Path(path)
    values = read_yaml(path, "study file")
    if not isinstance(values, dict):
        raise UserError(
            f"{path} holds no study; expected YAML with model:, samplers: and nfe:, as in"
            " docs/studies.md."
        )
    changes = []
    for name, value in (overrides or {}).items():
        before = _replace(values, name, value, path)
        if before not in (None, value, [value]) and name.rpartition(".")[2] in _MEASURED:
            changes.append(f"{name} = {_text(value)} in place of {_text(before)}")
    return make_study({**values, "changes": changes}, str(path))


_MEASURED = {*Axes.model_fields, "n", "model", "dtype", "features", "resize", "metrics"}
"""Entries that change what a study measures; the others only where it runs and what it shows."""


def _replace(values: dict[str, Any], name: str, value: Any, path: Path) -> Any:
    """Put ``value`` at ``name`` ("blocks.0.steps"); what stood there, the study's default where
    nothing did."""
    *way, last = name.split(".")
    place: Any = values
    try:
        for part in way:
            place = place[int(part)] if isinstance(place, list) else place[part]
        if not isinstance(place, dict):
            raise KeyError(last)
    except (KeyError, ValueError, IndexError, TypeError):
        raise UserError(
            f"{path} has no entry {name}; write one that is in the file, or an entry of the whole"
            " study, such as steps."
        ) from None
    default = StudyConfig.model_fields[name].default if name in StudyConfig.model_fields else None
    before = place.get(last, default)
    place[last] = value
    return before


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
