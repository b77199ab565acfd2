"""``diffdescent evaluate`` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from diffdescent.evaluate import extract, load_extractor, make_reference, score
from tests.end_to_end.cli.command import run
from tests.unit.evaluate.pictures import pictures, write


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("images")
    return write(root / "ours", pictures(40, size=16)), write(
        root / "theirs", pictures(50, seed=1, size=16, bright=40)
    )


def test_scores_are_those_of_the_library(folders: tuple[Path, Path]) -> None:
    ours, theirs = folders
    done = run("evaluate", ours, "--reference", theirs, "--json", "--resamples", 20, "--seed", 3)
    network = load_extractor()
    reference = make_reference(extract(network, pictures(50, seed=1, size=16, bright=40)))
    expected = score(extract(network, pictures(40, size=16)), reference, seed=3, resamples=20)
    found = json.loads(done.stdout)["scores"]
    assert [s["metric"] for s in found] == ["fd", "sfd", "is", "precision", "recall", "kid"]
    for one, other in zip(found, expected, strict=True):
        assert (one["value"], one["low"], one["high"]) == pytest.approx(
            (other.value, other.low, other.high), rel=1e-9
        )
        assert one["count"] == 40
        assert one["protocol"]["features"]["resize"] == "clean"


def test_the_table_names_protocol_and_dangers(folders: tuple[Path, Path]) -> None:
    done = run(
        "evaluate",
        folders[0],
        "--reference",
        folders[1],
        "--metrics",
        "fid,precision",
        "--resamples",
        10,
    )
    assert "Fréchet distance" in done.stdout
    assert "Precision" in done.stdout
    assert "Recall" not in done.stdout
    assert "features cifar10-features (weights" in done.stdout
    assert "intervals from 10 random halves, seed 0" in done.stdout
    assert "40 images for 256 features: their covariance is singular" in done.stderr


def test_saved_statistics_are_a_reference(folders: tuple[Path, Path], tmp_path: Path) -> None:
    stats = tmp_path / "stats.npz"
    done = run("evaluate", folders[1], "--save-statistics", stats)
    assert done.stdout == ""
    assert "the statistics of 50 images" in done.stderr
    with np.load(stats) as file:
        theirs = extract(load_extractor(), pictures(50, seed=1, size=16, bright=40)).pool.double()
        np.testing.assert_allclose(file["mu"], theirs.mean(0), rtol=1e-6)
        np.testing.assert_allclose(file["sigma"], np.cov(theirs.T), rtol=1e-6, atol=1e-9)
    options = ("--metrics", "fd,sfd", "--json", "--resamples")
    saved = json.loads(run("evaluate", folders[0], "--reference", stats, *options, 0).stdout)[
        "scores"
    ]
    images = json.loads(
        run("evaluate", folders[0], "--reference", folders[1], *options, 10).stdout
    )["scores"]
    assert [s["value"] for s in saved] == pytest.approx([s["value"] for s in images], rel=1e-9)
    assert saved[0]["low"] is None
    refused = run("evaluate", folders[0], "--reference", stats, "--resize", "legacy", code=2)
    assert "resize: legacy here, clean there" in refused.stderr


def test_a_random_choice_of_images(folders: tuple[Path, Path]) -> None:
    def found(*more: object) -> list[tuple[int, float]]:
        options = ("--reference", folders[1], "--metrics", "fd", "--json", "--resamples", 0, *more)
        scores = json.loads(run("evaluate", folders[0], *options).stdout)["scores"]
        return [(s["count"], s["value"]) for s in scores]

    assert found("--n", 40) == found()
    some, again, others = found("--n", 20), found("--n", 20), found("--n", 20, "--seed", 1)
    assert some == again != others
    assert some[0][0] == 20
    refused = run("evaluate", *folders[:1], "--reference", folders[1], "--n", 41, code=2)
    assert "--n must lie between 2 and the 40 images" in refused.stderr


def test_inception_score_needs_no_reference(folders: tuple[Path, Path]) -> None:
    found = json.loads(
        run("evaluate", folders[0], "--metrics", "is", "--json", "--resamples", 0).stdout
    )["scores"]
    assert [s["metric"] for s in found] == ["is"]
    expected = score(extract(load_extractor(), pictures(40, size=16)), None, ["is"], resamples=0)[
        0
    ].value
    assert found[0]["value"] == pytest.approx(expected, rel=1e-9)


def test_saved_statistics_are_replaced_when_asked_alone(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    ours, theirs = folders
    stats = tmp_path / "stats.npz"
    run("evaluate", ours, "--save-statistics", stats, "-q")
    before = stats.read_bytes()
    refused = run("evaluate", theirs, "--save-statistics", stats, code=2).stderr
    assert "stats.npz exists; choose another --save-statistics, or --overwrite" in refused
    assert stats.read_bytes() == before
    run("evaluate", theirs, "--save-statistics", stats, "--overwrite", "-q")
    with np.load(stats) as found:
        assert found["count"] == 50
    photos = tmp_path / "photos.npz"
    np.savez(photos, arr_0=np.zeros((2, 4, 4, 3), np.uint8))
    foreign = ("--save-statistics", photos, "--overwrite")
    assert "holds other things" in run("evaluate", ours, *foreign, code=2).stderr


def test_bad_input_is_one_sentence(folders: tuple[Path, Path], tmp_path: Path) -> None:
    ours, theirs = folders
    assert "nothing to compare with" in run("evaluate", ours, code=2).stderr
    assert (
        "did you mean 'precision'" in run("evaluate", ours, "--metrics", "precison", code=2).stderr
    )
    assert (
        "compares with other images" in run("evaluate", ours, "--metrics", "is,kid", code=2).stderr
    )
    assert (
        "end the name in .npz"
        in run("evaluate", ours, "--save-statistics", tmp_path / "stats.pt", code=2).stderr
    )
    photos = tmp_path / "photos.npz"
    np.savez(photos, arr_0=np.zeros((2, 4, 4, 3), np.uint8))
    assert (
        "holds other things than statistics"
        in run("evaluate", ours, "--save-statistics", photos, code=2).stderr
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no readable image" in run("evaluate", empty, "--reference", theirs, code=2).stderr
    mixed = write(tmp_path / "mixed", pictures(3))
    write(mixed / "more", pictures(1, size=4))
    assert "differ in size" in run("evaluate", mixed, "--reference", theirs, code=2).stderr
    (tmp_path / "cut.npz").write_bytes(b"PK")
    assert (
        "cannot be read as an npz"
        in run("evaluate", ours, "--reference", tmp_path / "cut.npz", code=2).stderr
    )
    (tmp_path / "file").write_text("")
    unwritable = run("evaluate", ours, "--save-statistics", tmp_path / "file" / "stats.npz", code=2)
    assert "Cannot make the folder" in unwritable.stderr
    assert (
        "Unknown feature extractor"
        in run("evaluate", ours, "--features", "vgg", "--metrics", "is", code=2).stderr
    )
