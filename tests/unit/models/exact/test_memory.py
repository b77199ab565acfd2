"""The promise of the finite set: 50,000 CIFAR-sized images at batch 64 within 2 GiB, the
interpreter included."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource, time
import torch
from diffdescent.models.dataset import Dataset
from diffdescent.core.process import VP, Point

images = torch.randint(0, 256, (50_000, 3, 32, 32), dtype=torch.uint8)
data = Dataset(images, VP.named())
x = torch.randn(64, 3, 32, 32)
begin = time.perf_counter()
data(x, Point(0, 0.8, 0.6))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak / 2**20, time.perf_counter() - begin, time.process_time())
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="ru_maxrss is in KiB on Linux only"
)
def test_peak_memory() -> None:
    out = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True
    ).stdout
    peak, *_ = map(float, out.split())
    assert peak < 2, f"peak {peak:.2f} GiB"
