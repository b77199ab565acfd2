"""A pipeline under guidance that it has not itself: gradients of CLIP or any other source, PxP
between them, classifier-free guidance of this library's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from diffdescent.base.device import pick_device
from diffdescent.base.images import to_uint8
from diffdescent.core.model_info import weights_of
from diffdescent.core.recipe import default_grid, parse
from diffdescent.guidance.elements import Gradient
from diffdescent.guidance.text import apply_guidance, parse_guidance
from diffdescent.run import Progress, resolve_grid, sample
from diffdescent.run.record import GridRecord, PromptFile, RunRecord
from diffdescent.run.result import Result

from .model import TextToImage
from .predictor import PipelinePredictor, load_predictor


def has_gradients(guidance: str | None) -> bool:
    """Whether a guidance text has a source that a pipeline cannot have attached.

    Args:
        guidance: the text; None for none.

    Returns:
        Whether it takes gradients, of a classifier, of CLIP or of a guide of your own.
    """
    return guidance is not None and any(
        isinstance(element, Gradient) for element in parse_guidance(guidance).elements
    )


@dataclass
class GuidedTextToImage(TextToImage):
    """As :class:`TextToImage`, but the run is this library's: the pipeline is asked for its bare
    estimate, ``guidance`` goes around it, and the noise is that of (seed, sample, step) as for any
    other model. Images are therefore others than the pipeline's own of the same seed."""

    predictor: PipelinePredictor = field(kw_only=True)
    recipe: str = field(kw_only=True)
    grid: str | None = field(kw_only=True, default=None)

    @property
    def nfe(self) -> int:
        """Evaluations for an image."""
        return self.steps

    def record(
        self, *, seed: int = 0, prompt: str | None = None, prompts: PromptFile | None = None
    ) -> RunRecord:
        """What is needed to repeat a run; the samples are the caller's to add."""
        recipe = parse(self.recipe)
        found = super().record(seed=seed, prompt=prompt, prompts=prompts)
        assert found.text_to_image is not None
        asked = replace(found.text_to_image, scheduler={"recipe": str(recipe), "grid": self.grid})
        levels = resolve_grid(self.grid, recipe, self.predictor.process, self.steps)
        return replace(
            found, recipe=str(recipe), grid=GridRecord.of(levels), files=recipe.contents,
            text_to_image=asked,
        )  # fmt: skip

    def __call__(
        self,
        prompts: Sequence[str],
        samples: Sequence[int],
        seed: int = 0,
        progress: Callable[[float], object] | None = None,
    ) -> Tensor:
        """One image for each prompt, (n, 3, H, W) uint8."""
        made = self._run(prompts, samples, seed, progress, trajectory=False)
        return to_uint8(self.predictor.decode(made.images))

    def estimates(self, prompts: Sequence[str], samples: Sequence[int], seed: int = 0) -> Tensor:
        """The latents of x̂0 at every evaluation, (evaluations, n, C, h, w)."""
        path = self._run(prompts, samples, seed, None, trajectory=True).trajectory
        assert path is not None
        return path

    def _run(
        self,
        prompts: Sequence[str],
        samples: Sequence[int],
        seed: int,
        progress: Callable[[float], object] | None,
        *,
        trajectory: bool,
    ) -> Result:
        known = {text: i for i, text in enumerate(self.predictor.prompts)}

        def moved(at: Progress) -> None:
            if progress is not None:
                progress((at.index + 1) / at.nfe)

        return sample(
            self.predictor,
            self.recipe,
            guidance=self.guidance,
            steps=self.steps,
            grid=self.grid,
            samples=list(samples),
            seed=seed,
            labels=[known[text] for text in prompts],
            batch_size=self.width,
            micro_batch=self.width,
            device=str(pick_device(self.pipe.device)),
            trajectory=trajectory,
            callback=moved,
            progress=False,
        )


def load_guided(
    folder: str,
    recipe: str,
    grid: str | None,
    prompts: Sequence[str],
    *,
    steps: int,
    guidance: str,
    device: str = "cpu",
    width: int | None = None,
    options: dict[str, Any] | None = None,
) -> GuidedTextToImage:
    """The pipeline of ``folder`` under a guidance text with gradients.

    Args:
        folder: of a diffusers pipeline.
        recipe: a recipe's text.
        grid: a grid's text; None takes the recipe's usual one.
        prompts: every prompt that will be asked for.
        steps: of the grid.
        guidance: such as ``"clip(model='CLIP', prompt='{}', on=x0_frozen) | pxp"``; ``{}`` is the
            prompt of the image.
        device: "cpu", "cuda" or "mps".
        width: how many images are made at once.
        options: the pipeline's own, but for its guidance scale.

    Returns:
        ``model(prompts, samples, seed=…)`` → images (n, 3, H, W), uint8.

    Raises:
        UserError: as :func:`~.predictor.load_predictor`, and a guidance that does not fit.
    """
    given = {key: value for key, value in (options or {}).items() if value is not None}
    texts = list(dict.fromkeys(prompts))
    predictor = load_predictor(folder, texts, device=device, width=width, options=given, bare=True)
    apply_guidance(guidance, predictor, parse(recipe))  # refuses what does not fit
    together = predictor.info.width or 1
    if grid is None:
        grid = default_grid(parse(recipe), predictor.process)
    return GuidedTextToImage(
        predictor.pipe, steps, folder, str(weights_of(predictor.info.fingerprint)), together,
        guidance, given, predictor=predictor, recipe=recipe, grid=grid,
    )  # fmt: skip
