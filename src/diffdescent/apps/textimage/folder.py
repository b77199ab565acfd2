"""Pipeline folders: what a folder is, its pipeline's class, and its files of weights."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffdescent.base.errors import UserError
from diffdescent.base.hashes import files_hash
from diffdescent.base.reading import read_json
from diffdescent.models import bundled


def is_pipeline(folder: Path) -> bool:
    """Whether a folder looks like a diffusers pipeline.

    Args:
        folder: on the local disk.

    Returns:
        Whether it has a ``model_index.json`` that names a pipeline.
    """
    return (folder / "model_index.json").is_file()


def wants_prompt(folder: Path) -> bool:
    """Whether a folder is a diffusers pipeline with something that reads text.

    Args:
        folder: on the local disk.

    Returns:
        Whether it reads text.
    """
    if not is_pipeline(folder):
        return False
    try:
        index = read_json(folder / "model_index.json")
    except UserError:
        return False
    return isinstance(index, dict) and any(
        names_part(index, part) for part in ("tokenizer", "text_encoder")
    )


def names_part(index: Mapping[str, Any], part: str) -> bool:
    """Whether a pipeline's index names a class for ``part``: a list of a library and a class."""
    entry = index.get(part)
    return isinstance(entry, list) and any(entry)


def pipeline_class(folder: Path, name: str) -> Any:
    """The class of a folder's pipeline, which takes prompts.

    Raises:
        UserError: another kind of model, a folder that is missing or damaged, and a pipeline that
            is not known or takes no prompt.
    """
    import diffusers

    if (
        name in bundled()
        or (folder.is_dir() and not is_pipeline(folder))
        or name.startswith("images:")
    ):
        raise UserError(
            f"{name!r} takes no prompt: only a diffusers pipeline folder (with model_index.json)"
            " does; leave it out, or give such a folder."
        )
    if not folder.is_dir():
        raise UserError(
            f"There is no folder {name!r}; a prompt needs a diffusers pipeline folder on this disk."
        )
    try:
        cls = read_json(folder / "model_index.json")["_class_name"]
    except (UserError, KeyError, TypeError, IndexError):
        raise UserError(
            f"{folder / 'model_index.json'} is damaged; expected JSON with _class_name."
        ) from None
    found = getattr(diffusers, str(cls), None)
    if found is None:
        raise UserError(
            f"{name!r} is a {cls}, which diffusers {diffusers.__version__} does not know; update"
            " diffusers."
        )
    if not isinstance(found, type) or "prompt" not in inspect.signature(found.__call__).parameters:
        raise UserError(
            f"{name!r} is a {cls}, which takes no prompt; leave it out (classes are chosen with"
            " --labels)."
        )
    return found


def further_encoders(cls: Any) -> set[str]:
    """The text encoders after the first that a pipeline has room for, and their tokenizers."""
    parts = inspect.signature(cls.__init__).parameters
    return {part for part in parts if part.startswith(("text_encoder_", "tokenizer_"))}


def weight_files(root: Path) -> list[Path]:
    """The files of weights in a folder, each kind in the order of their names."""
    return sorted(path for kind in ("safetensors", "bin") for path in root.rglob(f"*.{kind}"))


def fingerprint(weights: Sequence[Path]) -> str:
    """SHA-256 of the weight files: a run's record says which weights made it."""
    return files_hash(weights)[:16]
