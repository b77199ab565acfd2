"""A loaded pipeline with a recipe in place of its scheduler, and the generator of each image."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.images import moments
from diffdescent.base.images import strip as sheet_of_strip
from diffdescent.core.noise import INITIAL, integers
from diffdescent.run.record import PromptFile, RunRecord, TextToImageRecord, versions

from .asking import asking, require_shape
from .decoding import decoded


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
            files=scheduler.recipe.contents,
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

        Raises:
            UserError: where the pipeline makes no images, NaN, or images of another size, and for
                what it refuses.
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
            report = progress

            def after(pipe: Any, step: int, t: Any, tensors: dict[str, Any]) -> dict[str, Any]:
                report((step + 1) / self.nfe)
                return tensors

            options["callback_on_step_end"] = after
        with asking(self.pipe):
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
        require_shape(self.pipe, options, *images.shape[1:3])
        if not np.isfinite(images).all():
            raise UserError(
                f"The pipeline made NaN or Inf for some of the samples {list(samples)}; check the"
                " weights' dtype, or lower the guidance scale."
            )
        shown = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))[: len(prompts)]
        return shown.mul(255).round().clamp(0, 255).to(torch.uint8)

    def estimates(self, prompts: Sequence[str], samples: Sequence[int], seed: int = 0) -> Tensor:
        """The latents of x̂0 at every evaluation, (evaluations, n, C, h, w), of the images that a
        call makes."""
        kept: list[Tensor] = []
        self.pipe.scheduler.watch = kept.append
        try:
            self(prompts, samples, seed)
        finally:
            self.pipe.scheduler.watch = None
        return torch.stack(kept)[:, : len(prompts)]

    def strip(self, prompts: Sequence[str], samples: Sequence[int], seed: int = 0) -> Tensor:
        """A sheet of x̂0 over the steps, decoded: a row for each image, of at most ``width``.

        Raises:
            UserError: a pipeline whose states cannot be decoded one by one.
        """
        shown = moments(self.estimates(prompts, samples, seed))
        return sheet_of_strip(torch.stack([decoded(self.pipe, one) for one in shown]))


def generator_for(seed: int, sample: int) -> torch.Generator:
    """The generator of everything that is drawn for one image: on the CPU, so that the device
    changes nothing.

    Args:
        seed: of the run.
        sample: its number.

    Returns:
        The generator.
    """
    high, low = integers(seed, torch.tensor([sample]), 2, INITIAL)[0].tolist()
    return torch.Generator().manual_seed((high << 32 | low) & (2**63 - 1))
