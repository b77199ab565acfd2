"""``diffdescent sample FOLDER --prompt``: text to image with any local diffusers pipeline."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import typer

from diffdescent.apps.textimage import load, read_prompts
from diffdescent.base.errors import UserError
from diffdescent.base.files import write_atomically
from diffdescent.base.images import read_image, save_png, sheet
from diffdescent.base.version import __version__
from diffdescent.run import make_recipe

from . import output
from .progress import Bar

SHEET_LIMIT = 64
"""A sheet shows at most this many images."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for. ``chosen`` are the images' indices, or None for ``n`` from
    the first on."""

    model: str
    prompt: str | None
    prompts: Path | None
    negative_prompt: str | None
    guidance_scale: float | None
    guidance: str | None
    width: int | None
    height: int | None
    sampler: str | None
    steps: int
    grid: str | None
    n: int | None
    chosen: Sequence[int] | None
    seed: int
    micro_batch: int | None
    device: str
    out: Path
    overwrite: bool
    quiet: bool
    as_json: bool


def run(asked: Request) -> None:
    """One image a prompt of the file, or ``n`` images of the one prompt: PNG files, a sheet and
    ``run.json``.

    An interrupted run is continued by the same command. Raises :class:`UserError` for bad input.
    """
    started = time.monotonic()
    if asked.prompt is not None and asked.prompts is not None:
        raise UserError("Give --prompt or --prompts, not both.")
    if asked.prompt is not None and not asked.prompt.strip():
        raise UserError("--prompt is empty; say what to draw.")
    texts = read_prompts(asked.prompts) if asked.prompts is not None else None
    chosen = _indices(asked, texts)
    prompts = {i: texts[i] if texts is not None else str(asked.prompt) for i in chosen}
    _hide_loading()
    model = load(
        asked.model,
        str(make_recipe(asked.sampler, asked.steps)) if asked.sampler is None else asked.sampler,
        asked.grid,
        steps=asked.steps,
        device=asked.device,
        width=asked.micro_batch,
        guidance=asked.guidance,
        options={
            "negative_prompt": asked.negative_prompt,
            "guidance_scale": asked.guidance_scale,
            "width": asked.width,
            "height": asked.height,
        },
    )
    out = asked.out
    record = {
        **model.record(),
        "prompt": asked.prompt,
        "prompts": _described(asked.prompts, texts),
        "seed": asked.seed,
        "versions": {"diffdescent": __version__, "torch": torch.__version__},
        "samples": sorted({*chosen, *([] if asked.overwrite else output.present(out))}),
        "command": sys.argv[1:],
    }
    output.check(out, record, asked.overwrite)
    todo = chosen if asked.overwrite else output.missing(out, chosen)
    with Bar(len(chosen), done=len(chosen) - len(todo), hidden=asked.quiet or asked.as_json) as bar:
        for first in range(0, len(todo), model.width):
            batch = todo[first : first + model.width]

            def moved(done: float, size: int = len(batch)) -> None:
                bar.part(size * done)

            images = model([prompts[i] for i in batch], batch, asked.seed, moved)
            if not first:
                # Only now: a mistake that shows when the pipeline runs leaves the folder as it was.
                output.begin(out, record, asked.overwrite)
            for i, image in zip(batch, images, strict=True):
                save_png(image, output.image_path(out, i))
            bar.finished(len(batch))
    save_png(
        sheet(torch.stack([read_image(p) for p in output.images_in(out)[:SHEET_LIMIT]])),
        out / "sheet.png",
    )
    seconds = round(time.monotonic() - started, 3)
    write_atomically(
        out / output.RECORD, (json.dumps({**record, "seconds": seconds}, indent=2) + "\n").encode()
    )
    if asked.as_json:
        summary = {"out": str(out), "images": len(chosen), "made": len(todo), "seconds": seconds}
        typer.echo(json.dumps(summary))
    elif not asked.quiet:
        there = len(chosen) - len(todo)
        typer.echo(
            f"{len(todo)} images{f' ({there} were there)' if there else ''} with"
            f" {record['recipe']}, {asked.steps} steps, {seconds:.1f} s: {out / 'sheet.png'}"
        )


def _hide_loading() -> None:
    """The libraries' own bars for reading weights, and their chatter: the command has a bar of its
    own."""
    with contextlib.suppress(ImportError):
        for library in ("diffusers", "transformers"):
            logging = importlib.import_module(f"{library}.utils.logging")
            logging.disable_progress_bar()
            logging.set_verbosity_error()


def _indices(asked: Request, texts: Sequence[str] | None) -> list[int]:
    """The images to make: those asked for, else every prompt of the file, else one."""
    if asked.chosen is not None:
        chosen = list(asked.chosen)
    elif texts is not None:
        chosen = list(range(len(texts) if asked.n is None else min(asked.n, len(texts))))
    else:
        chosen = list(range(1 if asked.n is None else asked.n))
    if not chosen:
        raise UserError("There is no image to make; give --n of at least 1.")
    if texts is not None and chosen[-1] >= len(texts):
        raise UserError(
            f"There is no prompt {chosen[-1]}; {asked.prompts} holds {len(texts)}, from 0 on."
        )
    return chosen


def _described(path: Path | None, texts: Sequence[str] | None) -> dict[str, Any] | None:
    """The prompts file and what was in it, so that another one under the same name is not taken for
    it."""
    if path is None or texts is None:
        return None
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    return {"path": str(path), "count": len(texts), "sha256": digest}
