"""How the parts of a person, a horse and a hand are laid out, as capsules."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .species import SPECIES, Species

SIZE = 32
"""Side of an image in pixels."""

Array = npt.NDArray[np.float64]

LIMB, CLEARANCE = 1.05, 1.25
"""Half the width of a limb, and the least gap between two limbs away from the body, in pixels."""


def _unit(angle: float) -> Array:
    """0 points down, π/2 to the right, π up."""
    return np.array([np.sin(angle), np.cos(angle)])


def _limb(root: Array, angle: float, bend: float, lengths: tuple[float, float]) -> Array:
    """Two capsules, the second turned by ``bend`` against the first."""
    joint = root + lengths[0] * _unit(angle)
    tip = joint + lengths[1] * _unit(angle + bend)
    return np.array([[*root, *joint, LIMB], [*joint, *tip, LIMB]])


def _spread(count: int, width: float) -> Array:
    """``count`` positions from −width to width; one alone stands in the middle."""
    return np.linspace(-width, width, count) if count > 1 else np.zeros(count)


Draw = np.random.Generator
_Body = tuple[Array, list[Array]]


def _person(species: Species, rng: Draw) -> _Body:
    lean, scale = rng.normal(0, 0.09), rng.uniform(0.93, 1.07)
    up, across = -_unit(lean), np.array([np.cos(lean), -np.sin(lean)])
    hip = np.array([SIZE / 2 + rng.normal(0, 1.6), 18.0 + rng.normal(0, 0.8)])
    shoulder = hip + 4.6 * scale * up
    body = [[*hip, *shoulder, 2.7]]
    for offset in _spread(species.heads, 3.2):
        head = shoulder + 7.2 * scale * up + offset * across
        body += [[*head, *head, 2.6], [*shoulder, *head, LIMB]]
    limbs = []
    for place in _spread(species.legs, 1.0):
        root = hip + 1.9 * place * across
        angle = lean + place * rng.uniform(0.15, 0.75) + (rng.normal(0, 0.2) if place == 0 else 0.0)
        limbs.append(_limb(root, angle, rng.normal(0, 0.35), (4.9 * scale, 4.3 * scale)))
    for i in range(species.arms):
        side = 1 if i % 2 else -1
        root = shoulder + 1.9 * side * across - 0.4 * up
        angle = lean + side * rng.uniform(0.7, 2.5)
        limbs.append(_limb(root, angle, rng.normal(0, 0.6), (4.6 * scale, 3.8 * scale)))
    return np.array(body), limbs


def _horse(species: Species, rng: Draw) -> _Body:
    lean, scale, facing = (
        rng.normal(0, 0.06),
        rng.uniform(0.95, 1.05),
        1 if rng.random() < 0.5 else -1,
    )
    across = np.array([np.cos(lean), -np.sin(lean)])
    half = 5.8 * scale * max(1.0, (species.legs - 1) / (SPECIES["horse"].legs - 1))
    middle = np.array(
        [SIZE / 2 - facing * 0.31 * half / scale + rng.normal(0, 0.8), 15.5 + rng.normal(0, 1.2)]
    )
    body = [[*(middle - half * across), *(middle + half * across), 2.7]]
    for offset in _spread(species.heads, 0.6):
        chest = middle + facing * half * across
        head = chest + 6.9 * scale * _unit(np.pi - facing * (rng.uniform(0.35, 0.85) + offset))
        body += [[*head, *head, 2.3], [*chest, *head, LIMB]]
    limbs = []
    for place in _spread(species.legs, 1.0):
        root = middle + place * half * across + np.array([0.0, 1.0])
        angle = lean + 0.12 * place + rng.normal(0, 0.17)
        limbs.append(_limb(root, angle, rng.normal(0, 0.28), (4.9 * scale, 4.2 * scale)))
    return np.array(body), limbs


def _hand(species: Species, rng: Draw) -> _Body:
    turn, scale = rng.normal(0, 0.10), rng.uniform(0.95, 1.06)
    crowded = species.fingers > SPECIES["hand"].fingers
    spread, rim = (1.42, 4.4) if crowded else (1.3, 3.6)
    palm = np.array([SIZE / 2 + rng.normal(0, 1.2), 20.0 + rng.normal(0, 1.0)])
    limbs = []
    for place in _spread(species.fingers, 1.0):
        angle = np.pi + turn + spread * place + rng.normal(0, 0.05)
        length = (4.6 - 0.9 * abs(place)) * scale * rng.uniform(0.85, 1.12)
        root = palm + rim * _unit(angle)
        limbs.append(_limb(root, angle, rng.normal(0, 0.13), (length, 0.8 * length)))
    return np.array([[*palm, *palm, (rim + 0.7) * scale]]), limbs


BODY_PLANS: dict[str, Callable[[Species, Draw], _Body]] = {
    "person": _person,
    "horse": _horse,
    "hand": _hand,
}
