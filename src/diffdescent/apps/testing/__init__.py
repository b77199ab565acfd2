"""Test suites that other projects can run: whether a diffusers scheduler keeps its contract."""

from .conformance import CHECKS, Finding, Report, SchedulerConformance, check_scheduler

__all__ = ["CHECKS", "Finding", "Report", "SchedulerConformance", "check_scheduler"]
