"""A sampler's path and the noisy surroundings of its states, computed piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError
from diffdescent.core.executor import Query
from diffdescent.core.grid import Grid
from diffdescent.core.model_info import info
from diffdescent.core.noise import normals
from diffdescent.core.predict import Predictor
from diffdescent.core.process import Point
from diffdescent.core.recipe import Recipe, parse
from diffdescent.run import Progress, evaluate, micro_batch_width, resolve_grid, sample
from diffdescent.run.pieces import Pieces, Shelf, levels_of, model_identity, recipe_identity

REFERENCE = "ddpm"
"""The ancestral sampler of the reference run."""


@dataclass(frozen=True)
class Path2D:
    """One sampler's run: ``points`` of its E evaluations, x (E, d) in VP-normalised coordinates,
    x̂0 (E, d), and of K surroundings of each x̂0(x + n) (E, K, d); float32."""

    name: str
    points: tuple[Point, ...]
    x: Tensor
    x0: Tensor
    around: Tensor


@dataclass
class Landscape:
    """What is drawn, computed piece by piece into ``cache``; None keeps nothing.

    Args:
        model: what draws the image.
        cache: a folder, or a store's, for what is computed.
        seed: of the image.
        number: the sample's index.
        label: the class asked for; None for none.
        steps: of the trajectories.
        grid: of the trajectories; None is each recipe's usual one.
        around: how many surroundings each state has.
        spread: the standard deviation of n in VP coordinates.
        reference_steps: of the ancestral run that gives x_ref.
        progress: called with the number of pieces that are there.
    """

    model: Predictor
    cache: Path | Shelf | None
    seed: int = 0
    number: int = 0
    label: int | None = None
    steps: int = 50
    grid: str | None = None
    around: int = 24
    spread: float = 1.0
    reference_steps: int = 1000
    batch: int = 32
    device: str = "cpu"
    progress: Callable[[int], None] | None = None
    _pieces: Pieces = field(init=False)

    def __post_init__(self) -> None:
        if self.model.shape is None:
            raise UserError("A landscape needs a model that says how large its images are.")
        if (
            min(self.steps, self.around, self.reference_steps, self.batch) < 1
            or not self.spread > 0
        ):
            raise UserError(
                "A landscape needs at least 1 step, 1 surrounding and 1 reference step, and a"
                " spread above 0."
            )
        self.shape = tuple(self.model.shape)
        base = {
            "model": info(self.model).name,
            "fingerprint": model_identity(self.model),
            "seed": self.seed,
            "sample": self.number,
            "label": self.label,
        }
        self._pieces = Pieces(self.cache, base, self.progress)

    def reference(self) -> Tensor:
        """x_ref (d,): the end of ``reference_steps`` ancestral steps from the same initial
        noise."""
        return self._image(parse(REFERENCE), self.reference_steps, None).flatten()

    def _image(self, recipe: Recipe, steps: int, grid: str | None) -> Tensor:
        levels = self._levels(recipe, steps, grid)
        key = {"recipe": recipe_identity(recipe), "grid": levels_of(levels)}
        return self._piece(
            "image", key, lambda: {"image": self._run(recipe, levels).images[0].float().cpu()}
        )["image"]

    def image(self, sampler: str, steps: int) -> Tensor:
        """The image (C, H, W) of ``sampler`` with ``steps`` steps from the same initial noise."""
        return self._image(parse(sampler), steps, self.grid)

    def _levels(self, recipe: Recipe, steps: int, grid: str | None) -> Grid:
        return resolve_grid(grid, recipe, self.model.process, steps)

    def _run(
        self, recipe: Recipe, levels: Grid, callback: Callable[[Progress], None] | None = None
    ) -> Any:
        return sample(
            self.model,
            recipe,
            grid=levels,
            samples=[self.number],
            seed=self.seed,
            labels=self.label,
            device=self.device,
            callback=callback,
            progress=False,
        )

    def path(self, sampler: str) -> Path2D:
        """The run of ``sampler`` with its surroundings."""
        recipe = parse(sampler)
        levels = self._levels(recipe, self.steps, self.grid)
        key = {"recipe": recipe_identity(recipe), "grid": levels_of(levels)}
        found = self._piece("path", key, lambda: self._trace(recipe, levels))
        points = tuple(Point(*map(float, row)) for row in found["points"].double())
        near = []
        for i, point in enumerate(points):
            x = found["x"][i]
            settings = {"evaluation": i, "count": self.around, "spread": self.spread, **key}
            near.append(self._piece("around", settings, partial(self._surround, i, x, point))["x0"])
        norms = torch.tensor([p.norm for p in points])[:, None]
        flat = (found["x"].flatten(1) / norms).float()
        return Path2D(
            sampler.strip(), points, flat, found["x0"].flatten(1), torch.stack(near).flatten(2)
        )

    def _trace(self, recipe: Recipe, levels: Grid) -> dict[str, Tensor]:
        xs: list[Tensor] = []
        x0s: list[Tensor] = []
        points: list[Point] = []

        def keep(at: Progress) -> None:
            xs.append(at.x[0].float().cpu())
            x0s.append(at.x0[0].float().cpu())
            points.append(at.at)

        self._run(recipe, levels, keep)
        table = torch.tensor(points, dtype=torch.float64)
        return {"x": torch.stack(xs), "x0": torch.stack(x0s), "points": table}

    def noise(self, evaluation: int) -> Tensor:
        """n (K, C, H, W) of the surroundings of one state, in VP coordinates."""
        which = torch.arange(self.around)
        return self.spread * normals(self.seed, which, self.shape, evaluation, draw=7)

    def _surround(self, evaluation: int, x: Tensor, point: Point) -> dict[str, Tensor]:
        device = pick_device(self.device)
        states = (x + point.norm * self.noise(evaluation)).to(device)
        width = micro_batch_width(self.model, device)
        found = []
        with torch.no_grad():
            for part in torch.split(states, self.batch):
                cond = (
                    None
                    if self.label is None
                    else torch.full((len(part),), self.label, device=device)
                )
                query = Query(part, point, evaluation, evaluation)
                found.append(evaluate(self.model, query, cond, width).to("x0", part).float().cpu())
        return {"x0": torch.cat(found)}

    def _piece(
        self, kind: str, settings: dict[str, Any], make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        found = self._pieces.get(
            kind, settings, lambda: {name: value.numpy() for name, value in make().items()}
        )
        return {name: torch.from_numpy(value) for name, value in found.items()}
