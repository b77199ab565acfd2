"""``diffdescent peculiarity …`` as a user runs it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from diffdescent.peculiarity import report
from diffdescent.peculiarity import study as studies

from .command import run


def test_figures_are_drawn_and_counted(tmp_path: Path) -> None:
    out = tmp_path / "figures.npz"
    run("peculiarity", "figures", "--n", "20", "--seed", "3", "--out", str(out), "--quiet")
    done = run("peculiarity", "count", str(out), "--json")
    rows = json.loads(done.stdout)
    with np.load(out) as data:
        assert sum(tuple(r["counts"]) == tuple(c) for r, c in zip(rows, data["counts"], strict=True)) >= 19


def coco(path: Path, n: int) -> Path:
    rng = np.random.default_rng(0)
    np.savez(path, kp=np.concatenate([rng.random((n, 17, 2)), np.full((n, 17, 1), 2.0)], 2), image_id=np.arange(n) // 2)
    return path


def test_poses_are_clustered_measured_and_perturbed(tmp_path: Path) -> None:
    people, clusters = coco(tmp_path / "people.npz", 40), tmp_path / "clusters.npz"
    run("peculiarity", "clusters", str(people), "--k", "3", "--out", str(clusters), "--quiet")
    done = run("peculiarity", "poses", str(people), "--clusters", str(clusters), "--json")
    found = json.loads(done.stdout)
    assert found["confidence"] == {"mean": 1.0, "single": None, "group": 1.0, "persons": 40, "images": 20, "empty": 0}
    assert {r["persons"]: r["n"] for r in found["distances"]} == {"group": 40, "all": 40}
    assert all(r["norm"] == pytest.approx(r["rmse"] * 34**0.5) for r in found["distances"])
    run("peculiarity", "perturb", str(people), "--clusters", str(clusters), "--out", str(tmp_path / "out"))
    rows = list(csv.DictReader((tmp_path / "out" / "effects.csv").read_text().splitlines()))
    assert len(rows) == 8
    assert (tmp_path / "out" / "effects.png").stat().st_size > 1000


def test_images_without_people_are_said(tmp_path: Path) -> None:
    (tmp_path / "a_keypoints.json").write_text('{"people": []}')
    assert "No person was found in the 1 images" in run("peculiarity", "poses", tmp_path, code=2).stderr


def test_a_study_continues_and_reports(tmp_path: Path) -> None:
    """Tiny: two blocks of two figures at five steps; the second call adds a block and makes nothing twice."""
    model, out = tmp_path / "figures.npz", tmp_path / "study"
    run("peculiarity", "figures", "--n", "12", "--out", str(model), "--quiet")
    recipes = ("--sampler", "ddim", "--sampler", "ddim | momentum(beta=-0.3)")
    size = ("--block", "2", "--steps", "5,10", "--teacher", "12")
    command = ["peculiarity", "study", f"images:{model}", "--out", out, *size, *recipes, "--quiet"]
    run(*command, "--n", "2")
    before = {p.name: p.read_bytes() for p in out.glob("*.npz")}
    assert len(before) == 6
    run(*command, "--n", "4")
    after = {p.name: p.read_bytes() for p in out.glob("*.npz")}
    assert len(after) == 12
    assert before.items() <= after.items()
    rows = list(csv.DictReader((out / "study.csv").read_text().splitlines()))
    assert {r["n"] for r in rows} == {"4"}
    assert all(0 <= float(r["low"]) <= float(r["share"]) <= float(r["high"]) <= 1 for r in rows)
    plain = next(r for r in rows if r["recipe"] == "ddim" and r["steps"] == "5")
    assert plain["base_p"] == ""
    assert plain["teacher_p"] != ""
    assert "another seed" in run(*command, "--n", "4", "--seed", "1", code=2).stderr
    assert "multiple of the block" in run(*command, "--n", "3", code=2).stderr


def test_paired_comparison_counts_what_differs(tmp_path: Path) -> None:
    """Outcomes made by hand: the counts of a person, a horse and something else."""
    from diffdescent.peculiarity.counter import Readings

    def outcome(recipe: str, odd: list[bool]) -> studies.Outcome:
        counts = np.array([(1, 2, 3, 0) if o else (1, 2, 2, 0) for o in odd])
        pages = np.zeros((len(odd), 32, 32), np.uint8)
        return studies.Outcome(
            studies.Point(recipe, 10), pages, Readings(counts, [""] * len(odd)), np.arange(len(odd)) % 3
        )

    plain = outcome("ddim", [True, True, False, False, True])
    other = outcome("ddim | momentum(beta=-0.3)", [False, False, False, True, True])
    pair = report.paired(other, plain).peculiar
    assert (pair.here, pair.there, pair.n) == (1, 2, 5)
    assert pair.p == pytest.approx(1.0)
    assert pair.difference.value == pytest.approx(-0.2)
    rows = report.table([plain, other], teacher=10)
    assert [r.peculiar.count for r in rows] == [3, 2]
    assert [r.other.count for r in rows] == [1, 2]  # a person where a horse or a hand was asked for
    assert rows[0].against == {}
    assert rows[1].against["base"].peculiar == pair


def test_peculiar_and_normal_images_are_compared_as_minima(tmp_path: Path) -> None:
    """On the exact denoiser of some figures each of them is a fixed point and comes back; a blend of two is neither."""
    from diffdescent import load_model
    from diffdescent.peculiarity.figures import make_figures
    from diffdescent.peculiarity.minima import minima, nearest_distance

    pages, _ = make_figures(12, seed=0)
    np.savez(tmp_path / "f.npz", arr_0=pages[..., None])
    model = load_model(f"images:{tmp_path / 'f.npz'}")
    found = minima(model, pages[:4], "normal", ratios=(0.1,), strengths=(0.4,))
    assert found.errors[0.1][0] < 1e-3
    assert found.returns[0].same.count == 4
    blend = ((pages[:4].astype(int) + pages[4:8]) // 2).astype(np.uint8)
    assert minima(model, blend, "blend", ratios=(0.1,), strengths=(0.4,)).errors[0.1][0] > 1
    assert nearest_distance(pages[:3], pages).tolist() == pytest.approx([0, 0, 0], abs=1e-3)
    assert nearest_distance(pages[:3, :, ::-1], pages).tolist() == pytest.approx([0, 0, 0], abs=1e-3)
    assert (nearest_distance(pages[:3], pages[3:]) > 0.1).all()
