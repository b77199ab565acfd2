"""Up to four recipes from the same noise, in turn, an evaluation each: what the Compare tab
shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import ceil

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.images import sheet, to_uint8
from diffdescent.run import Batch, Progress, Run, watch

from .converged import Distance, Solution, Solutions, key_of, rms, solve
from .preparing import Mistake, Setting, check_shared, prepare_lane

FRAMES = 60
"""States of a trajectory that are kept, at most."""
FRAME_BYTES = 8_000_000
"""And in all of a lane's frames, at most so many bytes."""


@dataclass
class LaneRun:
    """One recipe on its way.

    ``frames`` are sheets (C, H, W) uint8 of x̂0 after the evaluations ``frame_at``; the last one is
    of the images, which stand at evaluation ``nfe``. ``seconds`` counts this lane's evaluations
    alone.
    """

    run: Run
    done: int = 0
    seconds: float = 0.0
    newest: Tensor | None = None
    frames: list[Tensor] = field(default_factory=list)
    frame_at: list[int] = field(default_factory=list)
    images: Tensor | None = None
    distance: Distance | None = None
    problem: str | None = None

    @property
    def nfe(self) -> int:
        """Evaluations of the whole run."""
        return self.run.plan.nfe

    @property
    def finished(self) -> bool:
        """Whether nothing more comes."""
        return self.images is not None or self.problem is not None

    def see(self, one: Progress | Batch) -> None:
        """Take an evaluation, or the end."""
        if isinstance(one, Batch):
            self.images = one.images
            self._keep(page(one.images), always=True)
            return
        self.done = one.index + 1
        self._keep(page(one.x0), always=False)

    def _keep(self, frame: Tensor, always: bool) -> None:
        self.newest = frame
        most = max(2, min(FRAMES, FRAME_BYTES // max(1, frame.numel())))
        if always or (self.done - 1) % ceil(self.nfe / most) == 0:
            self.frames.append(frame)
            self.frame_at.append(self.done)


@dataclass
class Comparison:
    """The lanes of a state. :meth:`steps` does the work, an evaluation at a time; leaving it stops
    everything."""

    setting: Setting
    lanes: list[LaneRun]
    solutions: Solutions
    note: str = ""
    finished: bool = False

    @classmethod
    def of(cls, setting: Setting, solutions: Solutions) -> Comparison:
        """Everything prepared, nothing evaluated. Raises :class:`Mistakes` for bad input."""
        mistakes: dict[str, str] = {}
        _attempt(partial(check_shared, setting), mistakes)
        if mistakes:
            raise Mistakes(mistakes)
        count = len(setting.state.lanes)
        runs = [_attempt(partial(prepare_lane, setting, i), mistakes) for i in range(count)]
        if mistakes:
            raise Mistakes(mistakes)
        return cls(setting, [LaneRun(run) for run in runs if run is not None], solutions)

    def steps(self) -> Iterator[int | None]:
        """The number of the lane that has changed, None where only the note has."""
        yield from self._images()
        if self.setting.state.converged:
            yield from self._distances()
        self.finished, self.note = True, f"finished{self._closest()}"
        yield None

    def _images(self) -> Iterator[int]:
        under_way = {i: watch(lane.run) for i, lane in enumerate(self.lanes)}
        while under_way:
            for i in list(under_way):
                lane, begun = self.lanes[i], time.perf_counter()
                try:
                    lane.see(next(under_way[i]))
                except StopIteration:
                    del under_way[i]
                    continue
                except UserError as error:
                    lane.problem = str(error)
                    del under_way[i]
                lane.seconds += time.perf_counter() - begun
                yield i

    def _distances(self) -> Iterator[int | None]:
        groups: dict[Hashable, list[int]] = {}
        for i, lane in enumerate(self.lanes):
            if lane.images is not None:
                groups.setdefault(key_of(self.setting, lane.run), []).append(i)
        for number, (key, members) in enumerate(groups.items(), 1):
            solution = self.solutions.get(key)
            if solution is None:
                for one in self._solving(self.lanes[members[0]].run):
                    if isinstance(one, Solution):
                        solution = one
                        self.solutions.keep(key, one)
                    else:
                        self.note = (
                            f"converged solution {number} of {len(groups)}: evaluation {one} of"
                            f" {self.setting.state.converged // 2 + self.setting.state.converged}"
                        )
                        yield None
            for i in members if solution is not None else ():
                images = self.lanes[i].images
                assert images is not None
                assert solution is not None
                self.lanes[i].distance = Distance(rms(images, solution.images), solution.error)
                yield i

    def _closest(self) -> str:
        """Which recipes end nearest to the converged solution, as far as its error lets one say;
        a sampler that draws noise is on the way to another image."""
        known = {
            i: lane.distance
            for i, lane in enumerate(self.lanes, 1)
            if lane.distance is not None and not lane.run.plan.stochastic
        }
        if len(known) < 2:
            return ""
        best = min(known.values(), key=lambda one: one.value)
        most = best.value + best.error
        near = [f"{i}" for i, one in known.items() if one.value - one.error <= most]
        if len(near) == 1:
            return f"; recipe {near[0]} is nearest to the converged solution"
        return (
            f"; recipes {', '.join(near[:-1])} and {near[-1]} are nearest to the converged solution"
        )

    def _solving(self, run: Run) -> Iterator[int | Solution]:
        """The solution, or none where the guidance cannot be run to its limit."""
        try:
            yield from solve(self.setting, run)
        except UserError as error:
            self.note = f"There is no converged solution: {error}"


class Mistakes(Exception):
    """Bad input, a sentence for each place."""

    def __init__(self, sentences: dict[str, str]) -> None:
        super().__init__("; ".join(sentences.values()))
        self.sentences = sentences


def _attempt(attempt: Callable[[], Run | None], mistakes: dict[str, str]) -> Run | None:
    """What it gives; a mistake is written down, the first one of its place."""
    try:
        return attempt()
    except Mistake as mistake:
        mistakes.setdefault(mistake.place, mistake.sentence)
        return None


def page(images: Tensor) -> Tensor:
    """Images (n, C, H, W) as one near-square sheet, uint8, (C, H', W')."""
    shown = to_uint8(images)
    if shown.shape[1] not in (1, 3):  # latents and the like: the first channel alone
        shown = shown[:, :1]
    return sheet(shown, gap=1) if len(shown) > 1 else torch.clone(shown[0])
