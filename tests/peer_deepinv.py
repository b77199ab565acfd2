"""deepinv as a peer. It imports torchvision, natsort, h5py and einops when it is imported, for its
data sets and networks; where one of them is missing, an empty module stands in for it, so that its
operators and methods can be compared all the same."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest

NOT_NEEDED = ("torchvision", "natsort", "h5py", "einops")


class _Empty(ModuleType):
    """A module that has any name, each an empty class."""

    __path__: list[str] = []  # noqa: RUF012  (the import system reads it)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _StandIns(MetaPathFinder, Loader):
    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        wanted = fullname.split(".")[0] in self.names
        return ModuleSpec(fullname, self, is_package=True) if wanted else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None: ...


def import_deepinv() -> Any:
    """deepinv, or the test that asks is skipped. The stand-ins are gone again once it is there."""
    missing = [name for name in NOT_NEEDED if name not in sys.modules and find_spec(name) is None]
    stand_ins = _StandIns(missing)
    sys.meta_path.append(stand_ins)
    try:
        return pytest.importorskip("deepinv", exc_type=ImportError)
    finally:
        sys.meta_path.remove(stand_ins)
        for name in [n for n in sys.modules if n.split(".")[0] in missing]:
            del sys.modules[name]
