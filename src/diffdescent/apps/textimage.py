"""Text to image: any local diffusers pipeline folder, sampled by a recipe, image i of a seed being
one image.

The pipeline runs unmodified but for its scheduler. Everything that it draws for an image comes from
a generator that belongs to (seed, index), and it is always called with the same number of prompts,
so an image depends neither on the batch that it was made in nor on which others are made.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import mmap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError
from diffdescent.core.noise import INITIAL, integers
from diffdescent.core.process import Flow
from diffdescent.core.recipe import default_grid, parse
from diffdescent.models import bundled
from diffdescent.run.record import PromptFile, RunRecord, TextToImageRecord, versions

CPU_WIDTH, GPU_WIDTH = 1, 4
"""How many prompts the pipeline is given at once, unless asked otherwise; part of a run's
record."""


def is_pipeline(folder: Path) -> bool:
    """Whether a folder looks like a diffusers pipeline."""
    return (folder / "model_index.json").is_file()


def wants_prompt(folder: Path) -> bool:
    """Whether a folder is a diffusers pipeline with something that reads text."""
    if not is_pipeline(folder):
        return False
    try:
        index = json.loads((folder / "model_index.json").read_text())
    except ValueError:
        return False
    return isinstance(index, dict) and any(
        any(index.get(part) or ()) for part in ("tokenizer", "text_encoder")
    )


def _pipeline_class(folder: Path, name: str) -> Any:
    """The class of a folder's pipeline, which takes prompts."""
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
        cls = json.loads((folder / "model_index.json").read_text())["_class_name"]
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{folder / 'model_index.json'} is damaged; expected JSON with _class_name."
        ) from None
    found = getattr(diffusers, str(cls), None)
    if found is None:
        raise UserError(
            f"{name!r} is a {cls}, which diffusers {diffusers.__version__} does not know; update"
            " diffusers."
        )
    if "prompt" not in inspect.signature(found.__call__).parameters:
        raise UserError(
            f"{name!r} is a {cls}, which takes no prompt; leave it out (classes are chosen with"
            " --label)."
        )
    return found


@dataclass
class TextToImage:
    """A loaded pipeline with a recipe in place of its scheduler; see :func:`load`.

    ``options`` go to the pipeline's call (``negative_prompt``, ``guidance_scale``, ``height``,
    ``width``). ``width`` of this class is how many prompts one call has.
    """

    pipe: Any
    steps: int
    name: str
    fingerprint: str
    width: int
    guidance: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def nfe(self) -> int:
        """Evaluations for an image, after the first call."""
        return len(self.pipe.scheduler.timesteps)

    def record(
        self, *, seed: int = 0, prompt: str | None = None, prompts: PromptFile | None = None
    ) -> RunRecord:
        """What is needed to repeat a run; the samples are the caller's to add."""
        import diffusers
        import transformers

        scheduler, device = self.pipe.scheduler, self.pipe.device.type
        config = {key: value for key, value in scheduler.config.items() if not key.startswith("_")}
        return RunRecord(
            model=self.name,
            fingerprint=self.fingerprint,
            guidance=self.guidance,
            recipe=str(scheduler.recipe),
            process=None,
            grid=None,
            nfe=None,
            network_calls=None,
            seed=seed,
            samples=(),
            text_to_image=TextToImageRecord(
                pipeline=type(self.pipe).__name__,
                steps=self.steps,
                scheduler=json.loads(json.dumps(config, default=str)),
                options=dict(self.options),
                prompt=prompt,
                prompts=prompts,
            ),
            micro_batch=self.width,
            dtype=str(self.pipe.dtype).removeprefix("torch."),
            device=device,
            threads=torch.get_num_threads() if device == "cpu" else None,
            versions={
                **versions(),
                "diffusers": diffusers.__version__,
                "transformers": transformers.__version__,
            },
        )

    def __call__(
        self,
        prompts: Sequence[str],
        samples: Sequence[int],
        seed: int = 0,
        progress: Callable[[float], object] | None = None,
    ) -> Tensor:
        """One image for each of at most ``width`` prompts, (n, 3, H, W) uint8; ``samples`` are the
        images' indices.

        ``progress`` is called after each evaluation with how much of the call is done, from 0 to 1.
        Raises :class:`UserError` where the pipeline makes no images, or NaN.
        """
        if not 1 <= len(prompts) == len(samples) <= self.width:
            raise UserError(f"Give between 1 and {self.width} prompts, and an index for each.")
        missing = self.width - len(prompts)
        options = dict(self.options)
        negative = options.pop("negative_prompt", None)
        if negative is not None:
            options["negative_prompt"] = [negative] * self.width
        if (
            progress is not None
            and "callback_on_step_end" in inspect.signature(self.pipe.__call__).parameters
        ):
            told = progress

            def after(pipe: Any, step: int, t: Any, tensors: dict[str, Any]) -> dict[str, Any]:
                told((step + 1) / self.nfe)
                return tensors

            options["callback_on_step_end"] = after
        made = self.pipe(
            prompt=[*prompts, *[prompts[-1]] * missing],
            num_inference_steps=self.steps,
            generator=[generator_for(seed, i) for i in (*samples, *[samples[-1]] * missing)],
            output_type="np",
            **options,
        )
        images = getattr(made, "images", None)
        if not isinstance(images, np.ndarray):
            raise UserError(
                f"A {type(self.pipe).__name__} makes no images, so there is nothing to write."
            )
        if not np.isfinite(images).all():
            raise UserError(
                f"The pipeline made NaN or Inf for some of the samples {list(samples)}; check the"
                " weights' dtype, or lower the guidance scale."
            )
        shown = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))[: len(prompts)]
        return shown.mul(255).round().clamp(0, 255).to(torch.uint8)


def generator_for(seed: int, sample: int) -> torch.Generator:
    """The generator of everything that is drawn for one image: on the CPU, so that the device
    changes nothing."""
    high, low = integers(seed, torch.tensor([sample]), 2, INITIAL)[0].tolist()
    return torch.Generator().manual_seed((high << 32 | low) & (2**63 - 1))


def load(
    folder: str | Path,
    recipe: str,
    grid: str | None = None,
    *,
    steps: int = 20,
    device: str = "cpu",
    width: int | None = None,
    guidance: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> TextToImage:
    """The pipeline of ``folder``, from the local disk only, with ``recipe`` in place of its
    scheduler.

    ``grid`` None takes the recipe's usual grid, and for flow matching the levels of the pipeline's
    own config, which may depend on the image's size. ``guidance`` is attached to the pipeline
    (``"cfg | pxp"``). ``options`` are the pipeline's own (``negative_prompt``, ``guidance_scale``,
    ``height``, ``width``); those that are None are left out. A second or third text encoder that
    the folder lacks is left out too (SD3 without its T5). Raises :class:`UserError` for a folder
    that is not such a pipeline, and options that it does not have.
    """
    try:
        from diffusers import DiffusionPipeline

        from diffdescent.guidance.text import parse_guidance

        from .diffusers import DescentScheduler, attach
        from .diffusers.config import process_of
    except ImportError:
        raise UserError(
            "Text to image needs diffusers and transformers; install them with: pip install"
            " 'diffdescent[diffusers]'."
        ) from None
    root, name, where = Path(folder), str(folder), pick_device(device)
    cls = _pipeline_class(root, name)
    given = {key: value for key, value in (options or {}).items() if value is not None}
    known = inspect.signature(cls.__call__).parameters
    for key in given:
        if key not in known:
            raise UserError(
                f"{name!r} is a {cls.__name__}, which has no {key.replace('_', ' ')}; leave it out."
            )
    if parse(recipe).whole_batch or (guidance is not None and parse_guidance(guidance).whole_batch):
        raise UserError(
            "A pipeline's batches are filled up to one width, so that an image does not depend on"
            " the others; leave scope=batch and zero=batch out, or sample a checkpoint without"
            " prompts."
        )
    weights = _weights(root)
    variant = "fp16" if weights and all(".fp16." in path.name for path in weights) else None
    try:
        index = json.loads((root / "model_index.json").read_text())
        absent = {part: None for part in _further_encoders(cls) if not any(index.get(part) or ())}
        pipe = DiffusionPipeline.from_pretrained(
            str(root), local_files_only=True, variant=variant, **absent
        )
    except (
        OSError,
        ValueError,
        RuntimeError,
        TypeError,
        AttributeError,
        ImportError,
        KeyError,
    ) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"The pipeline {name!r} cannot be loaded: {said}") from None
    if getattr(pipe, "scheduler", None) is None:
        raise UserError(
            f"{name!r} is a {cls.__name__} without a scheduler, so there is nothing for a recipe to"
            " replace."
        )
    pipe.set_progress_bar_config(disable=True)
    pipe = pipe.to(where)
    scheduler = DescentScheduler.from_config(pipe.scheduler.config, recipe=recipe)
    process = process_of(scheduler.config, 1.0)
    text = (
        grid
        if grid is not None or isinstance(process, Flow)
        else default_grid(parse(recipe), process)
    )
    pipe.scheduler = (
        scheduler if text is None else DescentScheduler.from_config(scheduler.config, grid=text)
    )
    if guidance is not None:
        attach(pipe, guidance)
    together = width or (CPU_WIDTH if where.type == "cpu" else GPU_WIDTH)
    return TextToImage(pipe, steps, name, _fingerprint(weights), together, guidance, given)


def _further_encoders(cls: Any) -> set[str]:
    """The text encoders after the first that a pipeline has room for, and their tokenizers."""
    parts = inspect.signature(cls.__init__).parameters
    return {part for part in parts if part.startswith(("text_encoder_", "tokenizer_"))}


def _weights(root: Path) -> list[Path]:
    return sorted(path for kind in ("safetensors", "bin") for path in root.rglob(f"*.{kind}"))


def _fingerprint(weights: Sequence[Path]) -> str:
    """SHA-256 of the weight files: a run's record says which weights made it."""
    digest = hashlib.sha256()
    for path in weights:
        with (
            open(path, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            digest.update(mapped)
    return digest.hexdigest()[:16]
