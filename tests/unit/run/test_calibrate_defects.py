"""Calibration where something is wrong or unusual: kept pieces of another fit, NaN, many classes,
little memory, a model without a fingerprint."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import diffdescent as dd
from diffdescent import UserError
from diffdescent.core.network import Network
from diffdescent.core.process import VP
from diffdescent.core.spectrum import Bands
from diffdescent.core.spectrum.axes import identity
from diffdescent.run.calibrate import calibrate, local, refine
from diffdescent.run.calibrate.counts import CHOICE_SAMPLES, FIT_SAMPLES, HELD_SAMPLES
from diffdescent.run.calibrate.derivatives import Directions
from diffdescent.run.calibrate.fixed import light_search
from diffdescent.run.calibrate.local import LocalFit, fit_rows
from diffdescent.run.calibrate.loss import Loss, loss_of
from diffdescent.run.calibrate.path import Rows
from diffdescent.run.calibrate.pays import as_near_as
from diffdescent.run.calibrate.setting import in_turn
from diffdescent.run.calibrate.shape import Shape
from diffdescent.run.calibrate.subject import Subject
from diffdescent.run.calibrate.teacher import Trajectories, check_converged, trajectories
from diffdescent.run.pieces import Pieces

from .test_calibrate import QUICK, SIZE, bent_model, spectrum_model
from .test_calibrate_ranges import classes

LOCAL: dict[str, Any] = {**QUICK, "end_to_end": 0}


def nameless(model: Network, factor: float = 1.0) -> Network:
    """Without a fingerprint; its answers times a factor."""

    def module(x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor | None) -> torch.Tensor:
        return factor * model.module(x, t, cond)

    return dataclasses.replace(model, module=module, fingerprint=None)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"teacher_levels": 32},
        {"bands": 3},
        {"prior": "gaussian"},
        {"prior": "fixed"},
        {"consistent": True},
        {"history": 1},
        {"plain_start": True},
        {"loss": "squared"},
        {"loss": Loss("huber", delta=1e-3)},
        {"trajectories_count": 20},
        {"nfe": 4},
    ],
    ids=str,
)
def test_what_another_fit_has_kept_changes_nothing(tmp_path: Path, other: dict[str, Any]) -> None:
    first = calibrate(bent_model(), **LOCAL, folder=tmp_path).solver
    fresh = calibrate(bent_model(), **{**LOCAL, **other}).solver
    kept = calibrate(bent_model(), **{**LOCAL, **other}, folder=tmp_path).solver
    assert kept.rows == fresh.rows
    assert kept.levels == fresh.levels
    if "loss" not in other:  # which does not decide about rows that are fitted step by step
        assert fresh.rows != first.rows


def test_models_without_a_name_do_not_share_what_is_kept(tmp_path: Path) -> None:
    for make in (bent_model, classes):
        options = {**LOCAL, **({"guidance": "cfg(scale=1..4)"} if make is classes else {})}
        folder = tmp_path / make.__name__
        calibrate(nameless(make()), **options, folder=folder)
        fresh = calibrate(nameless(make(), 0.97), **options).solver
        assert calibrate(nameless(make(), 0.97), **options, folder=folder).solver.rows == fresh.rows


def test_a_network_that_is_fed_with_another_dtype_is_asked_again(tmp_path: Path) -> None:
    half = dataclasses.replace(bent_model(), dtype=torch.bfloat16)
    calibrate(bent_model(), **LOCAL, folder=tmp_path)
    assert calibrate(half, **LOCAL, folder=tmp_path).opponent == calibrate(half, **LOCAL).opponent


def test_without_a_folder_a_model_needs_no_identity() -> None:
    bare = dataclasses.replace(nameless(bent_model()), shape=None)
    assert calibrate(bare, **LOCAL, shape=(1, SIZE, SIZE)).solver.nfe == 3


@pytest.mark.parametrize("keep", [False, True])
def test_nan_is_named_before_it_is_kept(tmp_path: Path, keep: bool) -> None:
    """One trajectory of five becomes NaN at the low levels."""

    def eps(x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor | None) -> torch.Tensor:
        found = bent_model().module(x, t, cond)
        if float(t[0]) < 100:
            found[x[:, 0, 0, 0] == x[:, 0, 0, 0].max()] = float("nan")
        return found

    broken = Network(eps, process=VP.named(), kind="eps", shape=(1, SIZE, SIZE), fingerprint="nan")
    subject = Subject(broken, (1, SIZE, SIZE), torch.device("cpu"), 5, lambda _: None)
    with pytest.raises(UserError, match="NaN or Inf for the noise of sample"):
        trajectories(
            subject, range(5), seed=0, levels=24, keep=keep, pieces=Pieces(tmp_path / "kept")
        )
    assert not list(tmp_path.rglob("*.npz"))


def test_a_solution_that_is_no_image_or_has_no_error_is_refused() -> None:
    noise = torch.randn(4, 1, SIZE, SIZE)
    none = torch.empty(0, *noise.shape)
    for end, error, match in (
        (100 * noise, 0.0, "runs away"),
        (noise, float("nan"), "does not settle"),
        (noise, 10.0, "does not settle"),
    ):
        with pytest.raises(UserError, match=match):
            check_converged(Trajectories(noise, None, (0.0,), none, end), error, 24)
    check_converged(Trajectories(noise, None, (0.0,), none, noise), 0.01, 24)


def test_many_classes_are_spread() -> None:
    fit, choice, held = (
        [in_turn(i, 1000) for i in range(first, first + 40)]
        for first in (FIT_SAMPLES, CHOICE_SAMPLES, HELD_SAMPLES)
    )
    for seen in (fit, held):
        ordered = sorted(seen)
        gaps = [b - a for a, b in zip(ordered, [*ordered[1:], ordered[0] + 1000], strict=True)]
        assert 0 < min(gaps) <= max(gaps) < 60
    assert len({*fit, *choice, *held}) == 120
    assert [in_turn(i, 10) for i in range(1_000_000, 1_000_012)] == [*range(10), 0, 1]


@pytest.fixture(scope="module")
def bent() -> tuple[Subject, Trajectories, Trajectories]:
    subject = Subject(bent_model(), (1, SIZE, SIZE), torch.device("cpu"), 4, lambda _: None)
    data, held = (
        trajectories(subject, range(a, a + 8), seed=0, levels=48, keep=True, pieces=Pieces(None))
        for a in (0, 100)
    )
    return subject, data, held


def test_little_memory_makes_the_same_fit(
    bent: tuple[Subject, Trajectories, Trajectories], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows to the bit; the derivatives, whose differences have one size for the trajectories
    that are held together, nearly."""
    subject, data, _ = bent
    shape = Shape(identity(1), Bands.for_size(SIZE, 3))

    @torch.no_grad()
    def found() -> tuple[LocalFit, torch.Tensor]:
        fit = fit_rows(subject, data, (10, 22, 34), shape)
        rows = Rows.of(subject, shape, fit, torch.device("cpu"))
        directions = Directions.of(shape, len(rows.theta))
        typical = torch.tensor(0.1, dtype=torch.float64)
        return fit, refine._equations(rows, data, directions, loss_of("distance"), typical)[0]

    whole = found()
    monkeypatch.setattr(local, "HELD", 1)
    monkeypatch.setattr(refine, "HELD", 1)
    few = found()
    assert few[0].rows == whole[0].rows
    assert float((few[1] - whole[1]).norm()) < 0.01 * float(whole[1].norm())


def test_the_round_that_is_nearest_on_other_noises_is_taken(
    bent: tuple[Subject, Trajectories, Trajectories],
) -> None:
    subject, data, _ = bent
    shape = Shape(identity(1), Bands.for_size(SIZE, 3))
    fit = fit_rows(subject, data, (10, 22, 34), shape)
    seen: list[LocalFit] = []

    def judge(one: LocalFit) -> float:
        """The fit first, then three rounds, of which the second is the best."""
        seen.append(one)
        return (3.0, 2.0, 1.0, 4.0)[len(seen) - 1]

    found = refine.refine(subject, data, fit, shape, lambda line: None, 3, judge)
    assert len(seen) == 4
    assert found is seen[2]
    assert refine.refine(subject, data, fit, shape, lambda _: None, 2, lambda one: float(
        one is not fit
    )) is fit  # fmt: skip


def test_a_fixed_sampler_is_as_near_from_the_number_that_is_given(
    bent: tuple[Subject, Trajectories, Trajectories],
) -> None:
    """The searched opponent: at the number its distance is that of the fit, at one less it is
    not."""
    subject, data, held = bent
    found = calibrate(bent_model(), **LOCAL)
    loss = loss_of("distance")

    def nearest(nfe: int) -> float:
        tried = light_search(subject, data, nfe, found.rival, loss)
        return min(
            loss.mean(subject.run(one.plan, held.noise, None)[-1], held.end) for one in tried
        )

    for wanted in (4, 6, 9):
        least = nearest(wanted)
        number = as_near_as(subject, data, held, found.rival, loss, least)
        assert number is not None
        assert number <= wanted
        assert nearest(number) <= least
        assert number == 4 or nearest(number - 1) > least
    assert as_near_as(subject, data, held, found.rival, loss, 0.0) is None
    pays = found.solver.report["pays_off"]
    assert pays["images"] == -(-found.evaluations // (pays["fixed_evaluations"] - 3))


def test_strictly_a_model_must_be_known(tmp_path: Path) -> None:
    path = tmp_path / "nameless.json"
    model = nameless(spectrum_model())
    calibrate(model, **LOCAL).write(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dd.sample(model, f"calibrated('{path}')", n=1)
    with pytest.raises(UserError, match="cannot be told"):
        dd.sample(model, f"calibrated('{path}', strict=true)", n=1)
