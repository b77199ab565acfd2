"""The checks: each takes a factory of schedulers, and raises what it finds wrong."""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .findings import Skip
from .networks import SHAPE, clean, is_flow, level, noise, smooth
from .pipeline import NEAR, STEPS, Factory, initial, laid_out, near, noised, run, starts


def last_step(make: Factory) -> None:
    """Runs of 2, 5 and 20 steps end at x*."""
    for steps in (2, 5, 20):
        scheduler = laid_out(make, steps)
        near(run(scheduler, initial(scheduler)), f"{steps} steps")


def state_reset(make: Factory) -> None:
    """A run after a whole run, or after one that was broken off, is the first run again."""
    scheduler = laid_out(make)
    first = run(scheduler, initial(scheduler), network=smooth)
    for broken_off in (None, 3):
        reused = laid_out(make)
        run(reused, initial(reused) * 0.5, network=smooth, last=broken_off)
        reused.set_timesteps(
            STEPS, **({"mu": 0.7} if reused.config.get("use_dynamic_shifting") else {})
        )
        again = run(reused, initial(reused), network=smooth)
        near(again, "after a run" if broken_off is None else "after a run broken off", first, 0.0)


def begin_index(make: Factory) -> None:
    """A run from every begin index, in multiples of ``order``, ends at x*, and counts its steps
    from there."""
    if not hasattr(make(), "set_begin_index"):
        raise Skip("no set_begin_index")
    for first in starts(laid_out(make)):
        scheduler = laid_out(make)
        scheduler.set_begin_index(first)
        x = noised(
            scheduler, clean(), noise(), scheduler.timesteps[first : first + 1].repeat(len(clean()))
        )
        near(run(scheduler, x, first), f"from index {first}")
        assert scheduler.begin_index == first, f"begin_index became {scheduler.begin_index}"
        assert scheduler.step_index == len(scheduler.timesteps), (
            f"step_index ended at {scheduler.step_index}"
        )


def strength(make: Factory) -> None:
    """Image to image of every strength, as pipelines slice the timesteps, ends at x*."""
    for value in (0.15, 0.4, 0.75, 0.9, 1.0):
        scheduler = laid_out(make)
        first = (STEPS - int(STEPS * value)) * scheduler.order
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(first)
        x = noised(
            scheduler, clean(), noise(), scheduler.timesteps[first : first + 1].repeat(len(clean()))
        )
        near(run(scheduler, x, first), f"strength {value}")


def inpainting(make: Factory) -> None:
    """A pipeline that replaces the sample after a step by x* noised to the next timestep ends at
    x*."""
    scheduler = laid_out(make)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)

    def replaced(i: int, x: Tensor) -> Tensor:
        known = noised(scheduler, clean(), noise(3), scheduler.timesteps[i + 1 : i + 2])
        return torch.cat([known[..., :4], x[..., 4:]], dim=-1)

    near(run(scheduler, initial(scheduler), between=replaced), "with half of the sample replaced")


def dtypes(make: Factory) -> None:
    """float16 and bfloat16 samples stay what they are, and end near x*."""
    for dtype, tolerance in ((torch.float16, NEAR + 0.03), (torch.bfloat16, NEAR + 0.1)):
        scheduler = laid_out(make)
        ended = run(scheduler, initial(scheduler).to(dtype))
        assert ended.dtype == dtype, f"{dtype} became {ended.dtype}"
        near(ended, str(dtype), tolerance=tolerance)


def generators(make: Factory) -> None:
    """A generator decides the noise; with a list of them each sample has its own, whatever its
    neighbours."""
    if "generator" not in inspect.signature(make().step).parameters:
        raise Skip("step takes no generator")

    def ended(generator: Any, rows: slice = slice(None)) -> Tensor:
        scheduler = laid_out(make)
        return run(scheduler, initial(scheduler)[rows], network=smooth, generator=generator)

    def seeds() -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in (4, 5)]

    near(ended(seeds()[0]), "the same generator", ended(seeds()[0]), 0.0)
    both = ended(seeds())
    near(both[:1], "the first of a list", ended(seeds()[:1], slice(0, 1)), 1e-5)
    near(both[1:], "the second of a list", ended(seeds()[1:], slice(1, 2)), 1e-5)


def training_noise(make: Factory) -> None:
    """``add_noise`` of training times gives each sample its own level, before sampling and after
    it."""
    scheduler = make()
    if not hasattr(scheduler, "add_noise") or is_flow(scheduler):
        raise Skip("no add_noise at trained times")
    dtype = scheduler.timesteps.dtype if scheduler.timesteps is not None else torch.int64
    times = torch.tensor([900, 100]).to(dtype)

    def check(when: str) -> None:
        x = scheduler.add_noise(torch.zeros(SHAPE), noise(), times)
        for i, t in enumerate((900, 100)):
            alpha, sigma = level(scheduler, t)
            ratio = float(x[i].std() / noise()[i].std())
            assert min(abs(ratio - sigma), abs(ratio - sigma / alpha)) < 2e-3, (
                f"{when}: sample {i} has σ = {ratio:.3g}"
            )

    check("before sampling")
    scheduler.set_timesteps(STEPS)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    run(scheduler, initial(scheduler))
    check("after sampling")


def round_trip(make: Factory) -> None:
    """The config survives JSON, ``save_pretrained`` and ``from_config``; the copy samples the
    same."""
    scheduler = laid_out(make)
    json.dumps(dict(scheduler.config), default=list)
    ended = run(scheduler, initial(scheduler), network=smooth)
    with tempfile.TemporaryDirectory() as folder:
        scheduler.save_pretrained(folder)
        for copied in (
            type(scheduler).from_pretrained(folder),
            type(scheduler).from_config(scheduler.config),
        ):
            again = laid_out(lambda copied=copied: copied)  # type: ignore[misc]
            assert torch.equal(again.timesteps, scheduler.timesteps), "other timesteps"
            near(run(again, initial(again), network=smooth), "a copy", ended, 0.0)


def outputs(make: Factory) -> None:
    """``return_dict`` changes the form of what ``step`` returns, and scale_model_input is called
    with any timestep."""
    found = []
    for as_dict in (True, False):
        scheduler = laid_out(make)
        x, t = initial(scheduler), scheduler.timesteps[0]
        shown = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        generator = "generator" in inspect.signature(scheduler.step).parameters
        extra = {"generator": torch.Generator().manual_seed(1)} if generator else {}
        result = scheduler.step(
            smooth(scheduler, shown, float(t)), t, x, **extra, return_dict=as_dict
        )
        found.append(result.prev_sample if as_dict else result[0])
    near(found[0], "prev_sample and the tuple's first", found[1], 0.0)


CHECKS: dict[str, Callable[[Factory], None]] = {
    "last step": last_step,
    "state reset": state_reset,
    "begin index": begin_index,
    "strength": strength,
    "inpainting": inpainting,
    "dtypes": dtypes,
    "generators": generators,
    "training noise": training_noise,
    "round trip": round_trip,
    "outputs": outputs,
}
"""The checks by name; each takes a factory of schedulers and raises what it finds wrong."""
