"""The short form of the trial (``make trial``): some of each, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.end_to_end.train.test_crash import environment
from tests.paths import ROOT


@pytest.mark.skipif(sys.platform != "linux", reason="forks and kills its cases")
def test_bad_input_kills_full_disks_and_rivals() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.trial", "--short"], cwd=ROOT, env=environment(),
        capture_output=True, text=True, timeout=550, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"bad input: (\d+) cases, 0 violations", done.stdout)
    assert found is not None, done.stdout
    assert int(found[1]) >= 40
    assert "200 writes, 0 failed, 0 torn" in done.stdout
    found = re.search(r"calls from Python: (\d+) cases, \d+ refused, 0 violations", done.stdout)
    assert found is not None, done.stdout
    assert int(found[1]) >= 40
    assert "Ctrl-C from the first moment: 3 moments" in done.stdout
    assert "the trial: 0 violations in all" in done.stdout
