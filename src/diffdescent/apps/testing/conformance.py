"""A conformance suite for schedulers with diffusers' interface, yours included.

::

    from diffdescent.testing import check_scheduler
    check_scheduler(lambda: MyScheduler(prediction_type="v_prediction")).raise_for_failures()

    class TestMine(SchedulerConformance):          # or in pytest: a test for each check
        def make_scheduler(self): return MyScheduler()

The network of most checks knows the clean image x*: whatever it is shown, its output says x*. Any
sampler that reads the output rightly, keeps its history apart and ends at σ = 0 then ends at x*,
from every begin index, in every dtype. A scheduler's network is shown ``scale_model_input(x, t)``,
which is α x0 + σ ε at ``t``: α² = ᾱ_t from ``alphas_cumprod``, or σ = t/T for flow matching.
Schedulers that end above σ = 0 (the lowest trained level) pass too.
"""

from __future__ import annotations

import inspect
import json
import math
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Factory = Callable[[], Any]
Status = Literal["pass", "fail", "skip"]

SHAPE = (2, 3, 8, 8)
STEPS = 8
NEAR = 0.12
"""How far from x* a run may end: a last level of σ = 0.03 leaves that much of a unit normal."""


class Skip(Exception):
    """The scheduler does not have what a check is about."""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    status: Status
    detail: str = ""


@dataclass(frozen=True)
class Report:
    """The findings on one scheduler, in the order of :data:`CHECKS`."""

    findings: tuple[Finding, ...]

    @property
    def failures(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.status == "fail")

    def raise_for_failures(self) -> None:
        """Raise :class:`AssertionError` with all failures, if there are any."""
        if self.failures:
            raise AssertionError("\n".join(f"{f.check}: {f.detail}" for f in self.failures))


def clean() -> Tensor:
    """x*, with values in [−0.8, 0.8]."""
    return 1.6 * torch.rand(SHAPE, generator=torch.Generator().manual_seed(11)) - 0.8


def noise(seed: int = 0) -> Tensor:
    """A unit normal of x*'s shape."""
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def is_flow(scheduler: Any) -> bool:
    """Whether the scheduler is for networks trained by flow matching."""
    return scheduler.config.get("prediction_type") == "flow_prediction" or not hasattr(
        scheduler, "alphas_cumprod"
    )


def level(scheduler: Any, t: float) -> tuple[float, float]:
    """(α, σ) of what a network is shown at time ``t``; between trained steps log ᾱ is linear."""
    if is_flow(scheduler):
        sigma = t / scheduler.config.num_train_timesteps
        return 1 - sigma, sigma
    log_bar = torch.log(scheduler.alphas_cumprod.double())
    low = min(int(t), len(log_bar) - 1)
    high = min(low + 1, len(log_bar) - 1)
    bar = math.exp(
        float(
            log_bar[low] + (t - low) * (log_bar[high] - log_bar[low]) if t > low else log_bar[low]
        )
    )
    return math.sqrt(bar), math.sqrt(1 - bar)


def oracle(scheduler: Any, shown: Tensor, t: float) -> Tensor:
    """The output of a network that knows x*, in the scheduler's prediction type."""
    alpha, sigma = level(scheduler, t)
    x0 = clean()[: len(shown)].to(shown.dtype)
    eps = (shown - alpha * x0) / max(sigma, 1e-4)
    kind = (
        "flow_prediction"
        if is_flow(scheduler)
        else scheduler.config.get("prediction_type", "epsilon")
    )
    return {
        "epsilon": eps,
        "sample": x0,
        "v_prediction": alpha * eps - sigma * x0,
        "flow_prediction": eps - x0,
    }[kind]


def smooth(scheduler: Any, shown: Tensor, t: float) -> Tensor:
    """The output of some other network, for checks that only compare runs."""
    return 0.8 * torch.tanh(shown + math.sin(t / 150))


def laid_out(make: Factory, steps: int = STEPS) -> Any:
    """A scheduler after ``set_timesteps``."""
    scheduler = make()
    scheduler.set_timesteps(
        steps, **({"mu": 0.7} if scheduler.config.get("use_dynamic_shifting") else {})
    )
    return scheduler


def run(
    scheduler: Any,
    x: Tensor,
    first: int = 0,
    network: Callable[[Any, Tensor, float], Tensor] = oracle,
    generator: Any = None,
    between: Callable[[int, Tensor], Tensor] | None = None,
    last: int | None = None,
) -> Tensor:
    """The loop of a pipeline over ``timesteps[first:last]``; ``between`` edits the sample after
    each step."""
    extra = {}
    if "generator" in inspect.signature(scheduler.step).parameters:
        extra["generator"] = (
            generator if generator is not None else torch.Generator().manual_seed(1)
        )
    for i, t in enumerate(scheduler.timesteps[first:last], start=first):
        shown = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        x = scheduler.step(network(scheduler, shown, float(t)), t, x, **extra, return_dict=False)[0]
        if between is not None and i + 1 < len(scheduler.timesteps):
            x = between(i, x)
    return x


def initial(scheduler: Any) -> Tensor:
    """What a pipeline starts from."""
    return noise() * float(getattr(scheduler, "init_noise_sigma", 1.0))


def noised(scheduler: Any, images: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """``images`` at time ``t`` of shape (B,), by ``add_noise`` or ``scale_noise``."""
    if hasattr(scheduler, "add_noise"):
        return scheduler.add_noise(images, eps, t)  # type: ignore[no-any-return]
    if hasattr(scheduler, "scale_noise"):
        return scheduler.scale_noise(images, t, eps)  # type: ignore[no-any-return]
    raise Skip("no add_noise or scale_noise")


def near(x: Tensor, what: str, target: Tensor | None = None, tolerance: float = NEAR) -> None:
    """Fail unless ``x`` is within ``tolerance`` of the target (x*)."""
    off = float((x.float() - (clean() if target is None else target).float()).abs().max())
    assert off <= tolerance, f"{what}: off by {off:.3g}"


def starts(scheduler: Any) -> list[int]:
    """The indices at which pipelines begin: t_start times the order."""
    return [
        k * scheduler.order for k in range(STEPS) if k * scheduler.order < len(scheduler.timesteps)
    ]


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


def check_scheduler(make: Factory, checks: Sequence[str] | None = None) -> Report:
    """Run the checks (all, or those named) on the schedulers that ``make()`` returns, a new one
    each time.

    What a scheduler does not have is skipped; any exception of a check is a failure with its
    message.
    """
    return Report(tuple(_finding(name, make) for name in checks or CHECKS))


def _finding(name: str, make: Factory) -> Finding:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            CHECKS[name](make)
    except Skip as reason:
        return Finding(name, "skip", str(reason))
    except Exception as error:
        lines = str(error).strip().splitlines()
        told = lines[0] if lines else ""
        return Finding(
            name,
            "fail",
            told if isinstance(error, AssertionError) else f"{type(error).__name__}: {told}",
        )
    return Finding(name, "pass")


class SchedulerConformance:
    """A pytest mixin: subclass it, return your scheduler from :meth:`make_scheduler`, and each
    check is a test."""

    def make_scheduler(self) -> Any:
        """A new scheduler."""
        raise NotImplementedError("return a new scheduler of yours")

    def _check(self, name: str) -> None:
        (finding,) = check_scheduler(self.make_scheduler, [name]).findings
        if finding.status == "skip":
            import pytest

            pytest.skip(finding.detail)
        assert finding.status == "pass", finding.detail


def _as_test(name: str) -> Callable[[SchedulerConformance], None]:
    def test(self: SchedulerConformance) -> None:
        self._check(name)

    test.__doc__ = CHECKS[name].__doc__
    return test


for _name in CHECKS:
    setattr(SchedulerConformance, f"test_{_name.replace(' ', '_')}", _as_test(_name))
