"""An image is measured, and restored from the measurement: what the Restore tab shows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.image_sets.decoding import decode
from diffdescent.base.images import from_uint8, to_uint8
from diffdescent.base.reading import reason
from diffdescent.core.noise import normals
from diffdescent.core.operators.bound import Bound, Linear
from diffdescent.run import Batch, Run, prepare, watch
from diffdescent.run.restoring import bind, prepare_restoration

from .comparing import page
from .preparing import MOST_EVALUATIONS, MOST_IMAGES, Mistake, Setting, at

MOST_BYTES = 8_000_000
TOO_LARGE = f"The picture has {{}} MB; at most {MOST_BYTES // 10**6} MB are taken."
_MEASUREMENT = -7
"""The step by which a measurement's noise is keyed: that of no run."""
_PICTURE = ("unipc", 20)
"""What draws the picture where none was uploaded: a recipe and its steps."""


def read_upload(path: Path, shape: tuple[int, ...]) -> Tensor:
    """An uploaded picture, cut to the middle and resized to ``shape`` (C, H, W), uint8; the file is
    removed, whatever it was.

    It is decoded as every image is, turned as its camera lay, and as nothing else. Raises
    :class:`UserError` for a file that is too large or not an image.
    """
    from PIL import Image

    channels, height, width = shape
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(TOO_LARGE.format(f"{path.stat().st_size / 1e6:.1f}"))
        pixels = decode(path.read_bytes(), None)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # of damaged files Pillow raises anything, by their format
        raise UserError(
            f"The image {path.name} cannot be decoded ({reason(error)}); give a PNG or JPEG file."
        ) from None
    finally:
        path.unlink(missing_ok=True)
    kept = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    kept = kept.convert("L" if channels == 1 else "RGB")
    part = min(kept.width / width, kept.height / height)
    left, top = (kept.width - part * width) / 2, (kept.height - part * height) / 2
    # Cut first: a picture of one row, enlarged as a whole, would take all memory.
    box = (
        max(left, 0.0),
        max(top, 0.0),
        min(left + part * width, kept.width),
        min(top + part * height, kept.height),
    )
    cut = kept.resize((width, height), Image.Resampling.LANCZOS, box)
    array = torch.frombuffer(bytearray(cut.tobytes()), dtype=torch.uint8)
    return array.reshape(height, width, channels).permute(2, 0, 1).clone()


@dataclass
class RestorationRun:
    """One picture on its way: ``truth`` and what was ``measured`` of it as sheets, None before they
    are there, the newest ``preview`` of the samples, and at the end their ``images`` and PSNR.

    ``drawing`` is the run that draws the picture, where none was uploaded.
    """

    setting: Setting
    run: Run
    drawing: Run | None = None
    truth: Tensor | None = None
    measured: Tensor | None = None
    done: int = 0
    preview: Tensor | None = None
    images: Tensor | None = None
    _true: Tensor = field(default_factory=lambda: torch.empty(0), repr=False)

    @property
    def mean(self) -> Tensor | None:
        """The mean of the samples, as a sheet."""
        return None if self.images is None else page(self.images.mean(0, keepdim=True))

    @property
    def psnr(self) -> float | None:
        """That of the mean, in decibels."""
        if self.images is None:
            return None
        error = float((self.images.mean(0).cpu() - self._true).square().mean())
        return math.inf if error == 0 else 10 * math.log10(4 / error)

    @classmethod
    def of(cls, setting: Setting, upload: Tensor | None) -> RestorationRun:
        """Everything prepared, nothing evaluated; ``upload`` None draws a picture from the model
        first. Raises :class:`Mistake`."""
        asked = setting.state.restore
        if not 1 <= asked.samples <= MOST_IMAGES:
            raise Mistake("restore.samples", f"Samples must be 1 to {MOST_IMAGES}.")
        if not 1 <= asked.evaluations <= MOST_EVALUATIONS:
            raise Mistake("restore.evaluations", f"Evaluations must be 1 to {MOST_EVALUATIONS}.")
        if upload is None:
            drawing = _drawing(setting)
            run, _ = _measured(setting, torch.zeros(drawing.shape))  # for what is wrong with it
            return cls(setting, run, drawing)
        x = from_uint8(upload)
        if tuple(x.shape) != tuple(setting.model.shape or x.shape):
            raise Mistake("model", "The picture was cut for another model; upload it again.")
        run, measured = _measured(setting, x)
        return cls(setting, run, None, page(x[None]), measured, _true=x.cpu())

    def steps(self) -> Iterator[None]:
        """The work, an evaluation at a time. Raises :class:`UserError` for NaN from the model."""
        if self.drawing is not None:
            for one in watch(self.drawing):
                if isinstance(one, Batch):
                    x = from_uint8(to_uint8(one.images[0]))
                    self.run, self.measured = _measured(self.setting, x)
                    self.truth, self._true = page(x[None]), x.cpu()
                else:
                    self.truth = page(one.x0)
                yield
        for one in watch(self.run):
            if isinstance(one, Batch):
                self.images = one.images
                self.preview = page(one.images)
            else:
                self.done = one.index + 1
                self.preview = page(one.x0)
            yield


def _measured(setting: Setting, x: Tensor) -> tuple[Run, Tensor | None]:
    """The restoration of what is measured of the picture x (C, H, W), and the measurement as a
    sheet. Raises :class:`Mistake`."""
    state, asked = setting.state, setting.state.restore
    bound, _ = at(
        "restore.operator",
        lambda: bind(asked.operator, tuple(x.shape), state.seed, x.device, torch.float32),
    )
    y = bound.forward(x[None])
    if not 0 <= asked.noise < math.inf:
        raise Mistake("restore.noise", f"The noise must be at least 0, not {asked.noise:g}.")
    y = y + asked.noise * normals(
        state.seed, torch.tensor([state.sample]), bound.out_shape, _MEASUREMENT
    ).to(y)
    run = at(
        "restore.method",
        lambda: prepare_restoration(
            setting.model,
            y,
            asked.operator,
            noise=asked.noise,
            method=asked.method,
            nfe=asked.evaluations,
            n=asked.samples,
            seed=state.seed,
            labels=state.label.strip() or None,
            guidance=setting.guidance,
        ),
    )
    return run, _shown(bound, y)


def _drawing(setting: Setting) -> Run:
    """The run that draws a picture: the first sample of the seed. Raises :class:`Mistake`."""
    state = setting.state
    recipe, steps = _PICTURE
    return at(
        "label",
        lambda: prepare(
            setting.model,
            recipe,
            steps=steps,
            samples=[state.sample],
            seed=state.seed,
            labels=state.label.strip() or None,
        ),
    )


def _shown(bound: Bound, y: Tensor) -> Tensor | None:
    """A measurement as a picture: itself, or the shortest image that explains it."""
    if len(bound.out_shape) == 3 and bound.out_shape[0] in (1, 3):
        return page(y)
    if isinstance(bound, Linear):
        return page(bound.pinv(y))
    return None
