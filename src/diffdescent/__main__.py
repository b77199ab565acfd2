"""``diffdescent`` and ``python -m diffdescent``: the command line, which Ctrl-C ends in a sentence
from the first moment."""

from __future__ import annotations

# `signal` itself imports for up to tens of milliseconds, in which Ctrl-C is a traceback.
import _signal  # type: ignore[import-not-found]
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType


def main() -> None:
    """Entry point of the console script."""
    # A handler that is there already, or "ignore" as under nohup, stays.
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, leave)
    from diffdescent.apps.cli.app import main as run

    run()


def leave(number: int, frame: FrameType | None) -> None:
    """End at once: nothing is under way while the program is being loaded, and after its end."""
    os.write(2, b"Interrupted; give the same command to continue.\n")
    os._exit(130)


if __name__ == "__main__":
    main()
