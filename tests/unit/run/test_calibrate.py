"""Calibration on models whose exact solution is known, and the file that it writes."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import diffdescent as dd
from diffdescent import UserError
from diffdescent.core.network import Network
from diffdescent.core.process import VP, Flow
from diffdescent.core.recipe import default_grid, parse, parse_grid
from diffdescent.core.solvers.calibrated import Calibrated, plan_of
from diffdescent.core.spectrum import from_cosines, to_cosines
from diffdescent.core.spectrum.bands import radial_frequency
from diffdescent.core.spectrum.fitted import FittedSolver, load_fitted
from diffdescent.run.calibrate import Calibration, calibrate
from diffdescent.run.calibrate.judge import mean_of
from diffdescent.run.calibrate.plain import as_rows
from diffdescent.run.fitted_for import differences

SIZE = 8
QUICK: dict[str, Any] = {
    "nfe": 3, "trajectories_count": 12, "held_out": 12, "teacher_levels": 24, "bands": 5,
}  # fmt: skip


def spectrum_model(slope: float = 2.0, fingerprint: str = "spectrum") -> Network:
    """The exact denoiser of Gaussian images of power spectrum (4ρ)^−slope, 4 at the mean; one
    channel."""
    rho = np.maximum(4 * radial_frequency(SIZE, SIZE), 0.5)
    power = torch.from_numpy(rho**-slope).float()
    process = VP.named()

    def eps(x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor | None) -> torch.Tensor:
        point = process.point(float(t.flatten()[0]))
        scale = point.sigma / (point.alpha**2 * power + point.sigma**2)
        return from_cosines(to_cosines(x) * scale)

    return Network(eps, process=process, kind="eps", shape=(1, SIZE, SIZE), fingerprint=fingerprint)


def counting(model: Network) -> tuple[Network, Callable[[], int]]:
    """The model, and how many images it has been asked about."""
    asked: list[int] = []

    def module(x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor | None) -> torch.Tensor:
        asked.append(len(x))
        return model.module(x, t, cond)

    return dataclasses.replace(model, module=module), lambda: sum(asked)


def one_image_model() -> Network:
    """The exact denoiser of a single image: every sampler solves it without an error."""

    def x0(x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor | None) -> torch.Tensor:
        return torch.full_like(x, 0.25)

    return Network(x0, process=VP.named(), kind="x0", shape=(1, SIZE, SIZE), fingerprint="one")


@pytest.fixture(scope="module")
def found() -> Calibration:
    return calibrate(spectrum_model(), **QUICK)


@pytest.fixture(scope="module")
def file(found: Calibration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("calibrated") / "spectrum.json"
    found.write(path)
    return path


def test_the_teacher_has_a_state_at_each_of_its_levels() -> None:
    """Of Gaussian images y(σ') = y(σ)·√((S + σ'²)/(S + σ²)); the last corrected state, too, which
    one answer commits together with the end."""
    from diffdescent.run.calibrate.subject import Subject
    from diffdescent.run.calibrate.teacher import trajectories
    from diffdescent.run.pieces import Pieces

    subject = Subject(spectrum_model(), (1, SIZE, SIZE), torch.device("cpu"), 4, lambda _: None)
    data = trajectories(subject, range(3), seed=0, levels=48, keep=True, pieces=Pieces(None))
    assert len(data.before) + 1 == len(data.levels) == 49
    power = torch.from_numpy(np.maximum(4 * radial_frequency(SIZE, SIZE), 0.5) ** -2.0)
    begin = to_cosines(data.state(0).double()) / (power + data.levels[0] ** 2).sqrt()
    for level, state in zip(data.levels, [*data.before, data.end], strict=True):
        exact = from_cosines(begin * (power + level**2).sqrt())
        assert (state - exact).square().mean().sqrt() < 1e-3 * exact.square().mean().sqrt()


def test_curves_over_the_frequency_solve_a_spectrum(found: Calibration) -> None:
    assert not found.fixed
    assert found.fitted.value < 0.3 * found.opponent.value
    assert found.difference.high < 0
    assert "calibrated" in found.summary


def test_a_coarse_teacher_is_named(found: Calibration) -> None:
    coarse = dataclasses.replace(
        found,
        solver=dataclasses.replace(found.solver, report={"held_out": 8, "teacher_error": 1.0}),
    )
    assert "more levels" in coarse.summary


def test_bands_are_what_helps(found: Calibration) -> None:
    scalar = calibrate(spectrum_model(), **{**QUICK, "bands": 1})
    assert found.fitted.value < 0.6 * scalar.fitted.value
    assert scalar.solver.bands.count == 1


def test_the_file_says_what_was_found(found: Calibration, file: Path) -> None:
    again = load_fitted(file)
    for name in ("levels", "end", "axes", "bands", "start", "rows"):
        assert getattr(again, name) == getattr(found.solver, name)
    assert again.to_json() == found.solver.to_json()
    assert again.report["kept"] == "calibrated"
    assert again.fitted_for["fingerprint"] == "spectrum"
    assert again.fit["evaluations"] == found.evaluations


def test_the_recipe_samples_what_was_judged(found: Calibration, file: Path) -> None:
    recipe = f"calibrated('{file}')"
    assert str(parse(recipe)) == f"calibrated(file='{file}')"
    samples = range(2_000_000, 2_000_012)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = dd.sample(spectrum_model(), recipe, samples=samples)
    assert result.plan.nfe == 3
    exact = dd.sample(
        spectrum_model(), "unipc(order=3)", samples=samples, dtype=torch.float64,
        grid="exponential(start=157.0, last=0.011)", steps=400,
    ).images  # fmt: skip
    distance = (result.images - exact).square().mean((1, 2, 3)).sqrt().mean()
    assert float(distance) == pytest.approx(found.fitted.value, abs=1e-4)
    split = dd.sample(spectrum_model(), recipe, samples=samples, batch_size=5)
    assert torch.equal(split.images, result.images)


def test_effective_weights_band_by_band(file: Path) -> None:
    from diffdescent.core.band_weights import band_weights

    recipe, process = parse(f"calibrated('{file}')"), VP.named()
    grid = parse_grid(default_grid(recipe, process), process, 99)
    weights = band_weights(recipe, grid, basis="eps")
    assert weights.evals.shape == (1, 5, 3)
    assert np.ptp(weights.evals, axis=1).max() > 0.01
    mean = dd.effective_weights(recipe, grid, basis="eps")
    assert np.allclose(mean.result, weights.evals.mean((0, 1)))
    assert weights.table().count("\n") == 5


def test_other_grids_are_refused(file: Path) -> None:
    with pytest.raises(UserError, match="leave the grid out"):
        dd.sample(spectrum_model(), f"calibrated('{file}')", grid="karras", steps=3)


def test_front_ends_walk_the_files_levels(file: Path, tmp_path: Path) -> None:
    from diffdescent.integrations.diffusers import DescentScheduler
    from diffdescent.integrations.kdiffusion import sampler

    model = spectrum_model()
    scheduler = DescentScheduler(recipe=f"calibrated('{file}')")
    scheduler.set_timesteps(3)
    x = torch.zeros(1, 1, SIZE, SIZE)
    with pytest.raises(UserError, match="--plain-start"):
        scheduler.step(x, scheduler.timesteps[0], x)
    plain = calibrate(model, **QUICK, plain_start=True)
    plain.write(tmp_path / "plain.json")
    file = tmp_path / "plain.json"
    recipe = f"calibrated('{file}')"
    ours = dd.sample(model, recipe, n=2).images
    noise = dd.run.noise_for(0, range(2), (1, SIZE, SIZE))
    scheduler = DescentScheduler(recipe=recipe)
    scheduler.set_timesteps(3)
    x = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        raw = model(x, model.process.point(float(t))).raw
        x = scheduler.step(raw, t, x).prev_sample
    assert torch.allclose(x, ours, atol=1e-4)

    def denoised(x: torch.Tensor, sigma: torch.Tensor, **options: Any) -> torch.Tensor:
        point = dd.core.grid.explicit_ratios(model.process, [float(sigma[0]), 0.0]).points[0]
        return model(x * point.alpha, point).to("x0", x * point.alpha)

    levels = torch.tensor([*load_fitted(file).levels, 0.0], dtype=torch.float64)
    start = noise * float((1 + levels[0] ** 2).sqrt())
    assert torch.allclose(sampler(recipe)(denoised, start, levels), ours, atol=1e-3)


def test_another_model_is_a_warning_and_strictly_an_error(file: Path) -> None:
    other = spectrum_model(1.0, "other")
    with pytest.warns(UserWarning, match="another model"):
        dd.sample(other, f"calibrated('{file}')")
    with pytest.raises(UserError, match="another model"):
        dd.sample(other, f"calibrated('{file}', strict=true)")


def test_labels_are_part_of_what_it_was_fitted_for(file: Path) -> None:
    known = load_fitted(file)
    assert known.fitted_for["labels"] == "none"
    model = spectrum_model()
    assert not differences(known, model, None, (1, SIZE, SIZE), False)
    assert differences(known, model, None, (1, SIZE, SIZE), True) == ["samples without labels"]
    assert len(differences(known, model, "cfg(scale=2)", (1, 4, 4), False)) == 2


def test_another_size_reads_the_curves_there(file: Path) -> None:
    def eps(x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor | None) -> torch.Tensor:
        return torch.tanh(x)

    model = Network(eps, process=VP.named(), kind="eps", shape=(1, 12, 20))
    with pytest.warns(UserWarning, match="another shape"):
        result = dd.sample(model, f"calibrated('{file}')", n=2)
    assert result.images.shape == (2, 1, 12, 20)


def test_where_nothing_can_be_gained_the_fixed_sampler_stays(tmp_path: Path) -> None:
    found = calibrate(one_image_model(), **QUICK)
    assert found.fixed
    assert found.solver.report["kept"] == "fixed"
    assert found.solver.bands.count == 1
    found.write(tmp_path / "fixed.json")
    recipe = f"calibrated('{tmp_path / 'fixed.json'}')"
    images = dd.sample(one_image_model(), recipe, n=3).images
    assert torch.allclose(images, torch.full_like(images, 0.25), atol=1e-4)


def test_a_fit_that_is_not_nearer_is_not_kept() -> None:
    """The decision by itself: rows that are the fixed sampler's, worse ones, and ones that make
    NaN."""
    from diffdescent.core.spectrum import Bands
    from diffdescent.core.spectrum.axes import identity
    from diffdescent.core.spectrum.fitted import FittedRow
    from diffdescent.run.calibrate.decide import decide
    from diffdescent.run.calibrate.fixed import best_fixed
    from diffdescent.run.calibrate.local import LocalFit, fit_rows
    from diffdescent.run.calibrate.shape import Shape
    from diffdescent.run.calibrate.subject import Subject
    from diffdescent.run.calibrate.teacher import trajectories
    from diffdescent.run.pieces import Pieces

    subject = Subject(spectrum_model(), (1, SIZE, SIZE), torch.device("cpu"), 4, lambda _: None)
    data = trajectories(subject, range(12), seed=0, levels=24, keep=True, pieces=Pieces(None))
    rival = best_fixed(subject, data, 3, lambda line: None)
    plain = as_rows(rival.plan, 1)
    flat = Shape(plain.axes, plain.bands)
    same = LocalFit(plain.levels, plain.end, plain.start, plain.rows, data.end)
    worse = tuple(
        FittedRow(tuple(tuple(3 * v for v in c) for c in row.base), row.evals) for row in plain.rows
    )
    huge = tuple(FittedRow(((1e4,),), row.evals) for row in plain.rows)
    for rows in (plain.rows, worse, huge):
        report, fixed, (ours, theirs, apart) = decide(
            subject, data, dataclasses.replace(same, rows=rows), flat, rival
        )
        assert fixed
        assert report["kept"] == "fixed"
        assert not apart.high < -1e-3 * theirs.value
        assert not ours.value < 0.999 * theirs.value
    form = Shape(identity(1), Bands.for_size(SIZE, 5))
    report, fixed, (ours, theirs, apart) = decide(
        subject, data, fit_rows(subject, data, (2, 10, 16), form), form, rival
    )
    assert fixed == (apart.high >= -1e-3 * theirs.value)
    assert fixed or ours.value < theirs.value


@pytest.mark.parametrize("recipe", ["ge", "unipc(order=3)", "dpmpp(order=2)", "plms"])
def test_a_fixed_sampler_as_rows_is_that_sampler(recipe: str) -> None:
    model, process = spectrum_model(), VP.named()
    grid = dd.grid("exponential(start=80.0, last=0.1)", process, 5)
    plan = parse(recipe).plan(grid)
    plain = as_rows(plan, 1)
    solver = FittedSolver(
        "plain", plain.levels, plain.end, plain.axes, plain.bands, plain.start, plain.rows
    )
    own = plan_of(solver, dd.core.grid.explicit_ratios(process, (*plain.levels, plain.end)))
    assert own.spectral is None
    results = []
    for one in (plan, own):
        x = dd.run.noise_for(3, range(2), (1, SIZE, SIZE)).double()
        executor = dd.Executor(one, x, dtype=torch.float64)
        while not executor.done:
            query = executor.ask()
            executor.tell(model(query.x, query.at))
        results.append(executor.x)
    assert torch.allclose(*results, atol=1e-5)


def test_an_interrupted_calibration_goes_on(tmp_path: Path) -> None:
    lines: list[str] = []

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate(spectrum_model(), folder=tmp_path, note=stop, **QUICK)
    kept = len(list(tmp_path.iterdir()))
    assert kept > 0
    whole, asked = counting(spectrum_model())
    wanted = calibrate(whole, **QUICK)
    all_of_them = asked()
    rest, asked = counting(spectrum_model())
    again = calibrate(rest, folder=tmp_path, note=lines.append, **QUICK)
    assert asked() < all_of_them
    assert again.evaluations == wanted.evaluations  # what it cost in all
    assert again.solver.rows == wanted.solver.rows
    assert len(lines) >= 4


def bent_model() -> Network:
    """A denoiser that is not linear: every pixel one of two values, blurred a little."""
    process = VP.named()

    def eps(x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor | None) -> torch.Tensor:
        point = process.point(float(t.flatten()[0]))
        y, s = x / point.alpha, point.ratio
        blurred = (y + 0.5 * y.roll(1, -1) + 0.5 * y.roll(1, -2)) / 1.5
        return (y - 0.5 * torch.tanh(blurred / (s * s + 0.1))) / s

    return Network(eps, process=process, kind="eps", shape=(1, SIZE, SIZE), fingerprint="bent")


def test_all_rows_together_come_nearer_than_one_after_the_other() -> None:
    lines: list[str] = []
    local = calibrate(bent_model(), **QUICK, end_to_end=0)
    whole = calibrate(bent_model(), **QUICK, end_to_end=3, note=lines.append)
    rounds = [line.split() for line in lines if line.startswith("end to end")]
    reached = [float(words[4].rstrip(",")) for words in rounds]
    assert reached == sorted(reached, reverse=True)
    assert len(reached) >= 2
    assert whole.fitted.value < local.fitted.value * 1.05
    assert "end to end" in whole.solver.fit["method"] or whole.solver.rows == local.solver.rows
    assert local.solver.fit["method"] == "local least squares on the own path"


def test_derivatives_are_those_of_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    from diffdescent.core.spectrum import Bands
    from diffdescent.core.spectrum.axes import identity
    from diffdescent.run.calibrate import derivatives, refine
    from diffdescent.run.calibrate.local import fit_rows
    from diffdescent.run.calibrate.path import Rows
    from diffdescent.run.calibrate.shape import Shape
    from diffdescent.run.calibrate.subject import Subject
    from diffdescent.run.calibrate.teacher import trajectories
    from diffdescent.run.pieces import Pieces

    subject = Subject(bent_model(), (1, SIZE, SIZE), torch.device("cpu"), 4, lambda _: None)
    data = trajectories(subject, range(6), seed=0, levels=24, keep=True, pieces=Pieces(None))
    shape = Shape(identity(1), Bands.for_size(SIZE, 3))
    fit = fit_rows(subject, data, (5, 12, 18), shape)
    rows = Rows.of(subject, shape, fit, torch.device("cpu"))
    path = rows.run(data.noise, None)
    assert torch.allclose(path.images, fit.images, atol=1e-5)
    directions = derivatives.Directions.of(shape, 5)
    monkeypatch.setattr(derivatives, "NUDGE", 5e-3)  # this model is rougher than a network
    columns = torch.cat(list(derivatives.derivatives(rows, path, None, directions)))
    sizes = directions.sizes(rows)
    assert sizes == [2, 3, 2 * 2, 3 * 2, 4 * 3]
    assert len(columns) == sum(sizes)
    for number in (0, 2, 3, 4, 5, 8, 12, len(columns) - 1):
        change = torch.zeros(len(columns), dtype=torch.float64)
        change[number] = size = min(0.1 / float(columns[number].norm()), 0.02)
        changed = refine.changed(rows, change, directions)
        assert changed is not None
        moved = changed.run(data.noise, None).images - path.images
        wanted = columns[number] * size
        assert float((moved - wanted).norm()) < 0.05 * float(moved.norm()) + 1e-5
    change = torch.zeros(len(columns), dtype=torch.float64)
    change[3:5] = torch.tensor([-10.0, 10.0])
    levels = refine.changed(rows, change, directions)
    assert levels is not None
    assert levels.levels[1] == pytest.approx(rows.levels[1] * math.exp(-refine.FARTHEST))


def test_levels_that_would_not_fall_are_refused() -> None:
    from diffdescent.core.spectrum import Bands
    from diffdescent.core.spectrum.axes import identity
    from diffdescent.run.calibrate import derivatives, refine
    from diffdescent.run.calibrate.local import fit_rows
    from diffdescent.run.calibrate.path import Rows
    from diffdescent.run.calibrate.shape import Shape
    from diffdescent.run.calibrate.subject import Subject
    from diffdescent.run.calibrate.teacher import trajectories
    from diffdescent.run.pieces import Pieces

    subject = Subject(bent_model(), (1, SIZE, SIZE), torch.device("cpu"), 4, lambda _: None)
    data = trajectories(subject, range(4), seed=0, levels=64, keep=True, pieces=Pieces(None))
    shape = Shape(identity(1), Bands.for_size(SIZE, 3))
    rows = Rows.of(subject, shape, fit_rows(subject, data, (5, 6, 40), shape), torch.device("cpu"))
    directions = derivatives.Directions.of(shape, 3)
    change = torch.zeros(sum(directions.sizes(rows)), dtype=torch.float64)
    first = directions.sizes(rows)[0]
    change[first : first + 2] = torch.tensor([-0.2, 0.2])
    assert refine.changed(rows, change, directions) is None


def test_the_gaussian_prior_and_fixed_levels_are_fits_too() -> None:
    found = calibrate(spectrum_model(), **QUICK, prior="gaussian", search=False, end_to_end=0)
    assert not found.fixed
    assert found.fitted.value < 0.5 * found.opponent.value
    assert found.solver.levels != calibrate(spectrum_model(), **QUICK).solver.levels
    assert found.solver.fit["prior"] == "gaussian"


def test_large_weights_are_capped() -> None:
    """Without the error that is ascribed to each estimate, the weights of the same fit are
    larger."""
    from diffdescent.core.weights import effective_weights
    from diffdescent.run.calibrate import local

    def largest() -> float:
        solver = calibrate(bent_model(), **{**QUICK, "nfe": 5}, end_to_end=0).solver
        plan = plan_of(
            solver, dd.core.grid.explicit_ratios(VP.named(), (*solver.levels, solver.end))
        )
        return max(
            float(np.abs(effective_weights(plan, basis="x0", band=(0, knot)).result).sum())
            for knot in range(solver.bands.count)
        )

    capped = largest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "ERROR", 0.0)
        assert largest() > 1.2 * capped


def test_the_cost_is_counted_by_stage(found: Calibration) -> None:
    stages = found.solver.fit["stages"]
    assert sum(stages.values()) == found.evaluations == found.solver.fit["evaluations"]
    assert set(stages) == {
        "teacher", "fixed samplers", "levels", "rows", "end to end", "judging",
    }  # fmt: skip
    report = {**found.solver.report, "pays_off": {"fixed_evaluations": 9, "images": 7}}
    solver = dataclasses.replace(found.solver, report=report)
    assert "as near with 9 evaluations" in dataclasses.replace(found, solver=solver).summary
    assert "up to 3 times the evaluations is as near" in found.summary
    assert calibrate(bent_model(), **QUICK, end_to_end=0).solver.report["pays_off"]["images"] > 0


def test_principal_axes_are_those_of_the_models_images() -> None:
    """Two channels that are one signal with two signs: the axes are the sum and the difference."""
    one = spectrum_model()

    def eps(x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor | None) -> torch.Tensor:
        point = one.process.point(float(t.flatten()[0]))
        half = 2**-0.5
        signal, rest = half * (x[:, :1] - x[:, 1:]), half * (x[:, :1] + x[:, 1:])
        found = one(signal, point, None).to("eps", signal)
        small = rest * point.sigma / (point.alpha**2 * 1e-3 + point.sigma**2)
        return torch.cat([half * (found + small), half * (small - found)], dim=1)

    model = Network(eps, process=VP.named(), kind="eps", shape=(2, SIZE, SIZE), fingerprint="two")
    found = calibrate(model, **QUICK, axes="principal", end_to_end=0).solver
    assert found.report["kept"] == "calibrated"
    assert found.axes.name == "principal"
    assert abs(np.dot(found.axes.matrix[0], [2**-0.5, -(2**-0.5)])) > 0.99


def test_a_flow_is_calibrated_too() -> None:
    def velocity(x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor | None) -> torch.Tensor:
        s = t.flatten()[0]
        power = torch.linspace(4, 0.1, SIZE)
        return x * (s - (1 - s) * power) / ((1 - s) ** 2 * power + s**2)

    model = Network(velocity, process=Flow(), kind="flow", shape=(1, SIZE, SIZE), fingerprint="f")
    found = calibrate(model, **QUICK)
    assert found.fitted.value <= found.opponent.value
    assert found.solver.levels[0] <= 160


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    class Noisy:
        def __call__(self, x: torch.Tensor, t: torch.Tensor, cond: Any) -> torch.Tensor:
            return x + 0.01 * torch.randn_like(x)

    noisy = Network(Noisy(), process=VP.named(), kind="eps", shape=(1, SIZE, SIZE))
    with pytest.raises(UserError, match="two different answers"):
        calibrate(noisy, **QUICK)
    for wrong, match in (
        ({"nfe": 2}, "3 to 12"),
        ({"nfe": 13}, "3 to 12"),
        ({"trajectories_count": 4}, "too few"),
        ({"held_out": 2}, "too few"),
        ({"teacher_levels": 5}, "too coarse"),
        ({"bands": 0}, "1 to 256 frequency bands"),
        ({"bands": 30}, "at most 14 "),
        ({"guidance": "cfg(scale=2) | pxp"}, "steps too|classes|label"),
    ):
        with pytest.raises(UserError, match=match):
            calibrate(spectrum_model(), **{**QUICK, **wrong})
    flat = Network(lambda x, t, c: x, process=VP.named(), kind="eps", shape=(5,))
    with pytest.raises(UserError, match="channels, height, width"):
        calibrate(flat, **QUICK)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": "other"}, "format"),
        ({"version": 2}, "version 2"),
        ({"prediction": "x0"}, "prediction"),
        ({"levels": {"asked": [1.0, 2.0, 3.0], "end": 0.0}}, "must fall"),
        ({"levels": {"asked": [3.0, 2.0, 1.0], "end": "x"}}, "finite numbers"),
        ({"levels": None}, "levels is missing"),
        ({"rows": []}, "0 rows"),
        ({"rows": [{"base": [[1.0]], "evals": []}]}, "evals"),
        ({"start": [[1.0]]}, "curves"),
        ({"bands": {"knots": [1.0, 0.5]}}, "knots"),
        ({"axes": {"matrix": [[2.0]], "groups": [0]}}, "orthonormal"),
        ({"axes": {"matrix": [[1.0]], "groups": ["a"]}}, "groups"),
        ({"fit": 3}, "fit is missing"),
        ({"axes": {"name": "every", "matrix": [[0, 1], [1, 0]], "groups": [0, 0]}}, "are one"),
        ({"fitted_for": {"guidance": 5}}, "guidance is not a text"),
        ({"fitted_for": {"shape": "3x8x8"}}, "shape is not a list"),
    ],
)
def test_damaged_files_are_refused(
    file: Path, tmp_path: Path, change: dict[str, Any], match: str
) -> None:
    content = {**json.loads(file.read_text()), **change}
    (tmp_path / "damaged.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=match):
        Calibrated(str(tmp_path / "damaged.json"))


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        parse(f"calibrated('{tmp_path / 'no.json'}')")
    (tmp_path / "text.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        parse(f"calibrated('{tmp_path / 'text.json'}')")
    with pytest.raises(UserError, match=r"needs its file; write calibrated\(file=…\)"):
        parse("calibrated")


def test_the_interval_is_students() -> None:
    values = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], dtype=torch.float64)
    interval = mean_of(values)
    assert interval.value == 4.5
    assert interval.high - 4.5 == pytest.approx(2.3646243 * float(values.std()) / 8**0.5)
