"""A lane as text to copy: recipe, Python, command and the line for a diffusers pipeline."""

from __future__ import annotations

from dataclasses import dataclass

from diffdescent.base.shell import command_line

from .preparing import Setting, steps_of


@dataclass(frozen=True)
class Snippets:
    """The same run in four languages."""

    recipe: str
    python: str
    command: str
    diffusers: str


def snippets(setting: Setting, number: int, model: str) -> Snippets:
    """What to write elsewhere for the images of lane ``number`` (from 0)."""
    state, steps = setting.state, steps_of(setting, number)
    lane = state.lanes[number]
    first, end = state.sample, state.sample + state.images
    label, guidance, grid = state.label.strip(), setting.guidance, lane.grid.strip()
    written = [f"steps={steps}", f"seed={state.seed}"]
    written.append(f"samples=range({first}, {end})" if first else f"n={end}")
    named = {"grid": grid, "labels": label, "guidance": guidance}
    written += [f"{name}={text!r}" for name, text in named.items() if text]
    python = (
        "import diffdescent as dd\n\n"
        f"model = dd.load_model({model!r})\n"
        f"result = dd.sample(\n    model, {lane.recipe!r}, {', '.join(written)}\n)\n"
        "result.images  # in [−1, 1]"
    )
    words = ["diffdescent", "sample", model, "--sampler", lane.recipe, "--steps", str(steps)]
    options = {
        "--grid": grid,
        "--guidance": guidance,
        "--labels": label,
        "--samples": f"{first}-{end - 1}",
        "--seed": str(state.seed),
    }
    for option, text in options.items():
        words += [option, text] if text else []
    also = f", grid={grid!r}" if grid else ""
    diffusers = (
        "from diffdescent.integrations.diffusers import DescentScheduler\n\n"
        "pipe.scheduler = DescentScheduler.from_config("
        f"pipe.scheduler.config, recipe={lane.recipe!r}{also})  # num_inference_steps={steps}"
    )
    return Snippets(lane.recipe, python, command_line([*words, "--out", "out"]), diffusers)
