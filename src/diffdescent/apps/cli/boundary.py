"""Where a command ends: bad input, a full disk, too little memory and signals, each as one sentence
and an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

from diffdescent.base.errors import UserError
from diffdescent.base.reading import LENGTH, reason

BAD_INPUT = 2
"""The exit code of a command that refuses what it was given."""
UNREAD = 128 + getattr(signal, "SIGPIPE", 13)
"""The exit code where the reader of the output has gone, as in "| head": that of other programs."""
_MEND = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EROFS: "choose another place, this one is read-only",
    errno.EACCES: "choose another place, or ask for the right to it",
    errno.ENAMETOOLONG: "give a shorter path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


_IMPORT = "<frozen importlib._bootstrap>"


class Stopped(BaseException):
    """A signal asked the command to end; no ``except Exception`` on the way stops it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def code(self) -> int:
        """The exit code: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.number

    def __str__(self) -> str:
        how = "Interrupted" if self.number == signal.SIGINT else "Terminated"
        return f"{how}; give the same command to continue."


@contextlib.contextmanager
def boundary() -> Iterator[None]:
    """Run a command within this block: what goes wrong that is no fault of the program is said in
    one sentence on standard error, and the process exits.

    2 for bad input and what the system refuses, 130 after Ctrl-C, 143 after SIGTERM, 141 where
    nobody reads the output any more. Whatever else is raised is a bug, and keeps its traceback, as
    does what a file of the user's own (--import) raises.
    """
    try:
        with _signals(), _warnings():
            _check_place()
            yield
    except Stopped as stopped:
        _end(str(stopped), stopped.code)
    except KeyboardInterrupt:
        _end(str(Stopped(signal.SIGINT)), 130)
    except UserError as error:
        _end(f"Error: {error}", BAD_INPUT)
    except SystemExit:
        if _unread():
            _silence()
            sys.exit(UNREAD)
        raise
    except BrokenPipeError:
        _silence()
        sys.exit(UNREAD)
    except OSError as error:
        if _of_the_users_own(error):
            raise
        _end(f"Error: {_refused(error)}", BAD_INPUT)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        _end(
            "Error: There is not enough memory for this; lower --batch-size, --micro-batch or the"
            " number of images, or take a machine with more.",
            BAD_INPUT,
        )


def _check_place() -> None:
    """Raise :class:`UserError` where the working folder is gone: libraries fail there in ways of
    their own."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UserError(
            "The folder in which this command was given has been removed; change to another one."
        ) from None


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """SIGINT and SIGTERM raise :class:`Stopped` within this block, so that files are closed and
    nothing half-written stays; a second one ends the process at once.

    A library that is being imported cannot be left by an exception (PyTorch aborts): there the
    process ends at once, which harms nothing unless a file is being written.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        for one in before:
            signal.signal(one, signal.SIG_DFL)
        stopped = Stopped(number)
        if _importing(frame):
            os.write(2, f"{stopped}\n".encode())
            os._exit(stopped.code)
        raise stopped

    before: dict[int, Any] = {}
    for number in (int(signal.SIGINT), int(signal.SIGTERM)):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _importing(frame: FrameType | None) -> bool:
    """Whether an import is under way, and no file is being written."""
    files = sys.modules.get("diffdescent.base.files")
    found = False
    while frame is not None:
        if files is not None and frame.f_code.co_filename == files.__file__:
            return False
        found = found or frame.f_code.co_filename == _IMPORT
        frame = frame.f_back
    return found


@contextlib.contextmanager
def _warnings() -> Iterator[None]:
    """Warnings to the user are printed as sentences within this block, without a place in the
    code."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if category is UserWarning:
            print(f"Warning: {printable(str(message))}", file=sys.stderr)
        else:
            usual(message, category, *place, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = usual


def _refused(error: OSError) -> str:
    place = error.filename2 or error.filename
    shown = "" if place is None else f"{_cut(str(place))!r}: "
    mend = _MEND.get(error.errno or 0, "check the path and the disk")
    return f"{shown}{reason(error)}; {mend}."


def _out_of_memory(error: BaseException) -> bool:
    """Whether Python or PyTorch could not get the memory that it asked for."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(
        words in said for words in ("out of memory", "can't allocate memory", "bad_alloc")
    )


def _cut(text: str) -> str:
    return text if len(text) <= LENGTH else f"{text[:LENGTH]}…"


def printable(text: str) -> str:
    """A message on one line, without the control characters that steer a terminal."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def _end(message: str, code: int) -> NoReturn:
    text = printable(message)
    if sys.stderr is not None:  # it was closed (2>&-)
        red = code == BAD_INPUT and sys.stderr.isatty()
        with contextlib.suppress(OSError):  # as for a full disk: the exit code still says it
            print(f"\x1b[31m{text}\x1b[0m" if red else text, file=sys.stderr, flush=True)
    sys.exit(code)


def _unread() -> bool:
    """Whether the reader of the output has gone. The library of the command line may have noticed
    it already, and has then put a wrapper of its own around the stream."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        return True
    except (OSError, ValueError):  # a full disk, a closed stream: another matter
        return False
    return type(sys.stdout).__name__ == "PacifyFlushWrapper"


def _of_the_users_own(error: OSError) -> bool:
    """Whether it was raised in a file that --import named: its author needs the traceback."""
    extensions = sys.modules.get("diffdescent.base.extensions")
    own = set(extensions.IMPORTED.values()) if extensions is not None else set()
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in own:
            return True
        trace = trace.tb_next
    return False


def _silence() -> None:
    """Send what is still to be written nowhere, so that the interpreter does not fail over it."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
