"""The executor: the ask/tell machine that runs a plan, and what it needs."""

from .run import Executor, Query

__all__ = ["Executor", "Query"]
