"""The pictures of a restoration: every sample, mean and deviation, and a sheet side by side."""

from __future__ import annotations

import torch
from torch import Tensor

from diffdescent.base.files import make_folder
from diffdescent.base.images import save_png, sheet, to_uint8
from diffdescent.core.operators import Linear

from .config import Cell
from .work import Work

SHOWN = 8
"""A sheet shows at most this many images."""
_DEEPEST = 4.0
"""Deviations are shown this many times as bright: 0.25 of [0, 1] is white."""


def draw_all(work: Work) -> None:
    """Write the pictures of every cell, and the sheet: a row for each image, in it the original,
    what was measured of it, and of each method a sample, the mean and the deviation."""
    for cell in work.config.cells():
        images = work.samples(cell).images
        folder = work.out / "pictures" / cell.key
        make_folder(folder)
        mean, deviation = to_uint8(images.mean(1)), _deviation(images)
        for k, samples in enumerate(to_uint8(images)):
            for j, one in enumerate(samples):
                save_png(one, folder / f"{k:06d}-{j}.png")
            save_png(mean[k], folder / f"{k:06d}-mean.png")
            save_png(deviation[k], folder / f"{k:06d}-deviation.png")
    save_png(_sheet(work), work.out / "sheet.png")


def seen(work: Work, cell: Cell) -> Tensor:
    """What was measured, as images: y itself where it has their shape, else A⁺y, (k, C, H, W)."""
    operator, y = work.operator(cell), work.y(cell)
    if operator.out_shape == operator.in_shape or not isinstance(operator, Linear):
        return y.cpu() if y.shape[1:] == (*work.shape,) else torch.zeros(len(y), *work.shape)
    return operator.pinv(y).cpu()


def _deviation(images: Tensor) -> Tensor:
    """The standard deviation of the samples as uint8 images, white from a quarter of the range."""
    spread = images.std(1) if images.shape[1] > 1 else torch.zeros_like(images[:, 0])
    return to_uint8(spread / 2 * _DEEPEST * 2 - 1)


def _sheet(work: Work) -> Tensor:
    columns: list[Tensor] = []
    if not work.measured:
        columns.append(to_uint8(work.given[:SHOWN]))
    last: tuple[str, float] | None = None
    for cell in work.config.cells():
        problem = (cell.operator, cell.noise)
        if problem != last:
            columns.append(to_uint8(seen(work, cell)[:SHOWN]))
            last = problem
        images = work.samples(cell).images[:SHOWN]
        columns.append(to_uint8(images[:, 0]))
        if images.shape[1] > 1:
            columns += [to_uint8(images.mean(1)), _deviation(images)]
    stacked = torch.stack(columns, dim=1)
    scale = max(1, round(64 / stacked.shape[-1]))
    return sheet(stacked.flatten(0, 1), columns=len(columns), scale=scale)
