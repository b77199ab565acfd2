"""What a calibration may be asked for: another loss, another prior, consistent rows; and what it
says while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffdescent import UserError
from diffdescent.core.network import Network
from diffdescent.core.process import VP
from diffdescent.core.spectrum import Bands
from diffdescent.core.spectrum.axes import identity
from diffdescent.run.calibrate import calibrate
from diffdescent.run.calibrate.answers import Answers
from diffdescent.run.calibrate.derivatives import Directions, derivatives
from diffdescent.run.calibrate.local import LocalFit, fit_rows
from diffdescent.run.calibrate.loss import Loss, loss_of
from diffdescent.run.calibrate.path import Rows
from diffdescent.run.calibrate.plain import as_rows
from diffdescent.run.calibrate.refine import changed, refine
from diffdescent.run.calibrate.search import search_levels
from diffdescent.run.calibrate.shape import Shape
from diffdescent.run.calibrate.subject import Subject
from diffdescent.run.calibrate.teacher import Trajectories, trajectories
from diffdescent.run.pieces import Pieces

from .test_calibrate import QUICK, SIZE, bent_model, spectrum_model

LOCAL = {**QUICK, "end_to_end": 0}


@pytest.fixture(scope="module")
def bent() -> tuple[Subject, Trajectories]:
    subject = Subject(bent_model(), (1, SIZE, SIZE), torch.device("cpu"), 4, lambda _: None)
    found = trajectories(subject, range(8), seed=0, levels=32, keep=True, pieces=Pieces(None))
    return subject, found


def coarse(images: torch.Tensor) -> torch.Tensor:
    """A feature map: the means of the quarters."""
    return torch.nn.functional.adaptive_avg_pool2d(images, 2).tanh()


def test_each_loss_is_what_its_formula_says() -> None:
    apart = torch.tensor([0.0, 0.3, 2.0], dtype=torch.float64)
    assert torch.equal(loss_of("distance").values(apart), apart)
    assert torch.allclose(loss_of("squared").values(apart), apart**2)
    huber = loss_of("huber").scaled(0.5)
    assert torch.allclose(huber.values(apart), 0.25 * ((1 + (apart / 0.5) ** 2).sqrt() - 1))
    for loss in (loss_of("squared"), huber):
        at = apart[1:].clone().requires_grad_()
        (wanted,) = torch.autograd.grad(loss.values(at).sum(), at)
        found = loss.weights(apart, apart.median())[1:] * apart[1:]
        assert torch.allclose(found / found[0], wanted / wanted[0])  # ρ'(d) up to a factor
    with pytest.raises(UserError, match="huber"):
        loss_of("cosine")
    with pytest.raises(UserError, match="huber"):
        Loss("cosine")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="above 0"):
        Loss("huber", delta=0.0)


def test_the_scale_of_huber_is_the_opponents_distance_or_ones_own() -> None:
    apart = torch.tensor([0.1, 0.4], dtype=torch.float64)
    assert torch.equal(loss_of("huber").values(apart), apart)  # while δ is not known
    assert loss_of("huber").scaled(0.25).text == "huber(0.25)"
    assert Loss("huber", delta=0.01).scaled(0.25).delta == 0.01
    found = calibrate(bent_model(), **LOCAL, loss="huber")
    assert found.solver.fit["loss"] == f"huber({found.rival.distance:.4g})"
    own = calibrate(bent_model(), **LOCAL, loss=Loss("huber", delta=1e-4))
    assert own.solver.fit["loss"] == "huber(0.0001)"


def test_features_are_what_is_compared() -> None:
    one, other = torch.randn(3, 1, SIZE, SIZE), torch.randn(3, 1, SIZE, SIZE)
    found = Loss(features=coarse).distances(one, other)
    wanted = (coarse(one) - coarse(other)).double().square().flatten(1).mean(1).sqrt()
    assert torch.allclose(found, wanted)
    columns = 5 * torch.randn(2, 3, 1, SIZE, SIZE)
    moved = Loss(features=coarse).moved(columns, one)
    exact = torch.autograd.functional.jvp(coarse, one, columns[1])[1]
    assert float((moved[1] - exact).norm()) < 0.03 * float(exact.norm())
    with pytest.raises(UserError, match="one row for each of 3 images"):
        Loss(features=lambda x: x.mean()).distances(one, other)


def test_rounds_end_to_end_follow_the_loss(bent: tuple[Subject, Trajectories]) -> None:
    subject, data = bent
    shape = Shape(identity(1), Bands.for_size(SIZE, 3))
    fit = fit_rows(subject, data, (6, 14, 22), shape)
    seen = {}
    for name, loss in (("pixels", loss_of("squared")), ("features", Loss("squared", coarse))):
        refined = refine(subject, data, fit, shape, lambda line: None, 3, loss=loss)
        seen[name] = Loss("squared", coarse).mean(refined.images, data.end)
    assert seen["features"] < seen["pixels"]
    assert seen["features"] < Loss("squared", coarse).mean(fit.images, data.end)


def test_the_loss_decides_and_stands_in_the_file() -> None:
    found = calibrate(bent_model(), **LOCAL, loss=coarse).solver
    assert found.fit["loss"] == "distance of features"
    report = found.report["loss"]
    assert report["name"] == "distance of features"
    assert found.report["kept"] == "calibrated"
    assert report["calibrated"]["value"] < report["fixed"]["value"]
    assert "loss" not in calibrate(bent_model(), **LOCAL).solver.report


def test_the_summary_names_the_loss_that_decides() -> None:
    assert "distance of features decides: " in calibrate(bent_model(), **LOCAL, loss=coarse).summary


@pytest.mark.parametrize(
    ("shape", "asked"),
    [
        ({"history": 2}, 1),
        ({"prior": "gaussian"}, 1),
        ({"consistent": True}, 1),
        ({"prior": "fixed", "recipe": "unipc"}, 3),
    ],
    ids=str,
)
def test_what_the_network_has_said_is_not_asked_again(
    bent: tuple[Subject, Trajectories], shape: dict[str, Any], asked: int
) -> None:
    subject, data = bent
    form = Shape(identity(1), Bands.for_size(SIZE, 3), **shape)
    answers = Answers(3)
    fit_rows(subject, data, (6, 14, 22), form, answers)
    before = subject.calls
    moved = fit_rows(subject, data, (6, 14, 26), form, answers)
    assert subject.calls - before == asked * len(data.noise)
    anew = fit_rows(subject, data, (6, 14, 26), form)
    assert moved.rows == anew.rows
    assert torch.equal(moved.images, anew.images)


def test_the_search_takes_the_same_levels_with_fewer_questions(
    bent: tuple[Subject, Trajectories], monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, data = bent
    shape = Shape(identity(1), Bands.for_size(SIZE, 3))

    def searched() -> tuple[tuple[int, ...], int]:
        before = subject.calls
        found = search_levels(subject, data, 4, shape, [], lambda line: None)
        return found, subject.calls - before

    places, few = searched()
    monkeypatch.setattr(
        "diffdescent.run.calibrate.search.fit_rows", lambda *given: fit_rows(*given[:4])
    )
    again, many = searched()
    assert places == again
    assert few < 0.8 * many


def test_consistent_rows_are_exact_for_a_constant_estimate(
    bent: tuple[Subject, Trajectories],
) -> None:
    subject, data = bent
    shape = Shape(identity(1), Bands.for_size(SIZE, 3), consistent=True)
    fit = fit_rows(subject, data, (6, 14, 22), shape)

    def check(fit: LocalFit) -> None:
        walked = [*fit.asked, fit.end]
        for row, high, low in zip(fit.rows, walked, walked[1:], strict=False):
            assert np.allclose(row.base, 1)
            assert np.allclose(np.sum(row.evals, axis=0), low - high)

    check(fit)
    refined = refine(subject, data, fit, shape, lambda line: None, 2)
    check(refined)
    assert refined.asked != fit.asked
    assert loss_of("distance").mean(refined.images, data.end) < loss_of("distance").mean(
        fit.images, data.end
    )


def test_derivatives_of_consistent_rows(
    bent: tuple[Subject, Trajectories], monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, data = bent
    shape = Shape(identity(1), Bands.for_size(SIZE, 3), consistent=True)
    rows = Rows.of(subject, shape, fit_rows(subject, data, (6, 14, 22), shape), torch.device("cpu"))
    monkeypatch.setattr("diffdescent.run.calibrate.derivatives.NUDGE", 5e-3)
    path, directions = rows.run(data.noise, None), Directions.of(shape, 3)
    columns = torch.cat(list(derivatives(rows, path, None, directions)))
    assert len(columns) == sum(directions.sizes(rows))
    for number in (0, *range(len(columns) - 6 - 3, len(columns), 2)):
        change = torch.zeros(len(columns), dtype=torch.float64)
        change[number] = size = min(0.1 / float(columns[number].norm()), 0.02)
        tried = changed(rows, change, directions)
        assert tried is not None
        moved = tried.run(data.noise, None).images - path.images
        assert float((moved - columns[number] * size).norm()) < 0.06 * float(moved.norm()) + 1e-5


def test_the_fixed_prior_is_the_fixed_sampler_where_the_ridge_is_strong(
    bent: tuple[Subject, Trajectories],
) -> None:
    from diffdescent.core.recipe import parse

    subject, data = bent
    strong = Shape(
        identity(1), Bands.for_size(SIZE, 3), ridge=1e6, prior="fixed", recipe="dpmpp(order=2)"
    )
    fit = fit_rows(subject, data, (6, 14, 22), strong)
    plan = parse("dpmpp(order=2)").plan(subject.grid((*fit.asked, fit.end)))
    for row, wanted in zip(fit.rows, as_rows(plan, 1).rows, strict=True):
        numbers = [row.base, *row.evals], [wanted.base, *wanted.evals]
        for mine, theirs in zip(*numbers, strict=True):
            assert np.allclose(mine, theirs[0][0], atol=1e-4)
    found = calibrate(bent_model(), **LOCAL, prior="fixed")
    assert not found.fixed


def test_searches_are_kept(tmp_path: Path) -> None:
    first = calibrate(bent_model(), **LOCAL, folder=tmp_path)
    lines: list[str] = []
    again = calibrate(bent_model(), **LOCAL, folder=tmp_path, note=lines.append)
    assert again.solver.levels == first.solver.levels
    assert again.rival.grid == first.rival.grid
    assert len(lines) == 1  # the teacher's; no search has anything to say
    assert again.solver.fit["stages"] == first.solver.fit["stages"]
    assert set(again.solver.fit["seconds"]) == set(again.solver.fit["stages"])
    assert "It took" in first.summary


def test_progress_knows_about_how_many_there_will_be() -> None:
    seen: list[tuple[int, int]] = []
    found = calibrate(spectrum_model(), **QUICK, progress=lambda *at: seen.append(at))
    assert all(done <= total for done, total in seen)
    assert seen[-1] == (found.evaluations, found.evaluations)
    assert 0.3 < seen[len(seen) // 4][1] / found.evaluations < 3


def test_solutions_that_do_not_settle_are_refused() -> None:
    def diverging(**options: Any) -> Network:
        def eps(x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor | None) -> torch.Tensor:
            point = VP.named().point(float(t.flatten()[0]))
            y, s = x / point.alpha, point.ratio
            return (y - 1.9 * y * torch.sin(30 * y / (s + 0.05))) / s

        return Network(eps, process=VP.named(), kind="eps", shape=(1, SIZE, SIZE), **options)

    with pytest.raises(UserError, match=r"does not settle.*lower the guidance scale"):
        calibrate(diverging(fingerprint="wild"), **LOCAL)
