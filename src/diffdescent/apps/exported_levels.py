"""Noise levels as other programs take them: ComfyUI's SIGMAS, diffusers' ``sigmas=`` and
``timesteps=``."""

from __future__ import annotations

from dataclasses import dataclass

from diffdescent.apps.kdiffusion.sigmas import Space
from diffdescent.core.process import VP, Process
from diffdescent.core.recipe import grid_named, parse_grid

WARNING = (
    "These levels were fitted together with the coefficients of one sampler; under another sampler"
    " they can be much worse than its usual ones. Where you can, take the sampler itself: the nodes"
    " for ComfyUI, DescentScheduler for diffusers."
)


@dataclass(frozen=True)
class ExportedLevels:
    """``sigmas`` are σ/α (of a flow the times), the end last; ``timesteps`` the times at which the
    network is asked, whole numbers for a discrete process, which moves them a little."""

    sigmas: tuple[float, ...]
    timesteps: tuple[float, ...]
    warning: str | None = None

    def lines(self, program: str) -> list[str]:
        """What to paste: for ``comfyui`` the text of a node that reads sigmas, for ``diffusers``
        arguments of a pipeline's call or of ``set_timesteps``, one of which its scheduler takes."""
        sigmas = ", ".join(f"{s:.7g}" for s in self.sigmas)
        if program == "comfyui":
            return [sigmas]
        times = ", ".join(f"{t:g}" for t in self.timesteps)
        return [f"sigmas=[{sigmas}]", f"timesteps=[{times}]"]


PROGRAMS = ("comfyui", "diffusers")


def exported(grid: str, process: Process, steps: int) -> ExportedLevels:
    """The levels of a grid, or of a calibrated sampler, whose ``warning`` says what they are not
    for. Raises :class:`UserError` for names that are not known."""
    named = grid_named(grid)
    space, points = Space(process), parse_grid(named, process, steps).points
    straight = process.straight
    times = [p.t * (1000 if straight else 1) for p in points[:-1]]
    if isinstance(process, VP):
        times = [float(round(t)) for t in times]
    return ExportedLevels(
        tuple(space.sigma(p) for p in points), tuple(times), WARNING if named != grid else None
    )
