"""What PxP costs over the same guidance without it, per step, on the bundled networks.

Usage: python benchmarks/guidance.py [--repeats 9] [--steps 10] [--batch 16] [--threads 1] [--quick]

Two figures for each guidance and sampler. *Whole*: the ratio of a run with PxP to one without, run
in turn (and in turn first), as the median and range over the repetitions; it holds the networks'
own noise. *Apart*: the executor's time with and without PxP, fed with one prediction made
beforehand, and the difference as a share of a whole step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.core.executor import Query
from diffdescent.core.noise import Keyed
from diffdescent.core.plan import Plan
from diffdescent.guidance import PxP, apply_guidance
from diffdescent.run.levels import initial_state
from diffdescent.run.micro_batch import evaluate, micro_batch_width

CASES = (
    ("classifier(scale=2)", "ddpm"),
    ("cfg(scale=3)", "ddpm"),
    ("classifier(scale=2, shift=score)", "dpmpp(order=2)"),
)
Answer = Callable[[Query], dd.Prediction]


def seconds(
    plan: Plan, start: Tensor, noise: Keyed, moves: tuple[PxP, ...], answer: Answer
) -> float:
    """Seconds per step of one run."""
    executor = dd.Executor(plan, start, noise=noise, displacements=moves)
    begin = time.perf_counter()
    while not executor.done:
        executor.tell(answer(executor.ask()))
    return (time.perf_counter() - begin) / plan.steps


def in_turn(
    without: Callable[[], float], with_pxp: Callable[[], float], repeats: int
) -> list[tuple[float, float]]:
    """(without, with) pairs of seconds, the first one dropped; every second pair is run the other
    way round."""
    pairs = []
    for i in range(repeats + 1):
        if i % 2:
            b = with_pxp()
            pairs.append((without(), b))
        else:
            pairs.append((without(), with_pxp()))
    return pairs[1:]


def case(guidance: str, sampler: str, arguments: argparse.Namespace) -> dict[str, object]:
    """The figures of one guidance over one sampler."""
    model, recipe = apply_guidance(guidance, dd.load_model("cifar10"), dd.sampler(sampler))
    grid = dd.grid("uniform(spacing=trailing)", model.process, arguments.steps)
    plan, labels = recipe.plan(grid), torch.arange(arguments.batch) % 10
    noise = Keyed(0, torch.arange(arguments.batch))
    start = initial_state(noise.initial(model.shape or ()), grid)
    width = micro_batch_width(model, torch.device("cpu"))

    def asked(query: Query) -> dd.Prediction:
        return evaluate(model, query, labels, width)

    first = asked(dd.Executor(plan, start, noise=noise).ask())

    def given(query: Query) -> dd.Prediction:
        return first

    def run(moves: tuple[PxP, ...], answer: Answer) -> Callable[[], float]:
        return lambda: seconds(plan, start, noise, moves, answer)

    pxp = (PxP(),)
    whole = in_turn(run((), asked), run(pxp, asked), arguments.repeats)
    apart = in_turn(run((), given), run(pxp, given), 5 * arguments.repeats)
    step = statistics.median(a for a, _ in whole)
    ratios = sorted(b / a for a, b in whole)
    extra = statistics.median(b - a for a, b in apart)
    return {
        "guidance": guidance,
        "sampler": sampler,
        "batch": arguments.batch,
        "ms_per_step": round(1e3 * step, 2),
        "whole_ratio": [round(r, 4) for r in (statistics.median(ratios), ratios[0], ratios[-1])],
        "apart_ms": round(1e3 * extra, 3),
        "apart_share": round(extra / step, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--quick", action="store_true", help="two steps of four samples, once: does it run at all?"
    )
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repeats, arguments.steps, arguments.batch = 1, 2, 4
    torch.set_num_threads(arguments.threads)
    print(
        f"torch {torch.__version__}, {arguments.threads} thread(s); ratios: median, least,"
        " greatest",
        flush=True,
    )
    with torch.no_grad():
        for guidance, sampler in CASES:
            print(json.dumps(case(guidance, sampler, arguments)), flush=True)


if __name__ == "__main__":
    main()
