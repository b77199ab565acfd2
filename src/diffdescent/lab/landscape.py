"""Landscapes and trajectories: what a sampler's path looks like among its noisy surroundings (Jang
et al., AAAI 2024, figures 2, 3 and 5).

Around every state x_t of a run, points x_t + n with n ~ N(0, I) are denoised; their colour is
log‖x̂0(x_t + n) − x_ref‖ with x_ref the end of a long ancestral run from the same initial noise.
Two principal components make a picture. Every piece (the reference, a path, the surroundings of one
state, one image of the strip) is a file in a cache named after what it depends on, written whole:
an interrupted run goes on, and a changed setting recomputes what it must.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError
from diffdescent.base.images import save_figure
from diffdescent.core.executor import Query
from diffdescent.core.grid import Grid
from diffdescent.core.model_info import info
from diffdescent.core.noise import normals
from diffdescent.core.predict import Predictor
from diffdescent.core.process import Point
from diffdescent.core.recipe import Recipe, parse
from diffdescent.run import Progress, evaluate, micro_batch_width, resolve_grid, sample
from diffdescent.run.pieces import Pieces, levels_of, model_identity

REFERENCE = "ddpm"
"""The ancestral sampler of the reference run."""
_COLORS = ("C3", "C0", "C1", "C6", "C4", "C5", "C7", "C8", "C9", "C2")
COUNTS = (20, 40, 60, 80, 100, 120, 140, 160, 180, 200)
"""The step counts of the strip (figure 3)."""


@dataclass(frozen=True)
class Path2D:
    """One sampler's run: ``points`` of its E evaluations, x (E, d) in VP-normalised coordinates,
    x̂0 (E, d), and of K surroundings of each x̂0(x + n) (E, K, d); float32."""

    name: str
    points: tuple[Point, ...]
    x: Tensor
    x0: Tensor
    around: Tensor


@dataclass(frozen=True)
class Plane:
    """Places of rows on two principal components, (rows, 2), and the share of the rows' variance
    that they explain."""

    places: Tensor
    share: float


@dataclass
class Landscape:
    """What is drawn, computed piece by piece into ``cache``.

    Args:
        model, seed, number, label: which image; ``number`` is the sample's index.
        steps, grid: of the trajectories; ``grid`` None is each recipe's usual one.
        around, spread: how many surroundings each state has, and the standard deviation of n in VP
            coordinates.
        reference_steps: of the ancestral run that gives x_ref.
        progress: called with the number of pieces that are there.
    """

    model: Predictor
    cache: Path
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
        key = {"recipe": str(recipe), "grid": levels_of(levels)}
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
        )

    def path(self, sampler: str) -> Path2D:
        """The run of ``sampler`` with its surroundings."""
        recipe = parse(sampler)
        levels = self._levels(recipe, self.steps, self.grid)
        key = {"recipe": str(recipe), "grid": levels_of(levels)}
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


def plane(fit: Tensor, rows: Tensor) -> Plane:
    """``rows`` (m, d) on the two leading principal components of ``fit`` (k, d), by a randomised
    decomposition."""
    mean = fit.double().mean(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _, _, v = torch.svd_lowrank(fit.double() - mean, q=min(8, *fit.shape), niter=6)
    places = torch.zeros(len(rows), 2, dtype=torch.float64)
    centered = rows.double() - mean
    places[:, : min(2, v.shape[1])] = centered @ v[:, :2]
    return Plane(places, _share(places, centered))


def _share(places: Tensor, rows: Tensor) -> float:
    """The variance of ``places`` over that of ``rows``; 1 where there is none."""
    total = float(rows.var(0, correction=0).sum())
    return float(places.var(0, correction=0).sum()) / total if total else 1.0


def draw_landscape(
    view: Landscape,
    paths: Sequence[Path2D],
    reference: Tensor,
    path: Path,
    *,
    fit: Literal["runs", "all"] = "runs",
) -> dict[str, dict[str, float]]:
    """Two panels, x_t and x̂0, each on its own principal components, and which share of the
    variance these explain: of the ``runs``, and of ``all``, the surroundings included.

    ``fit`` says whose components: those of the runs, or of all points as in the paper, where the
    second is a direction of the noise as soon as the noise outweighs the runs.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    logs = torch.cat([(p.around - reference).norm(dim=-1).log().flatten() for p in paths]).numpy()
    states, near = [p.x for p in paths], []
    for p in paths:
        noise = torch.stack([view.noise(i).flatten(1) for i in range(len(p.points))])
        near.append((p.x[:, None] + noise).flatten(0, 1))
    panels = {
        "x_t": (states, near, None),
        "x̂0": ([p.x0 for p in paths], [p.around.flatten(0, 1) for p in paths], reference),
    }
    figure, axes = plt.subplots(1, 2, figsize=(12.5, 5.6), layout="constrained")
    shares: dict[str, dict[str, float]] = {}
    for panel, (name, (lines, clouds, end)) in zip(axes, panels.items(), strict=True):
        rows = torch.cat([*lines, *clouds, *([] if end is None else [end[None]])])
        runs = torch.cat(lines)
        found = plane(runs if fit == "runs" else rows, rows)
        sizes = [len(line) for line in lines]
        own = found.places[: sum(sizes)]
        shares[name] = {"runs": _share(own, runs.double()), "all": found.share}
        places = torch.split(
            found.places, [*sizes, sum(map(len, clouds)), *([] if end is None else [1])]
        )
        cloud = places[len(lines)].numpy()
        bins = panel.hexbin(
            cloud[:, 0],
            cloud[:, 1],
            C=logs,
            gridsize=38,
            reduce_C_function=np.mean,
            cmap="viridis",
            linewidths=0.1,
            alpha=0.9,
            mincnt=1,
        )
        for i, p in enumerate(paths):
            way = places[i].numpy()
            color = _COLORS[i % len(_COLORS)]
            panel.plot(way[:, 0], way[:, 1], "-", color="white", lw=3.2, alpha=0.7)
            panel.plot(way[:, 0], way[:, 1], "o-", color=color, ms=2.6, lw=1.3, label=p.name)
            panel.plot(
                *way[-1], "s", color=color, ms=8, mec="k", label="end of a run" if i == 0 else None
            )
        panel.plot(
            *places[0][0].numpy(), "o", color="white", ms=10, mec="k", label="start of all runs"
        )
        if end is not None:
            panel.plot(*places[-1][0].numpy(), "*", color="gold", ms=17, mec="k", label="x_ref")
        panel.set(xlabel="first principal component", ylabel="second principal component")
        what = "the states x_t" if name == "x_t" else "the estimates x̂0(x_t)"
        held = (
            f"{100 * shares[name]['runs']:.0f} % of the runs' variance, {100 * found.share:.1f} %"
            " with the noise"
        )
        panel.set_title(f"{what}\n(the plane holds {held})", fontsize=10)
    handles, names = axes[-1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=6, fontsize=8)
    figure.colorbar(bins, ax=axes, label="log ‖x̂0(x_t + n) − x_ref‖   (dark: near the reference)")
    model = info(view.model).name
    figure.suptitle(
        f"{model}, sample {view.number}: {view.steps} steps, {view.around} noisy neighbours of"
        " every state"
    )
    save_figure(figure, path, 70)
    plt.close(figure)
    return shares


def draw_strip(
    images: Sequence[Sequence[Tensor]],
    names: Sequence[str],
    counts: Sequence[int],
    reference: Tensor,
    reference_steps: int,
    path: Path,
) -> None:
    """A row for each sampler and a column for each step count, the reference at the right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = len(counts) + 1
    figure, axes = plt.subplots(
        len(images),
        columns,
        figsize=(1.15 * columns + 1.2, 1.35 * len(images) + 0.5),
        layout="constrained",
        squeeze=False,
    )
    for row, (own, name) in enumerate(zip(images, names, strict=True)):
        for column, picture in enumerate([*own, reference]):
            panel = axes[row, column]
            shown = picture.clamp(-1, 1).add(1).div(2).permute(1, 2, 0).squeeze(2).numpy()
            panel.imshow(shown, cmap="gray" if shown.ndim == 2 else None, vmin=0, vmax=1)
            panel.set_xticks([])
            panel.set_yticks([])
            if row == 0:
                last = column == len(counts)
                panel.set_title(
                    f"{REFERENCE}\n{reference_steps}" if last else f"T = {counts[column]}",
                    fontsize=8,
                )
        axes[row, 0].set_ylabel(name.replace(" | ", "\n| "), fontsize=8)
    save_figure(figure, path, 100)
    plt.close(figure)
