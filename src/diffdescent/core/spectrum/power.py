"""The power spectrum of images: how large their cosine coefficients are at each spatial frequency.

S(ρ) is the mean square of the orthonormal cosine coefficients of x0 at the radial frequency ρ, for
each group of channel axes: 1 for unit white noise. Between knots log S is linear in log ρ.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.hashes import json_hash
from diffdescent.base.reading import read_json
from diffdescent.core.process import Array

from .axes import Axes, named_axes, same_for_all
from .bands import Bands, radial_frequency
from .rows import Curves, to_axes

FORMAT, VERSION = "diffdescent-spectrum", 1
STANDARD_SIZE, STANDARD_VARIANCE = 32, 0.25
"""A power law has this variance of a pixel at this size, unless it says its S(1)."""
LAW_KNOTS = 33
FLOOR = 1e-8
"""The least S, relative to the largest: images without any of a frequency."""
SMOOTH = 1e-3
"""Weight of the second differences of log S at knots, against one frequency's measurement."""
_FORM = re.compile(r"\s*(white|power)\s*\(([^()]*)\)\s*")


@dataclass(frozen=True)
class Spectrum:
    """``power[group][knot]`` is S at the knots of ``bands``, for each group of ``axes``.

    Raises :class:`UserError` unless there is one positive number for each.
    """

    axes: Axes
    bands: Bands
    power: Curves
    measured: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        fits = len(self.power) == self.axes.count and all(
            len(curve) == self.bands.count and all(0 < s < math.inf for s in curve)
            for curve in self.power
        )
        if not fits:
            raise UserError(
                f"A power spectrum needs {self.axes.count} curves of {self.bands.count} positive"
                f" numbers, not {self.power}."
            )

    @property
    def white(self) -> bool:
        """Whether it is one number, the same for every frequency and channel."""
        return self.bands.count == 1 and self.axes.count == 1

    @property
    def digest(self) -> str:
        """What identifies the spectrum, wherever it was measured."""
        return json_hash([self.axes.matrix, self.axes.groups, self.bands.knots, self.power], 16)

    def over(self, shape: tuple[int, int, int]) -> Array:
        """S of each coefficient of images (C, H, W), an axis in each channel's place.

        Raises :class:`UserError` for another number of channels.
        """
        if not self.axes.fit(shape[0]):
            raise UserError(
                f"This power spectrum is of images with {self.axes.channels} channels, not of"
                f" {shape[0]}; measure one with diffdescent spectrum."
            )
        curves = [np.exp(self.bands.curve(list(np.log(one)), *shape[1:])) for one in self.power]
        groups = self.axes.groups if self.axes.channels == shape[0] else (0,) * shape[0]
        return np.stack([curves[group] for group in groups])

    def to_json(self) -> str:
        """The text of a file that :func:`read_spectrum` takes."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "measured": dict(self.measured),
            "axes": {
                "name": self.axes.name, "matrix": self.axes.matrix, "groups": self.axes.groups,
            },
            "knots": self.bands.knots,
            "power": self.power,
        }  # fmt: skip
        lines = (f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in content.items())
        return "{\n" + ",\n".join(lines) + "\n}\n"


def white(variance: float) -> Spectrum:
    """S = ``variance`` at every frequency."""
    return Spectrum(same_for_all(), Bands((1.0,)), ((variance,),))


def power_law(slope: float, at_one: float | None = None) -> Spectrum:
    """S(ρ) = ``at_one``·ρ^−slope, in all channels; constant below ρ = 1/2048.

    Without ``at_one`` the pixels of a 32×32 image have the variance 1/4, a standard deviation of
    half the range. Natural images have slopes near 2 (Field 1987).
    """
    knots = np.geomspace(0.5 / 1024, math.sqrt(2), LAW_KNOTS)
    if at_one is None:
        rho = np.maximum(radial_frequency(STANDARD_SIZE, STANDARD_SIZE), 0.5 / STANDARD_SIZE)
        at_one = STANDARD_VARIANCE / float(np.mean(rho**-slope))
    return Spectrum(same_for_all(), Bands(tuple(knots)), (tuple(at_one * knots**-slope),))


def measure_spectrum(
    images: Tensor, axes: str = "usual", bands: int = 10, **measured: Any
) -> Spectrum:
    """The spectrum of ``images`` (B, C, H, W) in [−1, 1]: the smooth curve nearest to the logarithm
    of their mean power. ``measured`` goes into the file, to say what was measured.

    Raises :class:`UserError` for another shape, fewer than two images, and images without any
    contrast.
    """
    if images.ndim != 4 or len(images) < 2:
        raise UserError(
            "A power spectrum is measured on at least two images, of shape (batch, channels,"
            f" height, width), not on {tuple(images.shape)}."
        )
    form = named_axes(axes, images.shape[1])
    height, width = images.shape[-2:]
    knots = Bands.for_size(min(height, width), bands)
    values = to_axes(images.detach().double(), form.tensor(images.double()), form)
    power = values.square().mean(0).cpu().numpy()  # (C, H, W)
    if not float(power.max()) > 0:
        raise UserError("The images have no contrast at all, so they have no spectrum.")
    hats = knots.hats(height, width).reshape(knots.count, -1)
    bend = np.diff(np.eye(knots.count), 2, axis=0) if knots.count > 2 else np.zeros((0, 1))
    smooth = SMOOTH * bend.T @ bend if len(bend) else 0.0
    curves = []
    for group in range(form.count):
        one = power[form.members(group)].mean(0).ravel()
        goal = np.log(np.maximum(one, FLOOR * power.max()))
        found = np.linalg.solve(hats @ hats.T + smooth, hats @ goal)
        curves.append(tuple(map(float, np.exp(found))))
    shape = [len(images), *images.shape[1:]]
    return Spectrum(form, knots, tuple(curves), {"images": shape, **measured})


@lru_cache(maxsize=64)
def _law(name: str, numbers: tuple[float, ...]) -> Spectrum:
    return white(*numbers) if name == "white" else power_law(*numbers)


def names_law(text: str) -> bool:
    """Whether the text is that of a law, and else of a file."""
    return _FORM.fullmatch(text) is not None


def parse_spectrum(text: str) -> Spectrum:
    """``white(VARIANCE)``, ``power(SLOPE)``, ``power(SLOPE, S AT 1)``, or the JSON file of a
    measured one.

    Raises :class:`UserError` for anything else, with what may be written.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        if not text.endswith(".json"):
            raise UserError(
                f"The power spectrum {text!r} is not known; write white(0.25), power(1.8) or"
                " power(1.8, 0.02), or a .json file that diffdescent spectrum wrote."
            )
        return read_spectrum(Path(text))
    name, inner = form.group(1), form.group(2)
    try:
        numbers = tuple(float(one) for one in inner.split(","))
    except ValueError:
        numbers = ()
    positive = numbers if name == "white" else numbers[1:]
    known = 1 <= len(numbers) <= (1 if name == "white" else 2)
    small = name == "white" or (bool(numbers) and 0 <= numbers[0] <= 8)
    if not known or not small or not all(1e-12 <= n <= 1e12 for n in positive):
        raise UserError(
            f"The power spectrum {text!r} cannot be read; write white(VARIANCE), or power(SLOPE)"
            " with a slope from 0 to 8, with the power at ρ = 1 as a second number if you know it."
        )
    return _law(name, numbers)


def read_spectrum(path: Path) -> Spectrum:
    """The spectrum in a file.

    Raises :class:`UserError` where there is none, or it is damaged.
    """
    if not path.exists():
        raise UserError(
            f"There is no power spectrum {str(path)!r}; measure one with diffdescent spectrum."
        )
    content = read_json(path, "power spectrum")
    try:
        if content["format"] != FORMAT or content["version"] != VERSION:
            raise ValueError
        axes = content["axes"]
        matrix = tuple(tuple(map(float, row)) for row in axes["matrix"])
        return Spectrum(
            Axes(str(axes["name"]), matrix, tuple(map(int, axes["groups"]))),
            Bands(tuple(map(float, content["knots"]))),
            tuple(tuple(map(float, curve)) for curve in content["power"]),
            dict(content["measured"]),
        )
    except UserError as error:
        reason = f"is damaged ({error})"
    except (KeyError, TypeError, ValueError, OverflowError):
        reason = "is not one of ours"
    raise UserError(
        f"The power spectrum {str(path)!r} {reason}; measure one with diffdescent spectrum."
    )
