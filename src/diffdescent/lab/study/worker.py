"""What one worker does: load the model once, then turn tasks into shards."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError
from diffdescent.base.images import to_uint8
from diffdescent.core import recipe as recipes
from diffdescent.core.executor import require_guidable
from diffdescent.core.grid import Grid
from diffdescent.core.model_info import info
from diffdescent.core.network import EDM, Network
from diffdescent.core.predict import Predictor
from diffdescent.core.process import Point
from diffdescent.core.recipe import Recipe
from diffdescent.core.transforms import Transform
from diffdescent.guidance.wrapper import Wrapper, terms_of
from diffdescent.models import load_model
from diffdescent.models.exact import Exact
from diffdescent.models.flowmap import exact_solution
from diffdescent.run import collect, initial_state, micro_batch_width, noise_for, prepare

from .cells import NONE, Cell, labels_for
from .config import StudyConfig
from .metrics import DIRECTIONS, Needs, needs_of
from .own import OwnSolutions
from .shards import Payload, Task

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TOLERANCE = 1e-5
"""Of the exact solution, relative and absolute: far below any sampler's distance to it."""
KEPT = 32
"""Exact solutions of this many shards stay in memory."""


def cast(model: Predictor, dtype: str, given: bool = False) -> Predictor:
    """``model`` with its network in ``dtype``, a copy of it where it was ``given``.

    Raises :class:`UserError` for a model that has no network to cast.
    """
    if dtype == "float32":
        return model
    if isinstance(model, (Network, EDM)):
        if given:
            model = dataclasses.replace(model, module=copy.deepcopy(model.module))
        network = getattr(model.module, "unet", model.module)
        if isinstance(network, nn.Module):
            # Not network.to: that of diffusers warns of modules to be kept in float32, of which
            # there are none.
            nn.Module.to(network, DTYPES[dtype])
            return dataclasses.replace(model, dtype=DTYPES[dtype])
    raise UserError(
        f"dtype {dtype} is for networks; this model computes in its own precision, so leave dtype"
        " out."
    )


class Worker:
    """The model of a study, its guided variants and its feature extractor, each loaded when first
    needed."""

    def __init__(self, config: StudyConfig, model: Predictor | None = None) -> None:
        self.config = config
        self.device = pick_device(config.device)
        if self.device.type == "cpu":
            torch.set_num_threads(config.threads)
        self.model = cast(
            model or load_model(config.model, config.device), config.dtype, model is not None
        )
        self.width = micro_batch_width(self.model, self.device, config.micro_batch)
        self.needs: Needs = needs_of(config, self.model)
        self._guided: dict[str, tuple[Predictor, tuple[Transform, ...]]] = {}
        self._extractor: Any = None
        self._flops: dict[tuple[str, bool, bool], int] = {}
        self._solved: dict[tuple[int, int, int, Point, Point], Tensor] = {}
        self._own = OwnSolutions(self)

    def guided(self, text: str, recipe: Recipe) -> tuple[Predictor, Recipe]:
        """The model under a guidance, and the recipe with what the guidance adds to it."""
        if text == NONE:
            return self.model, recipe
        from diffdescent.guidance import parse_guidance

        # The recipe decides what shift=auto means, and nothing else of the guided model.
        settled = parse_guidance(text).settled(recipe, self.model.process)
        if (key := str(settled)) not in self._guided:
            self._guided[key] = settled.around(self.model)
        model, front = self._guided[key]
        return model, recipe.behind(front)

    def check(self, cell: Cell) -> None:
        """Raise :class:`UserError` for labels that the model does not know, for guidance that
        lacks them, and for guidance that the sampler cannot take."""
        model, recipe = self.guided(cell.guidance, recipes.parse(cell.sampler))
        grid = recipes.parse_grid(cell.grid, model.process, cell.steps)
        require_guidable(recipe.plan(grid), terms_of(model))
        labels_for(cell.labels, model, range(1))
        if self.needs.solution:
            self._own.check(cell)
        if isinstance(model, Wrapper) and cell.labels == NONE:
            # Whether guidance can do without labels (a text for all, an energy) is known when it is
            # asked.
            guided = next(filter(model.active, grid.points), None)
            if guided is not None:
                self.flops(cell, model, guided)

    @property
    def extractor(self) -> Any:
        """The feature extractor of the study."""
        if self._extractor is None:
            from diffdescent.evaluate import load_extractor

            self._extractor = load_extractor(
                self.config.features, resize=self.config.resize, device=self.config.device
            )
        return self._extractor

    def run(self, task: Task, cache: Path | None = None) -> Payload:
        """The shard of a task; exact solutions are kept in ``cache`` where it is given."""
        cell = task.cell
        recipe = recipes.parse(cell.sampler)
        guided = self.guided(cell.guidance, recipe)
        model, _ = guided
        grid = recipes.parse_grid(cell.grid, model.process, cell.steps)
        labels = labels_for(cell.labels, model, task.samples)
        run = prepare(
            self.model,
            recipe,
            guidance=None if cell.guidance == NONE else cell.guidance,
            guided=guided,
            grid=grid,
            samples=task.samples,
            seed=cell.seed,
            labels=labels,
            batch_size=self.config.batch_size,
            micro_batch=self.width,
            device=self.device,
        )
        begun = time.perf_counter()
        result = collect(run)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        seconds = time.perf_counter() - begun
        pixels = self.pixels(result.images)
        shown = max(0, min(self.config.images - task.first, len(pixels)))
        payload: Payload = {
            "samples": np.array([task.first, task.last]),
            "seconds": np.array(seconds),
            "flops": np.array(sum(self.flops(cell, model, row.at) for row in result.plan.rows)),
            "images": pixels[:shown].numpy(),
            "sha256": np.array(hashlib.sha256(pixels.numpy().tobytes()).hexdigest()),
        }
        if self.needs.exact:
            payload |= self._exact_errors(task, grid, result.images, cache)
        if self.needs.solution:
            payload |= self._own.compared(task, result.images, cache)
        if self.needs.features:
            payload |= self._features(pixels)
            if self.needs.probs and labels is not None:
                payload["labels"] = labels.numpy()
        return payload

    def pixels(self, images: Tensor) -> Tensor:
        """What a run made as uint8 images, by the model's decoder where it has one."""
        decode = info(self.model).decode
        return to_uint8(images if decode is None else decode(images))

    def _features(self, pixels: Tensor) -> Payload:
        found = self.extractor(pixels)
        wanted = {
            "pool": found.pool,
            "spatial": found.spatial if self.needs.spatial else None,
            "probs": found.probs if self.needs.probs else None,
        }
        return {name: value.cpu().numpy() for name, value in wanted.items() if value is not None}

    def _exact_errors(self, task: Task, grid: Grid, images: Tensor, cache: Path | None) -> Payload:
        """What the distances to the exact solution from the same noise need of each image."""
        from diffdescent.evaluate.wasserstein import projections, squared_errors

        exact = self._exact(task, grid, cache).to(images.device)
        found: Payload = {}
        if self.needs.squares:
            found["squared_errors"] = squared_errors(images, exact).numpy()
        if self.needs.slices:
            ours, theirs = projections(images, exact, DIRECTIONS, seed=0)
            found |= {"slices": ours.numpy(), "exact_slices": theirs.numpy()}
        return found

    def _exact(self, task: Task, grid: Grid, cache: Path | None) -> Tensor:
        """The exact end of the probability-flow ODE for each sample of a task, (n, *shape),
        float64."""
        if not isinstance(self.model, Exact):
            raise UserError(
                "This model has no exact solution to measure against; use cifar10-mixture."
            )
        start, end = grid.points[0], grid.points[-1]
        # Samplers of one grid share it; shards of all cells come range by range, so few are alive
        # at a time.
        key = (task.cell.seed, task.first, task.last, start, end)
        if key not in self._solved:
            x = (
                initial_state(noise_for(task.cell.seed, task.samples, self.shape), grid)
                .double()
                .to(self.device)
            )
            if len(self._solved) >= KEPT:
                self._solved.pop(next(iter(self._solved)))
            options = {"rtol": TOLERANCE, "atol": TOLERANCE}
            self._solved[key] = exact_solution(self.model, x, start, end, **options, cache=cache).x
        return self._solved[key]

    def flops(self, cell: Cell, model: Predictor, point: Point) -> int:
        """Floating-point operations of one answer of the (guided) model for one image at a noise
        level.

        Counted by PyTorch on a micro-batch (matrix products and convolutions, a multiplication and
        an addition being two), once for each guidance, inside and outside of its interval.
        """
        active = model.active(point) if isinstance(model, Wrapper) else True
        key = (cell.guidance, cell.labels != NONE, active)
        if key not in self._flops:
            from torch.utils.flop_counter import FlopCounterMode

            x = torch.zeros(self.width, *self.shape, device=self.device)
            labels = labels_for(cell.labels, model, range(self.width))
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                model(x, point, None if labels is None else labels.to(self.device))
            self._flops[key] = counter.get_total_flops() // self.width
        return self._flops[key]

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of one image. Raises :class:`UserError` for a model that does not say it."""
        if self.model.shape is None:
            raise UserError(
                "The model does not say how large its images are, so it cannot be compared; wrap it"
                " again."
            )
        return tuple(self.model.shape)
