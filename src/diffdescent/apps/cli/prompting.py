"""``diffdescent sample FOLDER --prompt``: text to image with any local diffusers pipeline."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer
from torch import Tensor

from diffdescent.apps.prompts import prompt_or_file
from diffdescent.apps.textimage import TextToImage, load
from diffdescent.base.errors import UserError
from diffdescent.base.images import save_png
from diffdescent.base.words import counted
from diffdescent.run import make_recipe
from diffdescent.run.record import PromptFile

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
    trajectory: bool = False


def run(asked: Request) -> None:
    """One image a prompt of the file, or ``n`` images of the one prompt: PNG files, a sheet and
    ``run.json``.

    An interrupted run is continued by the same command. Raises :class:`UserError` for bad input.
    """
    texts = prompt_or_file(asked.prompt, asked.prompts)
    chosen = _indices(asked, texts)
    prompts = {i: texts[i] if texts is not None else str(asked.prompt) for i in chosen}
    hide_loading()
    model = _loaded(asked, list(prompts.values()))
    record = replace(
        model.record(
            seed=asked.seed, prompt=asked.prompt, prompts=_described(asked.prompts, texts)
        ),
        samples=output.together(chosen, asked.out, asked.overwrite),
        command=tuple(sys.argv[1:]),
    )
    kept = output.Output(asked.out, record, chosen, asked.overwrite)
    todo = kept.todo
    batches = [todo[first : first + model.width] for first in range(0, len(todo), model.width)]
    with Bar(len(chosen), done=len(chosen) - len(todo), hidden=asked.quiet or asked.as_json) as bar:

        def draw(batch: list[int]) -> tuple[list[int], Tensor]:

            def moved(part: float) -> None:
                bar.part(len(batch) * part)

            return batch, model([prompts[i] for i in batch], batch, asked.seed, moved)

        for batch, images in kept.timed(map(draw, batches)):
            kept.keep(batch, images)
            bar.finished(len(batch))
    if asked.trajectory:
        kept.store.claim()
        first = chosen[: model.width]
        sheet_of_x0 = model.strip([prompts[i] for i in first], first, asked.seed)
        save_png(sheet_of_x0, asked.out / "trajectory.png")
    seconds = kept.finish(SHEET_LIMIT)
    sheet = asked.out / "sheet.png"
    if asked.as_json:
        summary = {
            "out": str(asked.out),
            "images": len(chosen),
            "made": len(todo),
            "seconds": seconds,
        }
        typer.echo(json.dumps(summary))
    elif not asked.quiet:
        typer.echo(
            f"{kept.summary} with {record.recipe}, {_steps(model)}, {seconds:.1f} s: {sheet}"
        )


def _loaded(asked: Request, prompts: Sequence[str]) -> TextToImage:
    """The pipeline with its own guidance, or within one that takes gradients."""
    from diffdescent.apps.textimage.through import has_gradients, load_guided

    recipe = (
        str(make_recipe(asked.sampler, asked.steps)) if asked.sampler is None else asked.sampler
    )
    options = {
        "negative_prompt": asked.negative_prompt,
        "guidance_scale": asked.guidance_scale,
        "width": asked.width,
        "height": asked.height,
    }
    if asked.guidance is not None and has_gradients(asked.guidance):
        return load_guided(
            asked.model, recipe, asked.grid, prompts, steps=asked.steps, guidance=asked.guidance,
            device=asked.device, width=asked.micro_batch, options=options,
        )  # fmt: skip
    return load(
        asked.model, recipe, asked.grid, steps=asked.steps, device=asked.device,
        width=asked.micro_batch, guidance=asked.guidance, options=options,
    )  # fmt: skip


def _steps(model: TextToImage) -> str:
    """The steps that were run; a grid leaves levels out that coincide."""
    grid = model.pipe.scheduler.grid
    run = model.steps if grid is None else grid.steps
    asked = "" if run == model.steps else f" (of {model.steps}: the grid's others coincide)"
    return f"{counted(run, 'step')}{asked}"


def hide_loading() -> None:
    """The libraries' own bars for reading weights, and their chatter: the command has a bar of its
    own."""
    with contextlib.suppress(ImportError):
        for library in ("diffusers", "transformers"):
            logging = importlib.import_module(f"{library}.utils.logging")
            logging.disable_progress_bar()
            logging.set_verbosity(logging.CRITICAL)


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


def _described(path: Path | None, texts: Sequence[str] | None) -> PromptFile | None:
    """The prompts file and what was in it, so that another one under the same name is not taken for
    it."""
    if path is None or texts is None:
        return None
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    return PromptFile(str(path), len(texts), digest)
