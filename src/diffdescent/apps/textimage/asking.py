"""What a pipeline refuses when it is called: the size of its images, above all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from diffdescent.base.errors import UserError
from diffdescent.base.reading import reason

_CHECK = "check_inputs"
"""The method in which every pipeline of diffusers looks at what it is given."""


def require_size(options: Mapping[str, Any]) -> None:
    """Raise :class:`UserError` for a width or height below 1; pipelines take 0 for their own."""
    for key in ("width", "height"):
        value = options.get(key)
        if value is not None and value < 1:
            raise UserError(f"The {key} of an image must be at least 1 pixel, not {value}.")


@contextlib.contextmanager
def asking(pipe: Any) -> Iterator[None]:
    """Within this block the pipeline is called; what it refuses raises :class:`UserError`."""
    try:
        yield
    except ValueError as error:
        if not _checked(error.__traceback__):
            raise
        raise UserError(
            f"A {type(pipe).__name__} refuses this ({reason(error)}); give what it takes."
        ) from None


def _checked(trace: TracebackType | None) -> bool:
    """Whether the error comes from where a pipeline looks at what it is given."""
    last = None
    while trace is not None:
        last, trace = trace, trace.tb_next
    return last is not None and last.tb_frame.f_code.co_name == _CHECK


def require_shape(pipe: Any, options: Mapping[str, Any], height: int, width: int) -> None:
    """Raise :class:`UserError` where the images, of ``height`` × ``width`` pixels, have not the
    size that ``options`` ask for: some pipelines round it."""
    wanted = options.get("height") or height, options.get("width") or width
    if wanted != (height, width):
        raise UserError(
            f"A {type(pipe).__name__} makes images of {width} × {height} pixels where"
            f" {wanted[1]} × {wanted[0]} are asked for; give --width {width} --height {height}."
        )
