"""Whether a run is in good health: sizes that are remembered on the device and read once, after the
loop."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.plan import Plan
from diffdescent.core.process import Point

DIVERGED = 100.0
"""A guided state of this many times its usual size is no longer an image."""


class Health:
    """The size of every evaluation of one run, and of the states that guidance moves.

    ``norms`` holds ‖raw‖₂ of every evaluation and sample, (evaluations, B), on the device. Without
    ``record`` there are none, which saves a pass over memory at each evaluation, and only the state
    is checked.
    """

    def __init__(self, plan: Plan, x: Tensor, record: bool) -> None:
        self._plan, self._record = plan, record
        self.norms = torch.zeros(
            len(plan.rows) if record else 0,
            len(x),
            dtype=torch.float64 if x.dtype == torch.float64 else torch.float32,
            device=x.device,
        )
        self._states = torch.zeros_like(self.norms)
        # Made once: a row that is indexed at every evaluation costs more than its norm.
        self._norm_rows, self._state_rows = self.norms.unbind(0), self._states.unbind(0)
        self._guided = False
        self._pixels = tuple(range(1, x.ndim))

    def remember(self, index: int, raw: Tensor, guided_state: Tensor | None) -> None:
        """Take the size of evaluation ``index``, and of the state there if it is guided."""
        if self._record:
            torch.linalg.vector_norm(raw, dim=self._pixels, out=self._norm_rows[index])
        if guided_state is not None:
            self._guided = True
            if self._record:
                torch.linalg.vector_norm(
                    guided_state, dim=self._pixels, out=self._state_rows[index]
                )

    def check(
        self, state: Tensor, point: Point, done: int, steps: int, samples: Sequence[int] | None
    ) -> None:
        """Raise :class:`UserError` for numbers that are not finite, and guided states that diverge.

        ``state`` is the last committed one, at ``point``, after ``done`` evaluations and ``steps``
        steps; ``samples`` translates the batch's rows. This reads from the device.
        """
        last = torch.linalg.vector_norm(state, dim=self._pixels)[None].to(self.norms.dtype)
        if not self._record:
            self._check_state(last[0].cpu(), steps, samples)
            return
        bad = ~torch.isfinite(torch.cat([self.norms[:done], last]).cpu())
        sizes = torch.cat([self._states[:done], last]).cpu()
        usual = torch.tensor([r.at.norm for r in self._plan.rows[:done]] + [point.norm])
        usual = usual[:, None] * math.sqrt(state[0].numel())
        diverged = ~(sizes <= DIVERGED * usual) & self._guided
        if not bool((bad | diverged).any()):
            return
        index = int((bad | diverged).any(dim=1).nonzero()[0, 0])
        row = self._plan.rows[min(index, done - 1)]
        at, after = (point, True) if index == done else (row.at, False)
        where = f"t = {at.t:.6g}, σ/α = {at.ratio:.4g}"
        if bool(diverged[index].any()):
            here = diverged[index]
            raise UserError(
                f"Guidance made the images diverge: {'after' if after else 'at'} step"
                f" {row.step} ({where}) the state has the norm"
                f" {float(sizes[index][here].max()):.3g}, where about {float(usual[index]):.3g} is"
                f" usual, for {_who(here, samples)}; lower the guidance scale, or guide in an"
                " interval of noise levels."
            )
        who = _who(bad[index], samples)
        if after:
            raise UserError(
                f"The sampler's own update left NaN or Inf for {who}; lower the guidance scale or"
                " |beta|."
            )
        raise UserError(
            f"The model returned NaN, Inf or values beyond 1e17 at evaluation {index} (step"
            f" {row.step}, {where}) for {who}; check the model's dtype (fp16 overflows), its"
            " prediction type, or lower the guidance scale."
        )

    def _check_state(self, norms: Tensor, steps: int, samples: Sequence[int] | None) -> None:
        """:meth:`check` where no evaluation was recorded."""
        bad = ~torch.isfinite(norms)
        if bool(bad.any()):
            raise UserError(
                f"The state holds NaN or Inf after step {steps - 1} for {_who(bad, samples)}; check"
                " the model's dtype and its prediction type."
            )


def _who(which: Tensor, samples: Sequence[int] | None) -> str:
    """The samples of a batch that a mask names: how many they are, and the first ones."""
    rows = [int(i) if samples is None else samples[int(i)] for i in which.nonzero()[:, 0]]
    shown = ", ".join(map(str, rows[:8])) + (", …" if len(rows) > 8 else "")
    return f"{len(rows)} of {len(which)} samples ({shown})"
