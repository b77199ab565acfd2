"""One command or call in a process of its own: what it printed, how it ended, what it changed.

The process is forked from one that has imported everything, so that a case costs milliseconds; it
has its own working folder, a limit of time and one of memory.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECONDS = 10.0
"""Bad input is refused within this time of the processor; a busy machine takes longer."""
PATIENCE = 240.0
"""A case that is not done within this time waits for something."""
MEMORY = 6 << 30
"""What a case may allocate at most, in bytes, lest it takes the machine down."""
MODEST = 2 << 20
"""What a refusal may take, in KiB: a command that runs out of memory is no refusal."""
LONGEST = 1500
"""Characters of a message."""
FORBIDDEN = re.compile(
    r"Traceback|\bat 0x[0-9a-f]{6,}|allow_pickle|Aborted\.|MemoryError|RecursionError"
    r"|Exception ignored|object at "
)
"""What no message has: traces, addresses, other libraries' advice."""

Tree = dict[str, tuple[int, int, int]]


@dataclass(frozen=True)
class Ended:
    """How a case ended: ``code`` is the exit code, negative for a signal, None for too late;
    ``seconds`` are the processor's."""

    code: int | None
    out: str
    err: str
    seconds: float
    kilobytes: int
    changed: tuple[str, ...]


def tree(folder: Path) -> Tree:
    """Names, sizes and times of all that is in a folder."""
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            stat = path.lstat()
            found[str(path.relative_to(folder))] = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
    return found


def changed(before: Tree, after: Tree) -> tuple[str, ...]:
    """Names that came, went or were written; folders by their own names, not by their times."""
    names = before.keys() | after.keys()
    return tuple(sorted(n for n in names if _size(before.get(n)) != _size(after.get(n))))


def _size(entry: tuple[int, int, int] | None) -> tuple[int, ...] | None:
    # A folder's time moves when a file within it is made and removed again.
    return entry if entry is None or entry[0] != 4096 else entry[2:]


def command(arguments: list[str]) -> Callable[[], None]:
    """``diffdescent`` with these arguments, in this process."""

    def run() -> None:
        from diffdescent.apps.cli.app import main

        sys.argv = ["diffdescent", *arguments]
        main()

    return run


def attempt(run: Callable[[], None], folder: Path, seconds: float = PATIENCE) -> Ended:
    """Run something in a fork whose working folder is ``folder``."""
    before = tree(folder)
    logs = folder.parent / f".{folder.name}.out", folder.parent / f".{folder.name}.err"
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _within(run, folder, logs)
    code, usage = _wait(child, started + seconds)
    taken = usage.ru_utime + usage.ru_stime
    out, err = (log.read_text(encoding="utf-8", errors="replace") for log in logs)
    for log in logs:
        log.unlink()
    return Ended(code, out, err, taken, usage.ru_maxrss, changed(before, tree(folder)))


def _within(run: Callable[[], None], folder: Path, logs: tuple[Path, Path]) -> None:
    """The fork: never returns."""
    code = 70
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
        os.chdir(folder)
        for number, log in zip((1, 2), logs, strict=True):
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), encoding="utf-8")
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), encoding="utf-8")
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        run()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else (0 if stop.code is None else 1)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _wait(child: int, until: float) -> tuple[int | None, resource.struct_rusage]:
    pause = 0.002
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), usage
        if time.monotonic() > until:
            os.killpg(child, signal.SIGKILL)
            _, _, usage = os.wait4(child, 0)
            return None, usage
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def faults(ended: Ended, expect: str) -> list[str]:
    """What is wrong with how a case ended; ``expect`` is ``refused``, or ``sane`` for input that
    may be good."""
    if ended.code is None:
        return [f"was not done after {PATIENCE:.0f} s"]
    found = ["took longer than 10 s"] if ended.seconds > SECONDS else []
    allowed = {"refused": (2,), "sane": (0, 2)}[expect]
    if ended.code not in allowed:
        found.append(f"exit code {ended.code}")
    text = ended.out + ended.err
    if match := FORBIDDEN.search(text):
        found.append(f"prints {match.group()!r}")
    if ended.kilobytes > MODEST and ended.code != 0:
        found.append(f"took {ended.kilobytes >> 10} MiB")
    if ended.code == 2:
        if ended.changed:
            found.append(f"changed {', '.join(ended.changed[:3])}")
        found += _not_one_sentence(ended.err)
    return found


def _not_one_sentence(err: str) -> list[str]:
    errors = [line for line in err.splitlines() if line.startswith("Error: ")]
    box = "Usage:" in err and "Error" in err
    if not box and len(errors) != 1:
        return [f"{len(errors)} sentences"]
    return ["a long message"] if len(err) > LONGEST else []


def warm_up() -> None:
    """Import what commands import, so that forks need not."""
    import matplotlib

    matplotlib.use("Agg")
    import diffusers  # noqa: F401
    import hypothesis  # noqa: F401
    import matplotlib.pyplot
    import polars  # noqa: F401
    import scipy.stats  # type: ignore[import-untyped]  # noqa: F401
    import torch
    import yaml  # noqa: F401
    from diffusers import DDPMPipeline, UNet2DModel  # noqa: F401

    import diffdescent.apps.testing
    import diffdescent.evaluate
    import diffdescent.guidance
    import diffdescent.lab.study
    import diffdescent.lab.train
    import diffdescent.models.convert  # noqa: F401

    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
