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

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from .checks import CHECKS
from .findings import Finding, Report, Skip
from .pipeline import Factory


def check_scheduler(make: Factory, checks: Sequence[str] | None = None) -> Report:
    """Run the checks (all, or those named) on the schedulers that ``make()`` returns, a new one
    each time.

    What a scheduler does not have is skipped; any exception of a check is a failure with its
    message.

    Args:
        make: gives a new scheduler at each call.
        checks: names of :data:`CHECKS`; None runs all.

    Returns:
        A :class:`Report`: a finding for each check; ``raise_for_failures()`` turns failures into an
        error.
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
        said = lines[0] if lines else ""
        return Finding(
            name,
            "fail",
            said if isinstance(error, AssertionError) else f"{type(error).__name__}: {said}",
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
