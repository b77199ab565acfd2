"""Test suites that other projects can run: whether a diffusers scheduler keeps its contract."""

from .checks import CHECKS
from .conformance import SchedulerConformance, check_scheduler
from .findings import Finding, Report

__all__ = ["CHECKS", "Finding", "Report", "SchedulerConformance", "check_scheduler"]
