"""The fixtures of the studies' own tests."""

from tests.unit.lab.study.conftest import make, tiny

__all__ = ["make", "tiny"]
