"""Whether a pipeline folder holds the parts that its index names: the libraries make an empty
tokenizer of a missing one, which draws something without a word."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffdescent.base.errors import UserError

UNKNOWN = 10**9
"""A tokenizer says at least this where nothing tells it the longest text."""
_SETTINGS = frozenset({"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"})
"""Files of a tokenizer that are not its vocabulary."""


def require_folders(root: Path, index: Any) -> None:
    """Raise :class:`UserError` where the folder of a part that the index names is missing, or holds
    code."""
    if not isinstance(index, Mapping):
        return
    for part, entry in index.items():
        named = isinstance(entry, list) and [type(one) for one in entry] == [str, str]
        if not named or part.startswith("_"):
            continue
        if not (root / part).is_dir():
            raise _incomplete(root, f"the folder {part}")
        if (root / part / f"{entry[0]}.py").is_file():
            # Some versions of diffusers import such a file without asking.
            raise UserError(
                f"The pipeline {str(root)!r} has {part} computed by code of its own"
                f" ({part}/{entry[0]}.py), which is not run; give one that diffusers and"
                " transformers compute."
            )


def require_tokenizers(root: Path, pipe: Any) -> None:
    """Raise :class:`UserError` where a tokenizer of a loaded pipeline has no vocabulary, or nothing
    says how long its texts may be."""
    for part, tokenizer in pipe.components.items():
        if part.startswith("tokenizer") and tokenizer is not None and (root / part).is_dir():
            _require_tokenizer(root, part, tokenizer)


def _require_tokenizer(root: Path, part: str, tokenizer: Any) -> None:
    there = {path.name for path in (root / part).iterdir() if not path.name.startswith(".")}
    named = dict(getattr(tokenizer, "vocab_files_names", None) or {})
    if named and not there - _SETTINGS:
        raise _incomplete(root, f"the vocabulary in {part} ({' or '.join(sorted(named.values()))})")
    halves = {named[half] for half in ("vocab_file", "merges_file") if "merges_file" in named}
    if named.get("tokenizer_file") not in there and halves & there and halves - there:
        raise _incomplete(root, f"{part}/{min(halves - there)}")
    longest = getattr(tokenizer, "model_max_length", 0)
    if longest > UNKNOWN and "tokenizer_config.json" not in there:
        raise _incomplete(root, f"{part}/tokenizer_config.json")


def _incomplete(root: Path, what: str) -> UserError:
    return UserError(f"The pipeline {str(root)!r} lacks {what}; copy the whole folder again.")
