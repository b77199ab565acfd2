"""The trajectories of the lanes among their noisy surroundings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from diffdescent.core.model_info import info
from diffdescent.lab.landscape import Landscape, draw_landscape
from diffdescent.run import Run

from .background import Made, watched
from .pictures import drawn
from .preparing import Mistake, Setting, steps_of

MOST_NEIGHBOURS = 64
MOST_REFERENCE = 1000


@dataclass(frozen=True)
class Scene:
    """The picture as PNG, and what it holds of the variance, in sentences."""

    picture: bytes
    notes: tuple[str, ...]


def check_scene(setting: Setting) -> None:
    """Raise :class:`Mistake` for settings that a landscape does not take."""
    scene = setting.state.scene
    if not 1 <= scene.around <= MOST_NEIGHBOURS:
        raise Mistake(
            "scene.around", f"Neighbours must be 1 to {MOST_NEIGHBOURS}, not {scene.around}."
        )
    if not 0 < scene.spread < 100:
        raise Mistake("scene.spread", f"The spread must lie in (0, 100), not {scene.spread:g}.")
    if not 1 <= scene.reference <= MOST_REFERENCE:
        raise Mistake(
            "scene.reference",
            f"The reference takes 1 to {MOST_REFERENCE} steps, not {scene.reference}.",
        )


def draw_scene(setting: Setting, runs: Sequence[Run]) -> Iterator[str | Scene]:
    """What is being computed, and then the landscape of the first image of these runs."""
    total = 1 + sum(1 + run.plan.nfe for run in runs)
    for one in watched(partial(_compute, setting, runs)):
        if isinstance(one, Made):
            yield one.value
        else:
            yield f"piece {one} of {total}"


def _compute(setting: Setting, runs: Sequence[Run], progress: Callable[[int], None]) -> Scene:
    state, first = setting.state, runs[0]
    labels = first.inputs.labels
    done = 0

    def count(_: int) -> None:
        nonlocal done
        done += 1
        progress(done)

    views = [
        Landscape(
            setting.model,
            None,
            seed=state.seed,
            number=state.sample,
            label=None if labels is None else int(labels[0]),
            steps=steps_of(setting, number),
            grid=lane.grid.strip() or None,
            around=state.scene.around,
            spread=state.scene.spread,
            reference_steps=state.scene.reference,
            device=str(info(setting.model).device),
            progress=count,
        )
        for number, lane in enumerate(state.lanes)
    ]
    reference = views[0].reference()
    paths = [view.path(lane.recipe) for view, lane in zip(views, state.lanes, strict=True)]
    shares: dict[str, dict[str, float]] = {}

    def draw(path: object) -> None:
        shares.update(draw_landscape(views[0], paths, reference, path))  # type: ignore[arg-type]

    picture = drawn(draw)
    root = reference.numel() ** 0.5
    notes = [
        f"Two components hold {100 * share['runs']:.1f} % of the variance of the runs' {name}, and"
        f" {100 * share['all']:.1f} % with the noisy surroundings; the rest is not in the picture."
        for name, share in shares.items()
    ]
    notes += [
        f"{path.name}: RMSE {float((path.x0[-1] - reference).norm()) / root:.3f} to the reference"
        " at the end."
        for path in paths
    ]
    if setting.guidance is not None:
        notes.append("The guidance is left out here.")
    return Scene(picture, tuple(notes))
