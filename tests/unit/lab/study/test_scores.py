"""What a study says is what its parts say one by one."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy
import polars
import pytest
import torch

import diffdescent as dd
from diffdescent.base.errors import UserError
from diffdescent.base.images import save_png, to_uint8
from diffdescent.core.model_info import info
from diffdescent.evaluate import (
    extract,
    load_extractor,
    read_reference,
    score,
    score_exact,
    write_statistics,
)
from diffdescent.lab.study import execute, prepare
from diffdescent.lab.study import read_reference as read_kept_reference
from diffdescent.lab.study.runner import begin
from diffdescent.models.flowmap import exact_solution
from diffdescent.models.mixture import Mixture
from diffdescent.run import initial_state, noise_for
from tests.unit.lab.study.conftest import Make


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    generator = torch.Generator().manual_seed(1)
    for i in range(20):
        save_png(
            torch.randint(0, 256, (3, 4, 4), generator=generator, dtype=torch.uint8),
            folder / f"{i:02d}.png",
        )
    return folder


def values(frame: polars.DataFrame, **where: object) -> dict[str, float]:
    for name, value in where.items():
        frame = frame.filter(polars.col(name) == value)
    return dict(zip(frame["metric"], frame["value"], strict=True))


def test_distances_to_the_exact_solution(make: Make, tiny: Path, tmp_path: Path) -> None:
    results = execute(make(metrics="rmse, swd", samplers="ge"), tmp_path / "out")
    model = dd.load_model(str(tiny))
    assert isinstance(model, Mixture)
    grid = dd.grid("loglinear", model.process, 8)
    images = dd.sample(model, "ge", grid=grid, n=12).images
    x = initial_state(noise_for(0, range(12), (3, 4, 4)), grid).double()
    truth = exact_solution(model, x, grid.points[0], grid.points[-1], rtol=1e-9, atol=1e-9).x
    expected = {one.metric: one.value for one in score_exact(images, truth)}
    found = values(results.frame, nfe=8)
    assert found["rmse"] == pytest.approx(expected["rmse"], rel=1e-3)
    assert found["swd"] == pytest.approx(expected["swd"], rel=1e-2)


def test_metrics_on_features(make: Make, tiny: Path, photos: Path, tmp_path: Path) -> None:
    metrics = ["fd", "recall", "is", "sfd"]
    config = make(
        metrics=metrics,
        reference=str(photos),
        samplers="ddim | momentum({b})",
        parameters={"b": [-0.3]},
        labels="b, a",
    )
    results = execute(config, tmp_path / "out")
    extractor = load_extractor("cifar10-features")
    images = dd.sample(
        str(tiny),
        "ddim | momentum(-0.3)",
        grid="loglinear",
        steps=4,
        n=12,
        seed=0,
        labels=[1, 0] * 6,
        micro_batch=16,
    ).images
    reference = read_reference(photos, extractor)
    expected = score(extract(extractor, to_uint8(images)), reference, metrics, resamples=20)
    found = results.frame.filter(polars.col("nfe") == 4)
    for one in expected:
        row = found.filter(polars.col("metric") == one.metric).to_dicts()[0]
        assert (row["value"], row["low"], row["high"], row["n"]) == (
            pytest.approx(one.value, rel=1e-9), pytest.approx(one.low), pytest.approx(one.high), 12,
        )  # fmt: skip
    assert list(dict.fromkeys(found["metric"])) == metrics
    assert torch.equal(torch.from_numpy(results.pictures[found["cell"][0]]), to_uint8(images[:5]))
    assert "256 features" in " ".join(results.remarks)
    # The reference is kept in the study: the photos are not needed again.
    again = execute(
        config.model_copy(update={"reference": "gone/" + photos.name}), tmp_path / "out"
    )
    assert again.frame["value"].to_list() == results.frame["value"].to_list()


def test_a_reference_of_another_protocol_is_refused(
    make: Make, photos: Path, tmp_path: Path
) -> None:
    reference = read_reference(photos, load_extractor("cifar10-features", resize="legacy"))
    write_statistics(tmp_path / "legacy.npz", reference)
    config = make(metrics="fd", reference=str(tmp_path / "legacy.npz"), nfe=4)
    with pytest.raises(UserError, match=r"another protocol \(resize: clean here, legacy there\)"):
        prepare(config, tmp_path / "out")
    means = tmp_path / "means.npz"
    write_statistics(means, read_reference(photos, load_extractor("cifar10-features")))
    prepare(make(metrics="fd", reference=str(means)), tmp_path / "out")
    with pytest.raises(UserError, match="holds only means and covariances"):
        prepare(make(metrics="fd, recall", reference=str(means)), tmp_path / "out")
    numpy.savez(tmp_path / "others.npz", mu=numpy.zeros(2048), sigma=numpy.eye(2048))
    with pytest.raises(UserError, match="of 2048 features, and cifar10-features has 256"):
        prepare(make(metrics="fd", reference=str(tmp_path / "others.npz")), tmp_path / "out")
    for name, arrays, message in (
        ("scalar", {"mu": numpy.array(0.0), "sigma": numpy.eye(3)}, r"mu of shape \(\)"),
        ("nan", {"mu": numpy.full(256, numpy.nan), "sigma": numpy.eye(256)}, "hold NaN"),
    ):
        numpy.savez(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(UserError, match=message):
            prepare(make(metrics="fd", reference=str(tmp_path / f"{name}.npz")), tmp_path / "out")
    with pytest.raises(UserError, match=r"no reference nowhere\.zip"):
        prepare(make(metrics="fd", reference="nowhere.zip"), tmp_path / "out")


def test_a_reference_that_will_not_do_is_told_before_sampling(
    make: Make, photos: Path, tmp_path: Path
) -> None:
    """An empty folder, a damaged zip, statistics without a spatial part: nothing is sampled; a
    mended one will do."""
    folder, archive, means = tmp_path / "set", tmp_path / "set.zip", tmp_path / "means.npz"
    folder.mkdir()
    archive.write_bytes(b"PK no zip")
    write_statistics(means, read_reference(photos, load_extractor("cifar10-features"), keep=False))
    with numpy.load(means) as kept:
        numpy.savez(means, **{name: kept[name] for name in kept.files if not name.endswith("_s")})
    for path, metrics, message in (
        (folder, "fd", "no readable image|no image"),
        (archive, "fd", "whole .zip"),
        (means, "sfd", "spatial map"),
    ):
        with pytest.raises(UserError, match=message):
            execute(make(metrics=metrics, reference=str(path), nfe=4), tmp_path / "out")
        assert not (tmp_path / "out" / "shards").exists()
    shutil.copytree(photos, folder, dirs_exist_ok=True)
    assert execute(make(metrics="fd", reference=str(folder), nfe=4), tmp_path / "out").lines


def test_another_reference_is_noticed_under_any_name(
    make: Make, photos: Path, tmp_path: Path
) -> None:
    folder, saved = tmp_path / "set", tmp_path / "set.npz"
    shutil.copytree(photos, folder)
    extractor = load_extractor("cifar10-features")
    write_statistics(saved, read_reference(photos, extractor))
    of_folder, of_file = (
        make(metrics="fd", reference=str(path), nfe=4, n=4) for path in (folder, saved)
    )
    begin(prepare(of_folder, tmp_path / "a"))
    begin(prepare(of_file, tmp_path / "b"))
    with pytest.raises(UserError, match="in reference"):
        prepare(of_file, tmp_path / "a")
    for path in folder.iterdir():
        path.touch()
    prepare(of_folder, tmp_path / "a")  # the same images at another time
    (folder / "00.png").unlink()
    with pytest.raises(UserError, match="in reference_content"):
        prepare(of_folder, tmp_path / "a")
    write_statistics(saved, read_reference(folder, extractor))
    with pytest.raises(UserError, match="in reference_content"):
        prepare(of_file, tmp_path / "b")


def test_other_formulas_do_not_reuse_scores(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make(nfe=4, samplers="ddim")
    execute(config, tmp_path)
    execute(config, tmp_path)
    assert len(list((tmp_path / "scores").iterdir())) == 1
    monkeypatch.setattr(
        sys.modules["diffdescent.lab.study.gather"], "_formulas", lambda names: "other"
    )
    execute(config, tmp_path)
    assert len(list((tmp_path / "scores").iterdir())) == 2


@pytest.mark.parametrize(
    "change", [{"draws": ["x"]}, {"metric": None}, {"metric": {"a": "b"}}, {"protocol": ["x"]}]
)
def test_scores_that_were_edited_are_computed_again(
    make: Make, tmp_path: Path, change: dict[str, object]
) -> None:
    config = make(nfe=4, samplers="ddim")
    execute(config, tmp_path)
    (path,) = (tmp_path / "scores").iterdir()
    good = path.read_text()
    edited = json.loads(good)
    edited[0].update(change)
    path.write_text(json.dumps(edited))
    execute(config, tmp_path)
    assert path.read_text() == good


def test_a_shard_that_is_none_is_set_aside_and_made_again(make: Make, tmp_path: Path) -> None:
    config = make(nfe=4, samplers="ddim")
    execute(config, tmp_path)
    path = next((tmp_path / "shards").rglob("*.npz"))
    numpy.savez(path, images=numpy.array([{}], dtype=object))
    with pytest.raises(UserError, match="held something else than a shard"):
        execute(config, tmp_path)
    execute(config, tmp_path)
    assert numpy.load(path)["images"].dtype == numpy.uint8


def test_rmse_of_a_sampler_that_draws_noise_is_told_apart(make: Make, tmp_path: Path) -> None:
    results = execute(make(nfe=4, samplers="ddim; ddpm", metrics="rmse,swd"), tmp_path)
    (remark,) = results.remarks
    assert remark.startswith("ddpm draws noise")
    assert "swd judges the set" in remark
    own = execute(make(nfe=4, samplers="ddim; ddpm", metrics="solution_rmse"), tmp_path / "own")
    (remark,) = (one for one in own.remarks if one.startswith("ddpm draws noise"))
    assert "solution_fd judges the set" in remark


def test_one_guidance_text_under_two_samplers(make: Make, tmp_path: Path) -> None:
    """shift=auto: the variance's under ancestral noise, the score's under none."""
    guided = make(
        model="cifar10",
        guidance="classifier(2)",
        samplers="ddpm; ddim",
        metrics="is",
        labels="cycle",
    )
    found = prepare(guided, tmp_path)
    models = [found.worker.guided(c.guidance, dd.sampler(c.sampler))[0] for c in found.cells]
    names = {info(model).name for model in models}
    assert {name.rpartition("shift=")[2] for name in names} == {"mean)", "score)"}


def test_every_sampler_starts_from_the_same_noise(make: Make, tmp_path: Path) -> None:
    # One step of DDIM and one of GE are the same step, whatever the cell.
    results = execute(make(nfe=1, grids="karras"), tmp_path / "out")
    first, second = (results.pictures[cell.key] for cell in results.study.cells)
    assert (first == second).all()
    other = execute(make(nfe=1, grids="karras", seeds=1), tmp_path / "other")
    assert (other.pictures[other.study.cells[0].key] != first).any()


def test_cost(make: Make, tmp_path: Path) -> None:
    config = make(
        model="cifar10",
        samplers="ddim",
        grids="uniform",
        nfe=4,
        n=2,
        shard=2,
        metrics="is",
        resamples=0,
        guidance="none; cfg(scale=2)",
        labels="cycle",
    )
    results = execute(config, tmp_path / "out")
    rows = {row["guidance"]: row for row in results.frame.to_dicts()}
    assert (rows["none"]["nfe"], rows["none"]["steps"]) == (4, 4)
    assert (rows["cfg(scale=2)"]["nfe"], rows["cfg(scale=2)"]["steps"]) == (4, 2)
    # Equal network evaluations are equal work, and a pass of this network has a known size.
    assert rows["none"]["flops_per_image"] == rows["cfg(scale=2)"]["flops_per_image"]
    from torch.utils.flop_counter import FlopCounterMode

    model = dd.load_model("cifar10")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 32, 32), model.process.point(500), torch.tensor([0]))
    assert rows["none"]["flops_per_image"] == 4 * counter.get_total_flops()
    assert rows["none"]["seconds_per_image"] > 0


def test_half_precision_networks(
    make: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    common = {
        "model": "cifar10",
        "samplers": "ddim",
        "grids": "uniform",
        "nfe": 2,
        "n": 2,
        "shard": 2,
        "metrics": "is",
        "resamples": 0,
    }
    full = execute(make(**common), tmp_path / "full")
    half = execute(make(**common, dtype="bf16"), tmp_path / "half")
    assert half.study.protocol["dtype"] == "bf16"
    one, two = (r.pictures[r.study.cells[0].key].astype(float) for r in (full, half))
    assert 0 < abs(one - two).mean() < 8  # grey levels: another rounding, the same picture
    assert capfd.readouterr().err == ""


def test_the_reference_has_one_name_when_it_is_read_and_when_its_features_were_kept(
    make: Make, photos: Path, tmp_path: Path
) -> None:
    study = prepare(make(metrics="fd", reference=str(photos), nfe=4), tmp_path / "out")
    read = read_kept_reference(study)()
    assert list((tmp_path / "out" / "cache").glob("reference-*.npz"))
    kept = read_kept_reference(study)()
    assert read.name == kept.name == study.protocol["reference"] == photos.name
    assert kept.count == read.count


def test_what_no_metric_asks_for_must_be_there_all_the_same(make: Make, tmp_path: Path) -> None:
    for entries, said in (
        ({"features": "no_such"}, "Unknown feature extractor 'no_such'"),
        ({"features": "inception:gone.pth"}, r"no file of FID weights gone\.pth"),
        ({"reference": "gone.zip"}, r"There is no reference gone\.zip"),
    ):
        with pytest.raises(UserError, match=said):
            prepare(make(metrics="rmse", **entries), tmp_path / "out")


def test_guidance_that_a_sampler_cannot_take_is_refused_before_anything_is_written(
    make: Make, photos: Path, tmp_path: Path
) -> None:
    entries = {"guidance": "cfgpp(scale=0.5)", "labels": "cycle", "samplers": ["ddim", "unipc"]}
    for metric, said in (
        ("fd", "uses an evaluation in two steps, so ε must follow x0"),
        ("solution_rmse", "acts on a sampler's steps, so the model has no solution of its own"),
    ):
        with pytest.raises(UserError, match=said):
            execute(make(metrics=metric, reference=str(photos), **entries), tmp_path / "out")
        assert not (tmp_path / "out").exists()
