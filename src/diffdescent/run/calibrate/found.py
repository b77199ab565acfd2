"""What a calibration found: the solver, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from diffdescent.base.files import make_folder, write_atomically
from diffdescent.base.statistics import Estimate, plus_minus
from diffdescent.core.spectrum.fitted import FittedSolver

from .fixed import Rival
from .pays import FARTHEST


@dataclass(frozen=True)
class Calibration:
    """What :func:`calibrate` found; :meth:`write` it, and sample with ``calibrated('FILE')``.

    ``solver`` is what the file holds: the fitted rows, or the best fixed sampler as rows where
    these are not nearer to the teacher (``fixed``). ``fitted`` and ``opponent`` are the mean
    distances of both on the held-out noises, ``difference`` their paired difference.
    """

    solver: FittedSolver
    fixed: bool
    fitted: Estimate
    opponent: Estimate
    difference: Estimate
    rival: Rival
    evaluations: int

    @property
    def summary(self) -> str:
        """A few lines for people."""
        report, best = self.solver.report, self.opponent.value
        ratio = f" ({self.fitted.value / best:.2f} of it)" if best else ""
        lines = [
            f"{self.solver.nfe} evaluations, distance to the model's own solution on"
            f" {report['held_out']} held-out noises: {plus_minus(self.fitted, 4)} calibrated,"
            f" {plus_minus(self.opponent, 4)} with {self.rival.recipe} on {self.rival.grid}"
            f"{ratio}.",
        ]
        if decided := report.get("loss"):
            lines.append(
                f"{decided['name']} decides: {_shown(decided['calibrated'])} calibrated,"
                f" {_shown(decided['fixed'])} with the fixed sampler."
            )
        if self.fixed:
            lines.append(
                "The difference may be chance, so the file holds that fixed sampler: calibration"
                " does not help here."
            )
        lines.append(
            f"{self.evaluations} evaluations of one image were spent; the teacher's own error is"
            f" about {report['teacher_error']:.2g}."
        )
        if "pays_off" in report:
            pays = report["pays_off"]
            lines.append(
                f"A fixed sampler is as near with {pays['fixed_evaluations']} evaluations: from"
                f" {pays['images']} images on, the fit has paid for itself."
            )
        elif not self.fixed:
            lines.append(
                f"None of the fixed samplers that were tried at up to {FARTHEST} times the"
                " evaluations is as near."
            )
        if seconds := self.solver.fit.get("seconds"):
            parts = ", ".join(f"{stage} {took:.0f} s" for stage, took in seconds.items())
            lines.append(f"It took {sum(seconds.values()):.0f} s: {parts}.")
        if report["teacher_error"] > self.fitted.value / 4:
            lines.append(
                "That is not much less than the sampler's distance: give the teacher more levels"
                " before you believe these figures."
            )
        return "\n".join(lines)

    def write(self, path: Path | str) -> None:
        """Write the file, atomically, and the folder that it is in."""
        make_folder(Path(path).parent)
        write_atomically(Path(path), self.solver.to_json().encode())


def _shown(entry: Mapping[str, float | None]) -> str:
    """An estimate of the report as a number."""
    value = entry["value"]
    return "not finite" if value is None else f"{value:.4g}"
