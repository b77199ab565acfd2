"""A text-to-image pipeline as a model: asked for its (guided) estimate at any state and level.

The pipeline runs unmodified, one step for each question, with a scheduler that hands it the level
and keeps what its network answered. Texts are encoded once. So whatever takes a model takes a
pipeline: ``compare``, ``calibrate``, ``dd.sample``.
"""

from __future__ import annotations

import hashlib
import inspect
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

from .asking import asking
from .decoding import decoded
from .fitted import settings_of
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

    ``shape`` is that of the latents of one image, and ``info.decode`` makes images of them,
    differentiably where their gradient is asked for. An answer has the pipeline's own guidance in
    it and counts as one evaluation. ``bare`` leaves that guidance out: the label −1 is then the
    negative prompt, empty by default, so that guidance of this library's goes around it.

    Raises:
        UserError: latents of another shape than (channels, height, width), and a bare pipeline that
            has no guidance scale.
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
        bare: bool = False,
    ) -> None:
        self.pipe, self.prompts, self.options = pipe, list(prompts), dict(options)
        self.without = self._left_alone() if bare else None
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
            classes=tuple(self.prompts) if bare else None,
            needs_label=not bare,
            width=width,
            decode=self.decode if decodes else None,
            identity=fingerprint,
            settings={} if bare else settings_of(pipe, self.options),
        )

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        alone = 0 if self.without is None else -1
        numbers = [alone] * len(x) if cond is None else cond.tolist()
        self.probe.at = told_at(self.probe.config, point)
        raw = self._asked(numbers, x.to(self.pipe.dtype))
        return Prediction(raw.to(x.dtype), conversion(self.kind, point))

    @torch.no_grad()
    def _asked(self, numbers: Sequence[int], latents: Tensor | None) -> Tensor:
        options = dict(self.options)
        if (negative := options.pop("negative_prompt", None)) is not None:
            options["negative_prompt"] = [negative] * len(numbers)
        with asking(self.pipe):
            self.pipe(
                prompt=[self._text(i) for i in numbers],
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

    def _left_alone(self) -> str:
        """Switch the pipeline's own guidance off; the text of the label −1."""
        if "guidance_scale" not in inspect.signature(self.pipe.__call__).parameters:
            raise UserError(
                f"A {type(self.pipe).__name__} has no guidance_scale to switch off; leave"
                " --guidance out."
            )
        self.options["guidance_scale"] = 1.0
        return str(self.options.pop("negative_prompt", None) or "")

    def _text(self, number: int) -> str:
        return self.prompts[number] if number >= 0 else str(self.without)

    def decode(self, latents: Tensor) -> Tensor:
        """The images (n, 3, H, W) in [−1, 1] of latents, one at a time."""
        return decoded(self.pipe, latents)


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
    device: str = "cpu",
    width: int | None = None,
    options: dict[str, Any] | None = None,
    bare: bool = False,
) -> PipelinePredictor:
    """The pipeline of ``folder`` as a model whose label i is prompt i.

    ``options`` are the pipeline's own (``guidance_scale``, ``negative_prompt``, ``height``,
    ``width``); ``bare`` leaves its guidance out, for one that goes around it. Raises
    :class:`UserError` for a folder that is not such a pipeline, no prompt, and a guidance scale of
    a bare one.
    """
    if not prompts:
        raise UserError("There is no prompt; give at least one.")
    if bare and (options or {}).get("guidance_scale") is not None:
        raise UserError(
            "The pipeline's own guidance is off here; give its scale in --guidance, as"
            " cfg(scale=…)."
        )
    loaded = load(folder, "ddim", steps=1, device=device, width=width, options=options)
    told = (list(prompts), sorted(loaded.options.items()), *([bare] if bare else []))
    asked = hashlib.sha256(repr(told).encode())
    return PipelinePredictor(
        loaded.pipe,
        prompts,
        loaded.options,
        folder,
        fingerprint=f"{loaded.fingerprint}+{asked.hexdigest()[:16]}",
        width=loaded.width,
        bare=bare,
    )
