"""A text-to-image pipeline as a model: asked for its (guided) estimate at any state and level.

The pipeline runs unmodified, one step for each question, with a scheduler that hands it the level
and keeps what its network answered. Texts are encoded once. So whatever takes a model takes a
pipeline: ``compare``, ``calibrate``, ``dd.sample``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from diffdescent.apps.diffusers.config import kind_of, process_of, told_at
from diffdescent.apps.diffusers.scheduler import DescentScheduler
from diffdescent.base.errors import UserError
from diffdescent.core.model_info import ModelInfo
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.process import Point, Process

from .loading import load

REMEMBERED = 256
"""Encoded batches of prompts that are kept."""


class Probe(DescentScheduler):
    """A scheduler of one level that keeps the network's answer and moves nothing."""

    at: float = 0.0
    answer: Tensor | None = None
    init_noise_sigma: float = 1.0

    def set_timesteps(self, *args: Any, device: Any = None, **options: Any) -> None:
        """One time, that of the question."""
        self.num_inference_steps = 1
        self.timesteps = torch.tensor([self.at], device=device)

    def step(
        self, model_output: Tensor, timestep: Any, sample: Tensor, *rest: Any, **more: Any
    ) -> Any:
        """Keep the answer, and hand the state back."""
        self.answer = model_output
        return (sample,) if more.get("return_dict") is False else _Unmoved(sample)


class _Unmoved:
    def __init__(self, sample: Tensor) -> None:
        self.prev_sample = sample


class PipelinePredictor:
    """A pipeline's latents as states, the number of a prompt as label.

    ``shape`` is that of the latents of one image, and ``info.decode`` makes images of them. An
    answer has the pipeline's own guidance in it and counts as one evaluation.
    """

    def __init__(
        self,
        pipe: Any,
        prompts: Sequence[str],
        options: dict[str, Any],
        name: str,
        *,
        fingerprint: str | None = None,
        width: int | None = None,
    ) -> None:
        self.pipe, self.prompts, self.options = pipe, list(prompts), options
        config = pipe.scheduler.config
        self.pipe.scheduler = self.probe = Probe.from_config(config, recipe="ddim", grid=None)
        self.process: Process = process_of(self.probe.config, 1.0)
        self.kind = kind_of(self.probe.config)
        encode = getattr(pipe, "encode_prompt", None)
        if encode is not None:
            pipe.encode_prompt = remembered(encode)
        self.shape: tuple[int, ...] | None = tuple(self._asked([0], None).shape[1:])
        decodes = getattr(pipe, "vae", None) is not None
        self.info = ModelInfo(
            name=name,
            device=pipe.device,
            label_count=len(self.prompts),
            needs_label=True,
            width=width,
            decode=self.decode if decodes else None,
            identity=fingerprint,
        )

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        numbers = [0] * len(x) if cond is None else cond.tolist()
        self.probe.at = told_at(self.probe.config, point)
        raw = self._asked(numbers, x.to(self.pipe.dtype))
        return Prediction(raw.to(x.dtype), conversion(self.kind, point))

    @torch.no_grad()
    def _asked(self, numbers: Sequence[int], latents: Tensor | None) -> Tensor:
        options = dict(self.options)
        if (negative := options.pop("negative_prompt", None)) is not None:
            options["negative_prompt"] = [negative] * len(numbers)
        self.pipe(
            prompt=[self.prompts[i] for i in numbers],
            latents=latents,
            num_inference_steps=1,
            output_type="latent",
            generator=torch.Generator().manual_seed(0),
            **options,
        )
        answer: Tensor | None = self.probe.answer
        if answer is None or answer.ndim != 4:
            raise UserError(
                f"A {type(self.pipe).__name__} has no latents of shape (channels, height, width),"
                " so it cannot be asked at a level; sample with it as it is."
            )
        return answer

    def decode(self, latents: Tensor) -> Tensor:
        """The images (n, 3, H, W) in [−1, 1] of latents, one at a time."""
        vae = self.pipe.vae
        scale, shift = vae.config.scaling_factor, getattr(vae.config, "shift_factor", None) or 0.0
        with torch.no_grad():
            parts = [
                vae.decode((one / scale + shift).to(vae.dtype), return_dict=False)[0]
                for one in torch.split(latents, 1)
            ]
        return torch.cat(parts).float()


def remembered(encode: Callable[..., Any]) -> Callable[..., Any]:
    """``encode_prompt`` of a pipeline, which answers the same question once."""
    known: dict[str, Any] = {}

    def ask(*args: Any, **options: Any) -> Any:
        given = [*args, *(options[name] for name in sorted(options))]
        if any(isinstance(value, Tensor) for value in given):
            return encode(*args, **options)
        key = repr((args, sorted(options.items(), key=lambda item: item[0])))
        if key not in known:
            if len(known) >= REMEMBERED:
                known.pop(next(iter(known)))
            known[key] = encode(*args, **options)
        return known[key]

    return ask


def load_predictor(
    folder: str,
    prompts: Sequence[str],
    *,
    guidance: str = "none",
    device: str = "cpu",
    width: int | None = None,
    options: dict[str, Any] | None = None,
) -> PipelinePredictor:
    """The pipeline of ``folder`` as a model whose label i is prompt i.

    ``options`` are the pipeline's own (``guidance_scale``, ``negative_prompt``, ``height``,
    ``width``). Raises :class:`UserError` for a folder that is not such a pipeline, no prompt, and
    guidance other than the pipeline's own.
    """
    if guidance != "none":
        raise UserError(
            f"A pipeline is compared under its own guidance, not under {guidance!r}; leave it out,"
            " and give guidance_scale if it shall be another one."
        )
    if not prompts:
        raise UserError("There is no prompt; give at least one.")
    loaded = load(folder, "ddim", steps=1, device=device, width=width, options=options)
    asked = hashlib.sha256(repr((list(prompts), sorted(loaded.options.items()))).encode())
    return PipelinePredictor(
        loaded.pipe,
        prompts,
        loaded.options,
        folder,
        fingerprint=f"{loaded.fingerprint}+{asked.hexdigest()[:16]}",
        width=loaded.width,
    )
