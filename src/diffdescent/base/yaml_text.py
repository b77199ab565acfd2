"""YAML from files and from the command line, read in one place: plain values alone, of a size that
can be handled. Needs PyYAML (extras ``train`` and ``evaluate``)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from .errors import UserError
from .reading import read_text, reason

MOST = 100_000
"""Values in a document at most, repeated ones (``*name``) counted each time."""
DEEPEST = 50


def read_yaml(path: Path, what: str = "YAML file") -> Any:
    """The plain values in a YAML file. Raises :class:`UserError` for another file."""
    return parse_yaml(read_text(path, what), str(path))


def parse_yaml(text: str, where: str) -> Any:
    """The plain values that a YAML text describes: mappings with text as keys, lists, texts,
    numbers, true, false and null; ``where`` names the text.

    Raises :class:`UserError` for a text that does not parse, tags, dates, keys of another kind or
    given twice, and a document that is nested or repeated beyond measure.
    """
    try:
        import yaml
    except ImportError:
        raise UserError(
            "YAML needs PyYAML; install it with: pip install 'diffdescent[evaluate]'."
        ) from None
    if "\0" in text:
        raise UserError(f"{where} is not YAML: it holds a NUL character.")
    try:
        found = yaml.load(text, _loader())  # noqa: S506 - a safe loader, too
    except RecursionError:
        raise UserError(f"{where} is nested too deeply to be read as YAML.") from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise UserError(f"{where} is not YAML ({reason(error)}).") from None
    _check(found, where, 0, [0])
    return found


@lru_cache(maxsize=1)
def _loader() -> Any:
    """PyYAML's safe loader, which refuses a key that is given twice; its own keeps the last one."""
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)
            seen: set[str] = set()
            for key, value in node.value:
                if key.value == "<<" and isinstance(value, yaml.SequenceNode):
                    # Lists of lists of them would be expanded before anything can be counted.
                    raise ValueError("'<<' takes one mapping here, not a list; write them out")
                name = key.value if isinstance(key.value, str) else ""
                if name in seen:
                    raise ValueError(
                        f"the key {name[:40]!r} is given twice, the second time in line"
                        f" {key.start_mark.line + 1}; leave one of them out"
                    )
                seen.add(name)
            return node

    return Loader


def _check(value: Any, where: str, depth: int, seen: list[int]) -> None:
    """Raise unless these are plain values, and not too many."""
    seen[0] += 1
    if depth > DEEPEST or seen[0] > MOST:
        raise UserError(
            f"{where} is nested deeper than {DEEPEST} or holds more than {MOST} values; write them"
            " out plainly."
        )
    if isinstance(value, dict):
        for key, one in value.items():
            if not isinstance(key, str):
                raise UserError(
                    f"{where} has the key {str(key)[:40]}, which is not text; quote it."
                )
            _check(one, where, depth + 1, seen)
    elif isinstance(value, list):
        for one in value:
            _check(one, where, depth + 1, seen)
    elif isinstance(value, str):
        if "\0" in value:
            raise UserError(f"{where} holds a text with a NUL character; leave it out.")
    elif not isinstance(value, (bool, int, float, type(None))):
        raise UserError(
            f"{where} holds {str(value)[:40]}, a {type(value).__name__}; write it as text, in"
            " quotes."
        )
    elif isinstance(value, int) and value.bit_length() > 1024:
        raise UserError(f"{where} holds a number of more than 308 digits.")
