"""What sampling returns: images with the plan and the record behind them, ready to be looked at."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.images import picture, png_bytes, save_png, sheet, strip, to_uint8
from diffdescent.base.words import counted
from diffdescent.core.plan import Plan

from .folder import RUN, SHEET_LIMIT, image_name, joined, write_sheet
from .record import RunRecord
from .store import Store

NEEDS = "Pictures need Pillow; install it with: pip install 'diffdescent[cli]'"
STRIP_ROWS = 8
"""A trajectory shows at most this many samples."""


@dataclass(frozen=True)
class Result:
    """What :func:`diffdescent.sample` returns. In a notebook it shows itself as a sheet.

    ``images`` are (n, C, H, W) on the model's device, as the sampler ended: for image models around
    [−1, 1], and beyond it where nothing thresholds; :attr:`clamped` lies within. ``trajectory`` is
    x0 after every evaluation, (evaluations, n, C, H, W) on the CPU, when it was asked for.
    ``record`` holds what is needed to repeat the run, ``nfe`` the network evaluations of one image:
    under classifier-free guidance two for each of the plan's.
    """

    images: Tensor
    plan: Plan
    record: RunRecord
    trajectory: Tensor | None = None
    nfe: int | None = None

    def __repr__(self) -> str:
        made = counted(len(self.images), "image")
        kept = "" if self.trajectory is None else ", with trajectory"
        return f"Result({made} of {tuple(self.images.shape[1:])}: {self._how()}{kept})"

    @property
    def clamped(self) -> Tensor:
        """The images within [−1, 1], as they are written to files."""
        return self.images.clamp(-1, 1)

    def to_uint8(self) -> Tensor:
        """The images as 0 … 255, clamped, (n, C, H, W) uint8 on the CPU."""
        return to_uint8(self.images)

    def to_pil(self) -> list[Any]:
        """The images as Pillow's.

        Raises:
            UserError: without Pillow, and other than 1 or 3 channels.
        """
        _require_pillow()
        return [picture(image) for image in self.to_uint8()]

    def sheet(self, columns: int | None = None, scale: int | None = None) -> Any:
        """All images (at most 400) on one Pillow image, near square unless ``columns`` is given;
        small ones are enlarged (``scale`` times).

        Raises:
            UserError: as :meth:`to_pil`.
        """
        _require_pillow()
        return picture(self._sheet(columns, scale))

    def show_trajectory(self, frames: int = 10, scale: int | None = None) -> Any:
        """x0 over the evaluations as one Pillow image: a row for each of the first eight samples,
        ``frames`` moments across.

        Raises:
            UserError: where it was not asked for, and as :meth:`to_pil`.
        """
        if self.trajectory is None:
            raise UserError("This run kept no trajectory; sample with trajectory=True.")
        _require_pillow()
        return picture(strip(self.trajectory[:, :STRIP_ROWS], frames, scale))

    def save(self, folder: Path | str, *, overwrite: bool = False) -> Path:
        """Write the images as PNG files, a sheet and ``run.json``, as ``diffdescent sample`` does;
        the folder. ``diffdescent.repeat(folder)`` makes the images again.

        What is there of the same run stays, also in the record.

        Raises:
            UserError: a folder with another run (unless it may be overwritten) or other files, and
                as :meth:`to_pil`.
        """
        _require_pillow()
        out = Path(folder)
        store = Store(out, RUN, self.record.entries(), overwrite)
        store.check()
        if not overwrite:
            store = Store(out, RUN, joined(self.record, out).entries())
        files = [png_bytes(image) for image in self.to_uint8()]
        store.claim()
        for sample, file in zip(self.record.samples, files, strict=True):
            store.write(image_name(sample), file)
        if self.trajectory is not None:
            save_png(strip(self.trajectory[:, :STRIP_ROWS]), out / "trajectory.png")
        write_sheet(out, self.images.shape[1])
        return out

    def _repr_png_(self) -> bytes | None:
        """The sheet, for notebooks; None where it cannot be drawn."""
        if not self._drawable():
            return None
        return png_bytes(self._sheet(None, None))

    def _repr_html_(self) -> str:
        """The sheet with a line on how it was made, for notebooks."""
        line = f"<small>{escape(repr(self))}</small>"
        png = self._repr_png_()
        if png is None:
            return line
        data = base64.b64encode(png).decode()
        alt = escape(f"{counted(len(self.images), 'image')}: {self._how()}", quote=True)
        return (
            f"<img src='data:image/png;base64,{data}' alt='{alt}' style='max-width:100%;"
            f"image-rendering:pixelated'><br>{line}"
        )

    def _how(self) -> str:
        chain = [self.record.recipe, *filter(None, [self.record.guidance])]
        evaluations = counted(self.nfe or self.plan.nfe, "evaluation")
        where = f"on {self.plan.grid.name}, {evaluations}, seed {self.record.seed}"
        return f"{' under '.join(chain)} {where}"

    def _sheet(self, columns: int | None, scale: int | None) -> Tensor:
        return sheet(to_uint8(self.images[:SHEET_LIMIT]), columns, scale)

    def _drawable(self) -> bool:
        return self.images.ndim == 4 and self.images.shape[1] in (1, 3) and _has_pillow()


def _has_pillow() -> bool:
    try:
        import PIL  # noqa: F401
    except ImportError:
        return False
    return True


def _require_pillow() -> None:
    if not _has_pillow():
        raise UserError(NEEDS)
