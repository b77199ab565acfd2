"""Modules of one's own, which register solvers, grids, transforms, guides or metrics when they are
imported."""

from __future__ import annotations

import importlib
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from .errors import UserError

IMPORTED: dict[str, str] = {}
"""What :func:`extend` imported: each module or file as it was given, and as another process of this
machine finds it (a file by its whole path)."""


def extend(name: str) -> None:
    """Import the module ``name`` (or the file, where it ends in ``.py``), so that the names that it
    registers are known, and keep it in :data:`IMPORTED`.

    Raises :class:`UserError` for a module that cannot be imported.
    """
    if name.endswith(".py"):
        path = Path(name).expanduser().resolve()
        _import_file(path)
        IMPORTED[name] = str(path)
    else:
        import_module(name)
        IMPORTED[name] = name


def import_module(name: str) -> None:
    """Import a module by its name. Raises :class:`UserError` where that fails."""
    try:
        if not name or name.startswith("."):
            raise ImportError("a module's whole name is needed, such as mine or package.mine")
        importlib.import_module(name)
    except ImportError as error:
        there = f"{name}.py"
        mend = (
            f"for the file of this folder write {there}"
            if Path(there).is_file()
            else "install it, put its folder on PYTHONPATH, or give the path of its file"
        )
        raise UserError(f"The module {name!r} cannot be imported ({error}); {mend}.") from None


def _import_file(path: Path) -> None:
    """Import a file as the module of its name, with the modules of its folder within its reach."""
    if not path.is_file():
        raise UserError(f"There is no file {path} to import; give its path, or a module's name.")
    known = sys.modules.get(path.stem)
    if known is not None:
        if Path(getattr(known, "__file__", None) or "").resolve() == path:
            return
        raise UserError(
            f"The file {path} cannot be imported: there is another module {path.stem!r}; rename the"
            " file."
        )
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[path.stem] = module = module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[path.stem]
        if isinstance(error, ImportError):
            raise UserError(
                f"The file {path} cannot be imported ({error}); install what it imports."
            ) from None
        raise
