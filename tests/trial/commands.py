"""Every command with good arguments, and the kind of each of its options, from the registry."""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffdescent.apps.cli.commands import Commands
from diffdescent.apps.cli.lazy import LazyGroup, load

GOOD: dict[str, tuple[str, ...]] = {
    "sample": ("tiny", "--n", "2", "--steps", "2", "--out", "made"),
    "weights": ("ddim", "--steps", "3"),
    "grid": ("loglinear", "--steps", "3"),
    "explain": ("ddim", "--steps", "3"),
    "landscape": (
        "tiny", "--samplers", "ddim", "--steps", "3", "--around", "2", "--reference-steps", "4",
        "--counts", "none", "--out", "made",
    ),
    "list": (),
    "restore": (
        "tiny", "starts", "--operator", "blur(sigma=1)", "--noise", "0.05", "--method", "hqs",
        "--nfe", "3", "--n", "2", "--out", "made",
    ),
    "spectrum": ("tiny", "--out", "made.json"),
    "gamma": ("tiny", "--n", "4", "--out", "made.json"),
    "studio": (),
    "demo": ("--n", "1", "--out", "made"),
    "train": ("train.yaml", "--set", "out=made"),
    "convert": ("weights.pt", "--out", "made"),
    "condition": ("enlarger", "--images", "starts", "--out", "made"),
    "calibrate": (
        "tiny", "--out", "made.json", "--nfe", "3", "--trajectories", "8", "--held-out", "8",
        "--teacher", "12", "--bands", "1",
    ),
    "conflicts": (
        "net", "--guidance", "classifier(model='guide')", "--n", "2", "--sampler",
        "ddpm | threshold", "--steps", "3",
        "--out", "made",
    ),
    "evaluate": ("photos", "--reference", "photos.npz", "--resamples", "2"),
    "compare": (
        "tiny", "--samplers", "ddim; ge", "--nfe", "3", "--n", "4", "--resamples", "2", "--out",
        "made",
    ),
    "study": ("study.yaml", "--out", "made"),
    "peculiarity figures": ("--n", "4", "--out", "made.npz"),
    "peculiarity count": ("figures.npz",),
    "peculiarity clusters": ("poses.json", "--k", "2", "--out", "made.npz"),
    "peculiarity poses": ("poses.json",),
    "peculiarity perturb": ("poses.json", "--out", "made"),
    "peculiarity study": ("--n", "2", "--block", "2", "--steps", "2", "--teacher", "3", "--sampler",
                          "ddim", "--out", "made"),
    "peculiarity check": ("--n", "2", "--strength", "0", "--out", "made"),
    "peculiarity minima": ("--study", "done", "--most", "1", "--steps", "2"),
    "theory set": ("photos", "--out", "made"),
    "theory distance": ("photos", "photos.npz"),
    "theory error": ("tiny", "--n", "2", "--steps", "3", "--out", "made"),
    "theory ideal": ("images:photos", "--n", "2", "--steps", "3", "--out", "made"),
    "theory schedule": ("--eta", "0.1", "--nu", "2", "--steps", "3"),
    "theory constrained": ("--steps", "3", "--n", "2", "--out", "made"),
    "theory lowrank": ("--size", "8", "--steps", "3", "--n", "4", "--out", "made"),
}  # fmt: skip
"""Arguments that work, and take a second at most; a command that is missing is given none."""
INCOMPLETE = frozenset({"convert", "demo", "peculiarity minima", "studio"})
"""Commands whose good arguments need more than a second, or a large file: only refused here."""


@dataclass(frozen=True)
class Option:
    """An option or argument: ``flag`` is ``--name``, None for an argument; ``kind`` its type."""

    command: str
    name: str
    flag: str | None
    kind: type
    several: bool


def every_command() -> Iterator[tuple[str, Any]]:
    """Names of all commands, and their functions."""
    yield from _in(Commands, "")


def _in(group: type[LazyGroup], before: str) -> Iterator[tuple[str, Any]]:
    for name, entry in group.table.items():
        command = load(name, entry)
        if isinstance(command, LazyGroup):
            yield from _in(type(command), f"{name} ")
        else:
            module, _, attribute = entry.target.partition(":")
            package = importlib.import_module(f"diffdescent.apps.cli.{module}")
            yield f"{before}{name}", getattr(package, attribute)


def options(command: str, function: Any) -> list[Option]:
    """The options and arguments of a command."""
    found = []
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        hint, about = _described(parameter.annotation)
        several = typing.get_origin(hint) is list
        kind = typing.get_args(hint)[0] if several else hint
        argument = type(about).__name__ == "ArgumentInfo"
        declared = [d for d in getattr(about, "param_decls", None) or () if d.startswith("--")]
        flag = declared[0] if declared else f"--{name.replace('_', '-')}"
        found.append(Option(command, name, None if argument else flag, kind, several))
    return found


def _described(annotation: Any) -> tuple[Any, Any]:
    """The plain type within an annotation, and what Typer is given to it."""
    about = None
    if typing.get_origin(annotation) is typing.Annotated:
        annotation, *more = typing.get_args(annotation)
        about = more[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
    return annotation, about


def with_option(option: Option, value: str) -> list[str]:
    """The command's good arguments with this one of them changed."""
    words = list(GOOD.get(option.command, ()))
    if option.flag is None:
        place = _place(option)
        words[place : place + 1] = ["--", value] if value.startswith("-") else [value]
        if "--" in words:  # what follows is an argument: options first
            words = [*words[place + 2 :], *words[:place], *words[place : place + 2]]
    elif option.flag in words:
        words[words.index(option.flag) + 1] = value
    else:
        words += [option.flag, value]
    return [*option.command.split(), *words]


def _place(option: Option) -> int:
    return 1 if (option.command, option.name) == ("theory distance", "images") else 0


def made(folder: Path) -> list[Path]:
    """What the good arguments of a command make in a folder."""
    return [folder / name for name in ("made", "made.npz", "made.json") if (folder / name).exists()]
