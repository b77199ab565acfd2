"""The executor: the ask/tell machine that runs a plan, and what it needs."""

from .guidance import require_guidable
from .run import Executor, Query

__all__ = ["Executor", "Query", "require_guidable"]
