"""The conformance suite: ours pass it, and it finds what is wrong with a scheduler."""

from __future__ import annotations

from typing import Any

import pytest
import torch

diffusers = pytest.importorskip("diffusers")

from diffdescent.apps.diffusers import DescentScheduler  # noqa: E402
from diffdescent.apps.testing import CHECKS, SchedulerConformance, check_scheduler  # noqa: E402
from diffdescent.apps.testing.survey import (  # noqa: E402
    OURS,
    REFUSES,
    checks_for,
    factories,
    table,
)


@pytest.mark.parametrize("name", OURS)
def test_ours_pass(name: str) -> None:
    report = check_scheduler(factories()["diffdescent"][name], checks_for(name))
    if name not in REFUSES:
        report.raise_for_failures()
        return
    assert [f.check for f in report.failures] == ["begin index", "strength"]
    assert f"UserError: {REFUSES[name]}" in report.failures[0].detail


class TestAsMixin(SchedulerConformance):
    def make_scheduler(self) -> Any:
        return DescentScheduler("unipc", timestep_spacing="trailing")


def test_mixin_has_every_check() -> None:
    assert {f"test_{name.replace(' ', '_')}" for name in CHECKS} <= set(dir(TestAsMixin))


def found(broken: type[Any], check: str) -> str:
    """What the suite says of a broken scheduler, which must fail ``check``."""
    (finding,) = check_scheduler(broken, [check]).findings
    assert finding.status == "fail", finding
    return finding.detail


class KeepsHistory(diffusers.PNDMScheduler):
    def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
        kept = self.ets
        super().set_timesteps(*args, **kwargs)
        self.ets = kept


class StopsEarly(diffusers.DDIMScheduler):
    def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
        super().set_timesteps(*args, **kwargs)
        self.timesteps = self.timesteps[:-1]


class OneGenerator(diffusers.DDPMScheduler):
    def step(
        self, model_output: Any, timestep: Any, sample: Any, generator: Any = None, **kwargs: Any
    ) -> Any:
        first = generator[0] if isinstance(generator, list) else generator
        return super().step(model_output, timestep, sample, generator=first, **kwargs)


class Widens(diffusers.EulerDiscreteScheduler):
    def step(self, model_output: Any, timestep: Any, sample: Any, **kwargs: Any) -> Any:
        return tuple(
            x.to(torch.float32) for x in super().step(model_output, timestep, sample, **kwargs)
        )


class ForgetsBegin(diffusers.EulerDiscreteScheduler):
    def set_begin_index(self, begin_index: int = 0) -> None:
        super().set_begin_index(0)


@pytest.mark.parametrize(
    ("broken", "check", "says"),
    [
        (lambda: KeepsHistory(skip_prk_steps=True), "state reset", "after a run"),
        (lambda: StopsEarly(timestep_spacing="trailing"), "last step", "2 steps: off by"),
        (OneGenerator, "generators", "of a list"),
        (Widens, "dtypes", "float16 became"),
        (ForgetsBegin, "begin index", ""),
        (diffusers.EulerDiscreteScheduler, "training noise", "after sampling"),
        (
            lambda: diffusers.PNDMScheduler(skip_prk_steps=True, steps_offset=1),
            "strength",
            "strength 0.4",
        ),
    ],
)
def test_finds(broken: Any, check: str, says: str) -> None:
    assert says in found(broken, check)


def test_table_names_failures() -> None:
    reports = {
        "a | b": check_scheduler(
            lambda: StopsEarly(timestep_spacing="trailing"), ["last step", "outputs"]
        )
    }
    text = table(reports)
    assert "a \\| b" in text
    assert "✗" in text
    assert "**a | b**, last step: 2 steps" in text
