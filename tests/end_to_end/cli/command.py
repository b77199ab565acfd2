"""The command as a user runs it, in this process."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import NamedTuple

import pytest

from diffdescent.apps.cli.app import main


class Done(NamedTuple):
    stdout: str
    stderr: str


def run(*arguments: object, code: int = 0) -> Done:
    """The command in this process (starting a new one costs seconds); its exit code is asserted."""
    out, err = io.StringIO(), io.StringIO()
    before = sys.argv
    sys.argv = ["diffdescent", *map(str, arguments)]
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as stopped,
        ):
            main()
    finally:
        sys.argv = before
    assert (stopped.value.code or 0) == code, (
        f"exit {stopped.value.code}\n{out.getvalue()}\n{err.getvalue()}"
    )
    return Done(out.getvalue(), err.getvalue())
