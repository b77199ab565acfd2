"""Ctrl-C from the first moment on, in real processes: once the program has begun, a sentence and
exit code 130, never a trace of its own or an abort within a library that is being loaded."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from .judge import FORBIDDEN

WORDS = ("sample", "tiny", "--n", "4", "--steps", "400", "--batch-size", "1", "--out")
SENTENCE = "Interrupted; give the same command to continue."


def begin(
    folder: Path, moments: int, longest: float | None = None
) -> tuple[Counter[str], list[str]]:
    """Ctrl-C at so many moments between the start and ``longest`` seconds (None: as long as a whole
    ``--version`` and an import of PyTorch take); what happened how often, and what must not."""
    counts: Counter[str] = Counter()
    wrong = []
    last = longest or 1.5 * _until_loaded()
    for i in range(moments):
        after = last * (i + 1) / moments
        happened, bad = _interrupted(folder, after, f"begun-{i}")
        counts[happened] += 1
        wrong += bad
    return counts, wrong


def _until_loaded() -> float:
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", "import torch"], check=True, timeout=300)
    return time.monotonic() - begun


def _interrupted(folder: Path, after: float, out: str) -> tuple[str, list[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "diffdescent", *WORDS, out],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    said, err = process.communicate(timeout=300)
    if process.returncode == 0:
        return "ended before", []
    if process.returncode == 130 and SENTENCE in err and not FORBIDDEN.search(said + err):
        return "in a sentence", []
    # Before the program's own first line it is Python that answers, and its loader.
    own = "diffdescent/__main__.py" in err or "diffdescent/apps" in err
    if not own and process.returncode in (1, -signal.SIGINT):
        return "Python was still starting", []
    return "violations", [f"after {after:.3f} s: exit code {process.returncode}\n{err[-1500:]}"]
