"""Prompts from files: a text, a JSON list, or COCO captions."""

from __future__ import annotations

from pathlib import Path

from diffdescent.base.errors import UserError
from diffdescent.base.reading import parse_json, read_text


def require_prompt(prompt: str) -> str:
    """The prompt. Raises :class:`UserError` for an empty one."""
    if not prompt.strip():
        raise UserError("--prompt is empty; say what to draw.")
    return prompt


def prompt_or_file(prompt: str | None, prompts: Path | None) -> list[str] | None:
    """The prompts of the file where there is one; None for a single prompt, or for none.

    Raises :class:`UserError` for both, an empty prompt, and what :func:`read_prompts` refuses.
    """
    if prompt is not None and prompts is not None:
        raise UserError("Give --prompt or --prompts, not both.")
    if prompt is not None:
        require_prompt(prompt)
    return None if prompts is None else read_prompts(prompts)


def read_prompts(path: Path) -> list[str]:
    """The prompts of a text file (one a line), a JSON list of them, or a COCO captions file
    (``annotations``).

    Empty lines are left out. Raises :class:`UserError` for a file that is missing, empty or none of
    these.
    """
    try:
        text = read_text(path)
    except UserError as error:
        raise UserError(
            f"The prompts file {path} cannot be read: {str(error).rstrip('.')}; give a text file or"
            " COCO captions."
        ) from None
    prompts = _captions(path, text) if path.suffix.lower() == ".json" else text.splitlines()
    found = [prompt.strip() for prompt in prompts if prompt.strip()]
    if not found:
        raise UserError(f"The prompts file {path} holds no prompt; write one a line.")
    return found


def _captions(path: Path, text: str) -> list[str]:
    data = parse_json(text, str(path))
    entries = data.get("annotations") if isinstance(data, dict) else data
    if not isinstance(entries, list):
        raise UserError(
            f"{path} holds no captions; expected COCO's annotations, or a JSON list of prompts."
        )
    prompts: list[str] = []
    for i, entry in enumerate(entries):
        prompt = entry.get("caption") if isinstance(entry, dict) else entry
        if not isinstance(prompt, str):
            raise UserError(
                f"Entry {i} of {path} has no caption; expected a text, or an object with a caption."
            )
        prompts.append(prompt)
    return prompts
