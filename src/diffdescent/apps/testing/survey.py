"""The conformance suite over diffusers' own schedulers and over ours: ``python -m
diffdescent.apps.testing.survey``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from .checks import CHECKS
from .conformance import check_scheduler
from .findings import Report

V = {"prediction_type": "v_prediction"}

THEIRS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "DDIM": ("DDIMScheduler", {"clip_sample": False}),
    "DDIM, v": ("DDIMScheduler", {"clip_sample": False, **V}),
    "DDIM, linspace": ("DDIMScheduler", {"clip_sample": False, "timestep_spacing": "linspace"}),
    "DDPM": ("DDPMScheduler", {"clip_sample": False}),
    "PNDM": ("PNDMScheduler", {}),
    "PNDM, PLMS alone": ("PNDMScheduler", {"skip_prk_steps": True, "steps_offset": 1}),
    "PNDM, PLMS alone, v": ("PNDMScheduler", {"skip_prk_steps": True, "steps_offset": 1, **V}),
    "Euler": ("EulerDiscreteScheduler", {}),
    "Euler, v": ("EulerDiscreteScheduler", V),
    "Euler ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "Heun": ("HeunDiscreteScheduler", {}),
    "DPM-Solver++ multistep": ("DPMSolverMultistepScheduler", {}),
    "DPM-Solver++ multistep, v": ("DPMSolverMultistepScheduler", V),
    "DPM-Solver++ multistep, Karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "DPM-Solver++ singlestep": ("DPMSolverSinglestepScheduler", {}),
    "UniPC": ("UniPCMultistepScheduler", {}),
    "DEIS": ("DEISMultistepScheduler", {}),
    "LMS": ("LMSDiscreteScheduler", {}),
    "KDPM2": ("KDPM2DiscreteScheduler", {}),
    "flow, Euler": ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
    "flow, Euler, dynamic shift": (
        "FlowMatchEulerDiscreteScheduler",
        {"use_dynamic_shifting": True},
    ),
    "flow, Heun": ("FlowMatchHeunDiscreteScheduler", {"shift": 3.0}),
    "flow, UniPC": (
        "UniPCMultistepScheduler",
        {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0},
    ),
    "flow, DPM-Solver++ multistep": (
        "DPMSolverMultistepScheduler",
        {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0},
    ),
}

FLOW = {"prediction_type": "flow_prediction", "shift": 3.0}

OURS: Mapping[str, dict[str, Any]] = {
    "ddim": {"recipe": "ddim", "clip_sample": False},
    "ddim, linspace": {"recipe": "ddim", "grid": "linspace"},
    "ddim(eta=1)": {"recipe": "ddim(eta=1)"},
    "ddpm": {"recipe": "ddpm", "clip_sample": False},
    "plms(start=heun)": {"recipe": "plms(start=heun)", "steps_offset": 1},
    "plms(start=heun), v": {"recipe": "plms(start=heun)", "steps_offset": 1, **V},
    "euler": {"recipe": "euler"},
    "heun": {"recipe": "heun"},
    "dpmpp(order=2)": {"recipe": "dpmpp(order=2)"},
    "dpmpp(order=3), v, Karras": {"recipe": "dpmpp(order=3)", "use_karras_sigmas": True, **V},
    "dpmpp(order=2, method=singlestep)": {"recipe": "dpmpp(order=2, method=singlestep)"},
    "unipc": {"recipe": "unipc"},
    "deis": {"recipe": "deis"},
    "DEISMultistepScheduler": {"recipe": "DEISMultistepScheduler"},
    "lms": {"recipe": "lms"},
    "pndm": {"recipe": "pndm", "steps_offset": 1},
    "ge": {"recipe": "ge"},
    "ge | momentum": {"recipe": "ge(gamma=2) | momentum(beta=-0.3)"},
    "unipc, loglinear": {"recipe": "unipc", "grid": "loglinear"},
    "flow, ddim": {"recipe": "ddim", **FLOW},
    "flow, unipc": {"recipe": "unipc", **FLOW},
    "flow, heun(clock=time)": {"recipe": "heun(clock=time)", **FLOW},
    "flow, heun": {"recipe": "heun", **FLOW},
    "flow, heun(alpha=0.5, clock=time)": {"recipe": "heun(alpha=0.5, clock=time)", **FLOW},
    "flow, plms(start=heun)": {"recipe": "plms(start=heun)", **FLOW},
    "flow, dpmpp(order=2, method=singlestep)": {
        "recipe": "dpmpp(order=2, method=singlestep)",
        **FLOW,
    },
    "the same, use_flow_sigmas": {
        "recipe": "dpmpp(order=2, method=singlestep)",
        "use_flow_sigmas": True,
        **FLOW,
    },
    "flow, ge | momentum, dynamic shift": {
        "recipe": "ge | momentum",
        "prediction_type": "flow_prediction",
        "use_dynamic_shifting": True,
    },
    "ddpm, noise_seed": {"recipe": "ddpm", "clip_sample": False, "noise_seed": 3},
}

COMPARING = ("state reset", "generators", "training noise", "round trip", "outputs")
"""The checks that need no network that knows x*: momentum moves on past what the network says."""


REFUSES = {
    "pndm": "A run cannot begin",
    "flow, dpmpp(order=2, method=singlestep)": "A run cannot begin",
}
"""Ours that fail "begin index" and "strength", and what they say: their first steps take another
number of evaluations, so that pipelines begin them inside a step, which is refused."""


def checks_for(name: str) -> list[str]:
    """The checks that mean something for one of our schedulers."""
    if "momentum" in name:
        return list(COMPARING)
    # Noise that belongs to a place in the batch does not come from a generator.
    return [check for check in CHECKS if not ("noise_seed" in name and check == "generators")]


def factories() -> dict[str, dict[str, Callable[[], Any]]]:
    """Every surveyed scheduler: {"diffusers": …, "diffdescent": …}."""
    import diffusers

    from diffdescent.apps.diffusers import DescentScheduler

    return {
        "diffusers": {
            name: partial(getattr(diffusers, cls), **config)
            for name, (cls, config) in THEIRS.items()
        },
        "diffdescent": {name: partial(DescentScheduler, **config) for name, config in OURS.items()},
    }


def table(reports: Mapping[str, Report]) -> str:
    """A Markdown table of a row for each scheduler, and the failures in words below it."""
    marks = {"pass": "✓", "fail": "✗", "skip": "–", "": "·"}
    lines = [f"| scheduler | {' | '.join(CHECKS)} |", "|" + "---|" * (len(CHECKS) + 1)]
    for name, report in reports.items():
        found = {f.check: f.status for f in report.findings}
        shown = name.replace("|", "\\|")
        lines.append(f"| {shown} | {' | '.join(marks[found.get(check, '')] for check in CHECKS)} |")
    failures = [
        f"* **{name}**, {f.check}: {f.detail}" for name, r in reports.items() for f in r.failures
    ]
    return "\n".join([*lines, *(["", *failures] if failures else [])])


def main() -> None:
    """Print the tables."""
    import diffusers

    diffusers.logging.set_verbosity_error()
    print(
        f"diffusers {diffusers.__version__}: ✓ passes, ✗ fails (in words below), – does not have"
        " it, · not run.\n"
    )
    for library, makers in factories().items():
        reports = {
            name: check_scheduler(make, checks_for(name) if library == "diffdescent" else None)
            for name, make in makers.items()
        }
        print(f"### {library}\n\n{table(reports)}\n")


if __name__ == "__main__":
    main()
