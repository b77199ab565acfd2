"""The fixtures of the trainer's own tests."""

from tests.unit.lab.train.conftest import _one_thread, data, values

__all__ = ["_one_thread", "data", "values"]
