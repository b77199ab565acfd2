"""The progress of :func:`diffdescent.sample`, where somebody looks: in a terminal or a notebook.

Nothing here is needed for sampling: Rich or tqdm shows the bar in a terminal, IPython in a
notebook, and without them there is none.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import sys
import time
from collections.abc import Iterator
from typing import Any

from diffdescent.base.errors import UserError
from diffdescent.base.images import png_bytes, sheet, to_uint8

from .progress import Callback, Progress

PATIENCE = 0.5
"""A run that is over within so many seconds shows no bar, unless it was asked for."""
EVERY = 0.2
"""Seconds between two updates in a notebook, at least."""
MOST = 16
"""A preview in a notebook shows at most this many images."""


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def somebody_looks() -> bool:
    """Whether progress can be seen: in a notebook, or where standard error is a terminal."""
    return in_notebook() or (sys.stderr is not None and sys.stderr.isatty())


@contextlib.contextmanager
def displayed(progress: bool | None, preview: bool) -> Iterator[Callback | None]:
    """A callback that shows a run while it goes on, or None where nobody looks.

    ``progress`` True asks for it, None shows it where it can be seen. ``preview`` shows x0 too.
    Raises :class:`UserError` where it was asked for and cannot be shown.
    """
    if progress is None and not preview and not somebody_looks():
        yield None
        return
    if progress is False and not preview:
        yield None
        return
    made = _Notebook(preview) if in_notebook() else _terminal(preview)
    if made is None:
        if progress or preview:
            raise UserError(
                "A progress bar needs Rich or tqdm, and a preview Rich and Pillow; install them"
                " with: pip install 'diffdescent[cli]'"
            )
        yield None
        return
    begun = time.monotonic()
    shown = bool(progress) or preview

    def step(at: Progress) -> None:
        if shown or time.monotonic() - begun > PATIENCE:
            made.step(at)

    try:
        yield step
    finally:
        made.close()


def _terminal(preview: bool) -> _Rich | _Tqdm | None:
    """What there is to show a bar with, Rich before tqdm."""
    with contextlib.suppress(ImportError):
        return _Rich(preview)
    if preview:
        return None
    with contextlib.suppress(ImportError):
        return _Tqdm()
    return None


class _Rich:
    """The bar of the commands, which vanishes at the end."""

    def __init__(self, preview: bool) -> None:
        from diffdescent.base.bars import Meter

        from .preview import Preview

        self.meter = Meter("sampling", "evaluations", hidden=False, transient=True)
        self.preview = Preview(self.meter.progress) if preview else None
        self.open = False

    def step(self, at: Progress) -> None:
        if not self.open:
            self.open = True
            self.meter.__enter__()
        self.meter.to(at.done, at.total)
        if self.preview is not None:
            self.preview.step(at)

    def close(self) -> None:
        if self.open:
            self.meter.__exit__(None, None, None)


class _Tqdm:
    """A bar of tqdm, which vanishes at the end."""

    def __init__(self) -> None:
        self.tqdm: Any = importlib.import_module("tqdm")
        self.bar: Any = None

    def step(self, at: Progress) -> None:
        if self.bar is None:
            self.bar = self.tqdm.tqdm(total=at.total, desc="sampling", leave=False, file=sys.stderr)
        self.bar.update(at.done - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


class _Notebook:
    """A line of HTML that is written again and again; at the end it is empty."""

    def __init__(self, preview: bool) -> None:
        self.preview = preview
        self.ipython: Any = importlib.import_module("IPython.display")
        self.handle: Any = None
        self.last = -EVERY

    def step(self, at: Progress) -> None:
        if time.monotonic() - self.last < EVERY and at.done < at.total:
            return
        self.last = time.monotonic()
        page = self.ipython.HTML(
            f"<progress value='{at.done}' max='{at.total}'></progress>"
            f" sampling: {at.done} of {at.total} evaluations"
            f"{self._picture(at) if self.preview else ''}"
        )
        if self.handle is None:
            self.handle = self.ipython.display(page, display_id=True)
        else:
            self.handle.update(page)

    def _picture(self, at: Progress) -> str:
        if at.x0.ndim != 4 or at.x0.shape[1] not in (1, 3):
            return ""
        data = base64.b64encode(png_bytes(sheet(to_uint8(at.x0[:MOST])))).decode()
        return (
            f"<br><img src='data:image/png;base64,{data}' alt='x0 so far' style='max-width:100%'>"
        )

    def close(self) -> None:
        if self.handle is not None:
            self.handle.update(self.ipython.HTML(""))
