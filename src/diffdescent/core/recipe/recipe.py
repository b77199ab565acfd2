"""A recipe: a solver and its chain of transforms."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from diffdescent.base.errors import UserError
from diffdescent.base.words import shown
from diffdescent.core.calls import check_fields
from diffdescent.core.grammar import print_element
from diffdescent.core.grid import Grid
from diffdescent.core.options import Options
from diffdescent.core.plan import Plan
from diffdescent.core.solvers import Solver
from diffdescent.core.solvers.calibrated import Calibrated
from diffdescent.core.transforms import Displacement, Estimate, Monitor, Rewrite, Transform

from .elements import transforms_of


@dataclass(frozen=True)
class Recipe:
    """A solver and its transforms, in the order in which they are applied.

    ``grid`` is the text of the grid that its name asks for (``"DPM++ 2M Karras"``) or its file
    holds, ``usual_grid`` that of the scheduler class whose name it is, for where nothing else says
    the levels.

    ``recipe | transform`` appends a transform, or those of a text: ``recipe | "momentum(-0.3)"``.

    Raises:
        UserError: a chain that makes no sense.
    """

    solver: Solver
    transforms: tuple[Transform, ...] = ()
    grid: str | None = dataclasses.field(default=None, compare=False)
    usual_grid: str | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.grid is None and isinstance(self.solver, Calibrated):
            object.__setattr__(self, "grid", self.solver.grid)
        rewrites = [t for t in self.transforms if isinstance(t, Rewrite)]
        if len(rewrites) > 1:
            raise UserError(
                "A chain can hold one gradient estimation; keep one ge(...) and drop the other."
            )
        if any(move.wants_parts for move in self.displacements[1:]):
            raise UserError(
                "pxp sees the parts of the sampler's own step, so it comes once in a chain and"
                " before momentum."
            )

    def __or__(self, transform: Transform | str) -> Recipe:
        if isinstance(transform, str):
            more = transforms_of(transform)
        elif isinstance(transform, Transform):
            more = (transform,)
        else:
            return NotImplemented
        return dataclasses.replace(self, transforms=(*self.transforms, *more))

    def behind(self, front: tuple[Transform, ...]) -> Recipe:
        """The same with ``front`` before its own transforms, as guidance puts its own."""
        return dataclasses.replace(self, transforms=(*front, *self.transforms))

    def __repr__(self) -> str:
        return f"Recipe({str(self)!r})"

    def __str__(self) -> str:
        # A monitor only looks: it does not take part in making the images.
        parts = [t for t in self.transforms if not isinstance(t, Monitor)]
        return " | ".join(print_element(part) for part in (self.solver, *parts))

    @property
    def contents(self) -> dict[str, str]:
        """Of each file that it names, by its name, a hash of what was read."""
        found: dict[str, str] = {}
        for part in (self.solver, *self.transforms):
            if isinstance(part, Options):  # an object of your own may be none
                found |= part.contents
        return found

    def plan(self, grid: Grid) -> Plan:
        """The rows for ``grid``, linear estimate transforms folded in."""
        plan = self.solver.plan(grid)
        if not isinstance(plan, Plan):
            raise UserError(
                f"The solver {self.solver.name!r} gave {shown(plan)} for a plan; let its"
                " plan(self, grid) return a Plan."
            )
        for transform in self.transforms:
            if isinstance(transform, Rewrite):
                plan = transform.rewrite(plan)
        return plan

    @property
    def whole_batch(self) -> bool:
        """Whether an image depends on the others of its batch: a transform looks at all of them at
        once."""
        return any(transform.whole_batch for transform in self.transforms)

    @property
    def estimates(self) -> tuple[Estimate, ...]:
        """The transforms that act on each evaluation."""
        return tuple(t for t in self.transforms if isinstance(t, Estimate))

    @property
    def displacements(self) -> tuple[Displacement, ...]:
        """The transforms that act on each committed step."""
        return tuple(t for t in self.transforms if isinstance(t, Displacement))

    @property
    def linear(self) -> bool:
        """Whether the result is a linear function of the evaluations."""
        return all(t.linear for t in self.transforms)
