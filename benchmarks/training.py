"""Training throughput in images/s: fp32, bf16 and channels-last, and with torch's fused attention
in place of the plain one that a CPU takes, by the real trainer, in one run.

    python benchmarks/training.py configs/cifar10.yaml --threads 1 --steps 10

Each setting trains the recipe's network on random images of the given size, in the same process;
the first ``--warm`` steps, which pick kernels, are left out. Prints a table and, last, one line of
JSON. ``torch.compile`` is not among them: on a CPU, PyTorch 2.13 compiles a wrong backward pass
(``diffdescent.lab.train.compiled``).
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from diffdescent.lab.train import load_config, make_config, train
from diffdescent.lab.train.networks import plain_attention

FUSED = "bf16, fused attention"

SETTINGS: dict[str, dict[str, Any]] = {
    "fp32": {"precision": "fp32"},
    "fp32 channels-last": {"precision": "fp32", "channels_last": True},
    "bf16": {"precision": "bf16"},
    "bf16 channels-last": {"precision": "bf16", "channels_last": True},
    FUSED: {"precision": "bf16"},
}


def throughput(
    recipe: dict[str, Any], setting: dict[str, Any], warm: int, steps: int, folder: Path
) -> float:
    """Images a second over ``steps`` steps after ``warm`` ones."""
    run = {**recipe["run"], "channels_last": False, "compile": False, **setting}
    # Log lines at both ends of the measured stretch.
    run.update(steps=warm + steps, log_every=math.gcd(warm, steps))
    run.update(checkpoint_every=10**6, picture_every=0, evaluate_every=0)
    config = make_config({**recipe, "out": str(folder), "run": run})
    train(config, quiet=True)
    lines = [
        json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    speeds: list[float] = [line["images_per_s"] for line in lines if line["step"] > warm]
    return len(speeds) / sum(1 / s for s in speeds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warm", type=int, default=2)
    parser.add_argument("--size", type=int, default=32, help="side of the random images")
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    arguments = parser.parse_args()
    results: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "data.npz"
        rng = np.random.default_rng(0)
        np.savez(
            data,
            rng.integers(0, 256, (512, arguments.size, arguments.size, 3), np.uint8),
            np.arange(512) % 10,
        )
        overrides = [f"data.path={data}", "data.test=null", f"run.threads={arguments.threads}"]
        recipe = load_config(arguments.recipe, overrides).model_dump()
        for name in arguments.settings:
            folder = Path(temporary) / name.replace(" ", "-")
            plain = plain_attention if name != FUSED else lambda network: None
            with patch("diffdescent.lab.train.loop.plain_attention", plain):
                results[name] = throughput(
                    recipe, SETTINGS[name], arguments.warm, arguments.steps, folder
                )
            print(f"{name:<45} {results[name]:8.1f} images/s", flush=True)
    print(
        json.dumps(
            {"recipe": arguments.recipe.stem, "threads": arguments.threads, "images_per_s": results}
        )
    )


if __name__ == "__main__":
    main()
