"""The numbers that decide how the limbs of an image are read."""

from __future__ import annotations

SCALE = 3
"""Images are enlarged by this factor before anything is measured."""
THICK, MARGIN = 1.6, 0.4
"""Least half width of a body part, and how far beyond what fits in it a part reaches, in pixels."""
SHORTEST = 2.5
"""Least length of a limb outside the body in pixels; the shortest of the training set has about
5."""
SPECK = 3.0
"""Separate pieces up to this area (square pixels) are ignored; a larger one makes the image
unreadable."""
GRAIN = 0.1
"""Brightness this near to black or white counts as black or white when an image is tested for
blur."""
GREYEST = 0.75
"""Largest share of grey, Σ4v(1−v)/Σv with v the brightness in [0, 1]; renders have .28 to .47."""
ROUND = 1.5
"""A body whose longer axis is up to this many times the shorter one is a palm (axes: standard
deviations of its core)."""
LOW = 0.68
"""Limbs that leave the torso below this share of its height are legs."""
TIP_RADIUS = (
    2.5  # a tip is farther from the body than every pixel of its limb within this many pixels
)


def thresholds() -> dict[str, float]:
    """The numbers that decide a reading: readings of other thresholds are not to be mixed with
    these."""
    return {
        "scale": SCALE,
        "thick": THICK,
        "margin": MARGIN,
        "shortest": SHORTEST,
        "speck": SPECK,
        "grain": GRAIN,
        "greyest": GREYEST,
        "round": ROUND,
        "low": LOW,
        "reach": TIP_RADIUS,
    }
