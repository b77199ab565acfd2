"""What the user's own network or callback raises reaches the user as it is, and what is stopped in
the middle goes on."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import diffdescent as dd
from diffdescent.run import prepare, watch

SHAPE = (3, 8, 8)


class Mine(Exception):
    """An error of the user's."""


def network(error: BaseException | None = None, at: int = 3, **about: Any) -> dd.Network:
    """An ε-network, whose evaluation number ``at`` raises."""
    count = [0]

    def answer(x: torch.Tensor, t: torch.Tensor, cond: object) -> torch.Tensor:
        count[0] += 1
        if error is not None and count[0] >= at:
            raise error
        return 0.1 * x

    return dd.Network(answer, process=dd.VP.named(), kind="eps", shape=SHAPE, **about)


def raising(error: BaseException) -> Callable[[object], None]:
    def callback(at: object) -> None:
        raise error

    return callback


JOBS: dict[str, Callable[[BaseException], object]] = {
    "sample": lambda e: dd.sample(network(e), "ddim", steps=4, progress=False),
    "callback": lambda e: dd.sample(
        network(), "ddim", steps=4, progress=False, callback=raising(e)
    ),
    "invert": lambda e: dd.invert(network(e, 1), torch.zeros(1, *SHAPE), steps=2),
    "restore": lambda e: dd.restore(
        network(e), y=torch.zeros(1, *SHAPE), operator="blur(sigma=1)", method="dps", nfe=3
    ),
    "compare": lambda e: dd.compare(
        network(e, 5), samplers="ddim; ge", nfe=3, n=4, resamples=2, solution=8
    ),
    "calibrate": lambda e: dd.calibrate(
        network(e, 5), nfe=3, trajectories_count=8, held_out=8, teacher_levels=12, bands=1,
        end_to_end=0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize(
    "error",
    [
        Mine("mine"), ValueError("mine"), RuntimeError("mine"), TypeError("mine"),
        KeyError("mine"), OSError(28, "mine"), AttributeError("mine"), MemoryError("mine"),
        KeyboardInterrupt("mine"), GeneratorExit("mine"),
    ],
    ids=lambda e: type(e).__name__,
)  # fmt: skip
def test_what_the_users_code_raises_reaches_the_user(job: str, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        JOBS[job](error)
    assert caught.value is error
    assert torch.is_grad_enabled()


def test_a_run_that_is_watched_may_be_left(tmp_path: Path) -> None:
    run = prepare(network(), "ddim", steps=4, n=6, batch_size=2, seed=3)
    whole = [one for one in watch(run) if not isinstance(one, dd.Progress)]
    for taken in (0, 1, 6):
        steps = watch(run)
        for _ in range(taken):
            next(steps)
        steps.close()
        assert torch.is_grad_enabled()
        with pytest.raises(StopIteration):
            next(steps)
    again = [one for one in watch(run) if not isinstance(one, dd.Progress)]
    assert all(torch.equal(a.images, b.images) for a, b in zip(whole, again, strict=True))


def test_a_comparison_stopped_by_ctrl_c_goes_on(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "samplers": "ddim; ge", "nfe": 3, "n": 4, "resamples": 2, "solution": 8,
    }  # fmt: skip
    about = {"name": "mine", "fingerprint": "mine"}
    with pytest.raises(KeyboardInterrupt):
        dd.compare(network(KeyboardInterrupt(), 29, **about), out=tmp_path / "a", **options)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "a").rglob("*.npz")}
    assert any("shards" in path.parts for path in before)
    assert not list((tmp_path / "a").rglob("*.partial"))
    dd.compare(network(**about), out=tmp_path / "a", **options)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    dd.compare(network(**about), out=tmp_path / "b", **options)
    assert values(tmp_path / "a") == values(tmp_path / "b")


def values(study: Path) -> list[tuple[str, str]]:
    rows = csv.DictReader((study / "table.csv").read_text().splitlines())
    return [(row["metric"], row["value"]) for row in rows if "second" not in row["metric"]]
