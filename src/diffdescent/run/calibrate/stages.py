"""The stages of a calibration, each with what it keeps and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from diffdescent.run.pieces import Pieces

from .cost import JUDGED, Cost
from .counts import CHOICE, CHOICE_SAMPLES, DIFFERED, FIT_SAMPLES, HELD_SAMPLES, ROUNDS, SEARCHED
from .decide import held_loss
from .fixed import Rival, best_fixed
from .kept import kept_levels, kept_rival
from .local import LocalFit, fit_rows
from .loss import Loss
from .pays import as_near_as
from .refine import refine
from .search import Places, nearest, search_levels
from .shape import Shape
from .subject import Subject
from .teacher import Trajectories, check_converged, teacher_error, trajectories

Note = Callable[[str], None]


@dataclass(frozen=True)
class Work:
    """What the stages share: the model, ``nfe``, the noises' ``seed``, the teacher's ``levels``,
    the loss, the folder of pieces, the cost, and where a line is told when a stage ends."""

    subject: Subject
    nfe: int
    seed: int
    levels: int
    aim: Loss
    pieces: Pieces
    cost: Cost
    say: Note

    @property
    def searches(self) -> Pieces:
        """Where what the loss decided is kept: nowhere, if its text does not say which it is."""
        return self.pieces if self.aim.named else Pieces(None)

    @property
    def asked(self) -> dict[str, int | str]:
        """On what the searches depend beside the model."""
        return {
            "nfe": self.nfe, "seed": self.seed, "levels": self.levels, "loss": self.aim.text
        }  # fmt: skip

    def solved(self, first: int, count: int, keep: bool = False) -> Trajectories:
        """The teacher's paths of ``count`` noises."""
        return trajectories(
            self.subject, range(first, first + count), seed=self.seed, levels=self.levels,
            keep=keep, pieces=self.pieces,
        )  # fmt: skip

    def teacher(self, count: int, held_out: int) -> tuple[Trajectories, Trajectories, float]:
        """The paths that are fitted to, the held-out ones, and the teacher's own error.

        Raises :class:`UserError` for a teacher that has not settled.
        """
        data = self.solved(FIT_SAMPLES, count, keep=True)
        held = self.solved(HELD_SAMPLES, held_out)
        checked = range(HELD_SAMPLES, HELD_SAMPLES + min(4, held_out))
        error = teacher_error(self.subject, held, checked, seed=self.seed, levels=self.levels)
        self.say(
            f"{len(data)} + {len(held)} trajectories of {self.levels} levels, error {error:.2g}"
        )
        check_converged(held, error, self.levels)
        self.cost.on("teacher")
        return data, held, error

    def opponent(self, data: Trajectories) -> Rival:
        """The best fixed sampler."""
        found = kept_rival(
            self.searches, {**self.asked, "trajectories": len(data)}, self.subject, self.nfe,
            lambda: best_fixed(self.subject, data, self.nfe, self.say, self.aim),
        )  # fmt: skip
        self.cost.on("fixed samplers")
        return found

    def places(self, data: Trajectories, form: Shape, rival: Rival, search: bool) -> Places:
        """The places of the levels among the teacher's: searched, or the opponent's."""
        walked = [row.at.ratio for row in rival.plan.rows]
        few = data[:SEARCHED]
        found = nearest(data.levels[:-1], walked)
        if search:
            settings = {"form": repr(form), "from": walked, "trajectories": len(few)}
            found = kept_levels(
                self.searches, {**self.asked, **settings}, self.subject,
                lambda: search_levels(
                    self.subject, few, self.nfe, form, [walked], self.say, self.aim
                ),
            )  # fmt: skip
        self.cost.on("levels")
        return found

    def rows(self, data: Trajectories, places: Places, form: Shape) -> LocalFit:
        """The rows, step by step."""
        found = fit_rows(self.subject, data, places, form)
        self.cost.on("rows")
        return found

    def together(self, data: Trajectories, local: LocalFit, form: Shape, rounds: int) -> LocalFit:
        """Levels and rows end to end: the round that is the nearest on noises of its own, or
        ``local``."""
        if not rounds:
            return local
        choice = self.solved(CHOICE_SAMPLES, CHOICE)
        found = refine(
            self.subject, data if self.nfe in ROUNDS else data[:DIFFERED], local, form, self.say,
            rounds, lambda one: held_loss(self.subject, choice, one, form, self.aim), self.aim,
        )  # fmt: skip
        self.cost.on("end to end")
        return found

    def as_near(
        self, data: Trajectories, held: Trajectories, fit: LocalFit, form: Shape, rival: Rival
    ) -> int | None:
        """How many evaluations a fixed sampler needs to be as near as the fit."""
        some = held[:JUDGED]
        reached = held_loss(self.subject, some, fit, form, self.aim)
        return as_near_as(self.subject, data, some, rival, self.aim, reached)
