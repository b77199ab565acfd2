"""Public paths that lead into the house: ``diffdescent.theory`` is ``diffdescent.lab.theory``, the
very same module.

A path on the left of :data:`DOORS` can be imported as if it stood there; what it leads to is loaded
only then. A value ``module:name`` leads to one name of a module.
"""

from __future__ import annotations

import importlib
import sys

TYPE_CHECKING = False  # typing's own, without the import: this is on the way to every command
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

DOORS = {
    "diffdescent.integrations": "diffdescent.apps",
    "diffdescent.testing": "diffdescent.apps.testing",
    "diffdescent.constraints": "diffdescent.core.constraints",
    "diffdescent.operators": "diffdescent.core.operators",
    "diffdescent.explain": "diffdescent.lab.explain",
    "diffdescent.landscape": "diffdescent.lab.landscape",
    "diffdescent.peculiarity": "diffdescent.lab.peculiarity",
    "diffdescent.study": "diffdescent.lab.study",
    "diffdescent.theory": "diffdescent.lab.theory",
    # `accelerate launch -m diffdescent.train` runs the command, which the trainer does not know.
    "diffdescent.train.__main__": "diffdescent.apps.cli.train_module",
    "diffdescent.train": "diffdescent.lab.train",
    "diffdescent.guidance.ConflictTable": "diffdescent.lab.conflicts.table:ConflictTable",
    "diffdescent.guidance.conflicts": "diffdescent.lab.conflicts:conflicts",
}


def behind(name: str) -> str | None:
    """Where the path ``name`` leads, or None where there is no door on its way."""
    if not name.startswith("diffdescent."):
        return None
    for door, target in DOORS.items():
        if name == door or name.startswith(f"{door}."):
            return target + name.removeprefix(door)
    return None


class _Alias:
    """Puts what stands behind a door into ``sys.modules``, from where the import system takes
    it."""

    def __init__(self, target: str) -> None:
        self.target = target

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        path, _, attribute = self.target.partition(":")
        found = importlib.import_module(path)
        sys.modules[module.__name__] = getattr(found, attribute) if attribute else found


class _Doors:
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        leads = behind(fullname)
        if leads is None:
            return None
        from importlib.machinery import ModuleSpec
        from importlib.util import find_spec, spec_from_file_location

        if fullname.endswith(".__main__"):  # python -m runs a file, which cannot be another module
            real = find_spec(leads)
            return None if real is None else spec_from_file_location(fullname, real.origin)
        if ":" not in leads and find_spec(leads) is None:
            return None
        return ModuleSpec(fullname, _Alias(leads), is_package=True)  # type: ignore[arg-type]  # by its methods a Loader


def open_doors() -> None:
    """Make the paths of :data:`DOORS` importable."""
    if not any(isinstance(finder, _Doors) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Doors())  # before stray files of those names in the folder
