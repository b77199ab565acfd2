"""The table of a restoration: a row for each cell, each score with its interval over the images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from diffdescent.base.csv_text import csv_text
from diffdescent.base.errors import UserError
from diffdescent.base.files import write_atomically
from diffdescent.base.statistics import Estimate, student_mean
from diffdescent.core.operators import Linear
from diffdescent.evaluate.extractors import BUNDLED, load_extractor
from diffdescent.evaluate.posterior import judge_posterior
from diffdescent.models.gaussian import Gaussian
from diffdescent.models.mixture import Mixture
from diffdescent.models.posterior import Posterior, posterior

from .config import Cell
from .scores import feature_distance, psnr, residual, ssim
from .work import Samples, Work

Truths = dict[tuple[str, float], Posterior]
"""The posterior of one operator and noise."""


@dataclass(frozen=True)
class Row:
    """A cell and its scores: means over the images with 95 % intervals by Student's t."""

    cell: Cell
    seconds: float
    scores: dict[str, Estimate]


def rows(work: Work, *, exact: bool = True) -> Iterator[Row]:
    """Every cell, scored. With ``exact``, where the model is a Gaussian or a mixture and a cell
    has samples enough, also against the exact posterior."""
    truths: Truths = {}
    for cell in work.config.cells():
        made = work.samples(cell)
        scores = _scores(work, made)
        if exact and work.config.n > 1 and isinstance(work.model, Gaussian | Mixture):
            scores |= _against_truth(work, made, truths)
        yield Row(cell, made.seconds, scores)


def _scores(work: Work, made: Samples) -> dict[str, Estimate]:
    count, n = made.images.shape[:2]
    flat = made.images.flatten(0, 1)
    cell = made.cell
    operator, y = work.operator(cell), work.y(cell)
    apart = residual(
        flat.to(work.device), operator, y.repeat_interleave(n, dim=0), cell.noise
    ).cpu()
    found = {"residual": _of_images(apart, count)}
    if work.measured:
        return found
    original = work.given.float()
    each = original.repeat_interleave(n, dim=0)
    mean = made.images.mean(1)
    scores = {"psnr": psnr(flat, each), "psnr_mean": psnr(mean, original)}
    if min(original.shape[2:]) >= 11:
        scores |= {"ssim": ssim(flat, each), "ssim_mean": ssim(mean, original)}
    if original.shape[1] in (1, 3):
        scores["features"] = feature_distance(flat, each, load_extractor(BUNDLED))
    return {name: _of_images(value, count) for name, value in scores.items()} | found


def _against_truth(work: Work, made: Samples, truths: Truths) -> dict[str, Estimate]:
    """The metrics of posterior samples; none where the operator is not linear. ``truths`` keeps the
    posterior of a problem for its other cells, which come next."""
    cell = made.cell
    operator = work.operator(cell, torch.float64)
    if not isinstance(operator, Linear):
        return {}
    y = work.y(cell).double().cpu()
    assert isinstance(work.model, Gaussian | Mixture)
    problem = (cell.operator, cell.noise)
    if problem not in truths:
        truths.clear()
        seed = work.config.seed
        truths[problem] = posterior(work.model, cell.operator, y, cell.noise, seed=seed)
    samples = made.images.transpose(0, 1)
    return judge_posterior(samples, truths[problem], operator, y, cell.noise)


def _of_images(values: Tensor, count: int) -> Estimate:
    """The mean of each image's samples, and of these the mean and its interval."""
    return student_mean(values.reshape(count, -1).mean(1).double().numpy())


def write_table(work: Work, found: list[Row]) -> None:
    """Write table.csv, a score's interval next to it."""
    if not found:
        raise UserError("There is nothing to write a table of.")
    names = list(dict.fromkeys(name for row in found for name in row.scores))
    heads = [h for name in names for h in (name, f"{name}_low", f"{name}_high")]
    of_cell = ["operator", "noise", "nfe", "method", "images", "samples", "seconds"]
    lines: list[list[object]] = [[*of_cell, *heads]]
    for row in found:
        numbers: list[str] = []
        for name in names:
            score = row.scores.get(name)
            known = () if score is None else (score.value, score.low, score.high)
            numbers += [f"{value:.5g}" for value in known] or ["", "", ""]
        cell = row.cell
        head = [cell.operator, f"{cell.noise:g}", cell.nfe, cell.method]
        counts = [len(work.given), work.config.n, f"{row.seconds:.4g}"]
        lines.append([*head, *counts, *numbers])
    write_atomically(work.out / "table.csv", csv_text(lines).encode())
