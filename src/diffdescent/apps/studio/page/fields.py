"""The fields of the page by the names that they have in an address; their values are the state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from diffdescent.base.errors import UserError

from ..models import Models
from ..preparing import Mistake, Setting
from ..state import LANES, State
from ..views import mistake

Values = tuple[Any, ...]


@dataclass
class Fields:
    """Components in their order. ``lanes`` says how many of the :data:`LANES` recipes are shown,
    ``problems`` has the place for a sentence next to each field."""

    models: Models
    components: dict[str, gr.components.Component] = field(default_factory=dict)
    problems: dict[str, gr.HTML] = field(default_factory=dict)

    def add(self, name: str, component: Any) -> Any:
        """Take a component in, with a place for what is wrong with it."""
        self.components[name] = component
        self.problems[name] = gr.HTML(
            elem_id=f"problem-{name.replace('.', '-')}", elem_classes="dd-problem", padding=False
        )
        return component

    @property
    def inputs(self) -> list[gr.components.Component]:
        """All components, for events."""
        return list(self.components.values())

    @property
    def places(self) -> list[gr.HTML]:
        """All places of sentences, in the same order."""
        return list(self.problems.values())

    def state(self, values: Sequence[Any]) -> State:
        """The state of these values, which stand in the order of :attr:`inputs`."""
        shown = dict(zip(self.components, values, strict=True))
        count = int(shown.pop("lanes"))
        hidden = {f"{k}{i}" for i in range(count + 1, LANES + 1) for k in ("recipe", "grid")}
        known = {
            name: str(value)
            for name, value in shown.items()
            if value is not None and name not in hidden
        }
        return State.of_query(known)

    def setting(self, values: Sequence[Any]) -> Setting:
        """The state with its model. Raises :class:`Mistake`."""
        try:
            state = self.state(values)
            return Setting(state, self.models.get(state.model))
        except UserError as error:
            raise Mistake("model", str(error)) from None

    def checked(self, values: Sequence[Any], make: Callable[[Setting], Any]) -> list[Any]:
        """What ``make`` gives of the setting, None for bad input, and a sentence for each place."""
        try:
            return [make(self.setting(values)), *self.sentences({})]
        except Mistake as mistake:
            return [None, *self.sentences({mistake.place: mistake.sentence})]

    def values(self, state: State) -> list[Any]:
        """What the components show of a state."""
        defaults = State().lanes
        lanes = [*state.lanes, *defaults[len(state.lanes) :]][:LANES]
        shown: dict[str, Any] = {"lanes": len(state.lanes)}
        for i, one in enumerate(lanes, 1):
            shown |= {f"recipe{i}": one.recipe, f"grid{i}": one.grid, f"budget{i}": one.budget}
        for part in ("reading", "sweep", "scene", "restore"):
            group = getattr(state, part)
            shown |= {f"{part}.{name}": value for name, value in vars(group).items()}
        shown |= {n: v for n, v in vars(state).items() if n in self.components and n != "lanes"}
        shown["model"] = state.model or self.models.first
        return [shown[name] for name in self.components]

    @property
    def plain(self) -> dict[str, Any]:
        """The fields by name with their values in a state of defaults, for the address."""
        return dict(zip(self.components, self.values(State()), strict=True))

    def sentences(self, mistakes: dict[str, str]) -> list[str]:
        """What stands at each place: the mistakes, and nothing where there is none."""
        left = dict(mistakes)
        found = [mistake(left.pop(name, None)) for name in self.problems]
        if left:  # a place that this page does not show
            found[0] += "".join(map(mistake, left.values()))
        return found
