"""``diffdescent peculiarity …`` as a user runs it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffdescent.lab.peculiarity import comparison
from diffdescent.lab.peculiarity import points as measured
from diffdescent.lab.peculiarity import study as studies
from diffdescent.lab.peculiarity.check import OTHER_COUNTS
from tests.end_to_end.cli.command import run


def test_figures_are_drawn_and_counted(tmp_path: Path) -> None:
    out = tmp_path / "figures.npz"
    run("peculiarity", "figures", "--n", "20", "--seed", "3", "--out", str(out), "--quiet")
    nameless = run("peculiarity", "figures", "--out", str(tmp_path / "figures"), code=2)
    assert f"must end in .npz; write {out} for " in nameless.stderr.replace("\n", " ")
    done = run("peculiarity", "count", str(out), "--json")
    rows = json.loads(done.stdout)
    with np.load(out) as data:
        assert (
            sum(tuple(r["counts"]) == tuple(c) for r, c in zip(rows, data["counts"], strict=True))
            >= 19
        )


def coco(path: Path, n: int) -> Path:
    rng = np.random.default_rng(0)
    np.savez(
        path,
        kp=np.concatenate([rng.random((n, 17, 2)), np.full((n, 17, 1), 2.0)], 2),
        image_id=np.arange(n) // 2,
    )
    return path


def test_poses_are_clustered_measured_and_perturbed(tmp_path: Path) -> None:
    people, clusters = coco(tmp_path / "people.npz", 40), tmp_path / "clusters.npz"
    run("peculiarity", "clusters", str(people), "--k", "3", "--out", str(clusters), "--quiet")
    done = run("peculiarity", "poses", str(people), "--clusters", str(clusters), "--json")
    found = json.loads(done.stdout)
    assert found["confidence"] == {
        "mean": 1.0,
        "single": None,
        "group": 1.0,
        "persons": 40,
        "images": 20,
        "empty": 0,
    }
    assert {r["persons"]: r["n"] for r in found["distances"]} == {"group": 40, "all": 40}
    assert all(r["norm"] == pytest.approx(r["rmse"] * 34**0.5) for r in found["distances"])
    run(
        "peculiarity",
        "perturb",
        str(people),
        "--clusters",
        str(clusters),
        "--out",
        str(tmp_path / "out"),
    )
    rows = list(csv.DictReader((tmp_path / "out" / "effects.csv").read_text().splitlines()))
    assert len(rows) == 8
    assert (tmp_path / "out" / "effects.png").stat().st_size > 1000


def test_images_without_people_are_said(tmp_path: Path) -> None:
    (tmp_path / "a_keypoints.json").write_text('{"people": []}')
    assert (
        "No person was found in the 1 images"
        in run("peculiarity", "poses", tmp_path, code=2).stderr
    )


def test_a_study_continues_and_reports(tmp_path: Path) -> None:
    """Tiny: two blocks of two figures at five steps; the second call adds a block and makes nothing
    twice."""
    model, out = tmp_path / "figures.npz", tmp_path / "study"
    run("peculiarity", "figures", "--n", "12", "--out", str(model), "--quiet")
    recipes = ("--sampler", "ddim", "--sampler", "ddim | momentum(beta=-0.3)")
    size = ("--block", "2", "--steps", "5,10", "--teacher", "12")
    command = ["peculiarity", "study", f"images:{model}", "--out", out, *size, *recipes, "--quiet"]
    run(*command, "--n", "2")
    before = {p.name: p.read_bytes() for p in out.glob("*.npz")}
    assert len(before) == 6
    shown = run(*command, "--n", "4").stdout
    assert "gradient estimation" in shown or "momentum, β < 0" in shown
    assert "| --- |" not in shown, "the verdict is a table, not its Markdown"
    assert "**" not in shown
    after = {p.name: p.read_bytes() for p in out.glob("*.npz")}
    assert len(after) == 12
    assert before.items() <= after.items()
    rows = list(csv.DictReader((out / "study.csv").read_text().splitlines()))
    assert {r["n"] for r in rows} == {"4"}
    for r in rows:
        assert float(r["share"]) == int(r["peculiar"]) / 4
        assert float(r["low"]) <= float(r["share"]) <= float(r["high"])
    plain = next(r for r in rows if r["recipe"] == "ddim" and r["steps"] == "5")
    assert plain["base_p"] == ""
    assert 0 < float(plain["teacher_p"]) <= 1
    assert "momentum, β < 0, against the ancestral teacher" in (out / "study.md").read_text()
    assert (out / "study.png").stat().st_size > 1000
    assert (out / "differences.png").stat().st_size > 1000
    assert "in seed" in run(*command, "--n", "4", "--seed", "1", code=2).stderr
    assert "multiple of the block" in run(*command, "--n", "3", code=2).stderr
    other = tmp_path / "other.npz"
    run("peculiarity", "figures", "--n", "13", "--out", str(other), "--quiet")
    changed = [f"images:{other}" if c == f"images:{model}" else c for c in command]
    assert "in model" in run(*changed, "--n", "4", code=2).stderr
    measured = ("peculiarity", "minima", f"images:{other}", "--study", out, "--steps")
    assert "samples of another model" in run(*measured, "10", code=2).stderr
    assert "no outputs of ddim with 11 steps" in run(*measured, "11", code=2).stderr
    for text in ("[]", "{", '{"model": 1}'):
        (out / "study.json").write_text(text)
        assert (
            "study.json" in (said := run(*command, "--n", "4", code=2).stderr)
            or "differs in" in said
        )
    (out / "study.json").unlink()
    assert "not the study.json" in run(*command, "--n", "4", code=2).stderr
    assert {p.name: p.read_bytes() for p in out.glob("*.npz")} == after


def test_paired_comparison_counts_what_differs(tmp_path: Path) -> None:
    """Outcomes made by hand: the counts of a person, a horse and something else."""
    from diffdescent.lab.peculiarity.counter import Readings

    def outcome(recipe: str, odd: list[bool]) -> studies.Outcome:
        counts = np.array([(1, 2, 3, 0) if o else (1, 2, 2, 0) for o in odd])
        pages = np.zeros((len(odd), 32, 32), np.uint8)
        return studies.Outcome(
            measured.Point(recipe, 10),
            pages,
            Readings(counts, [""] * len(odd)),
            np.arange(len(odd)) % 3,
        )

    plain = outcome("ddim", [True, True, False, False, True])
    other = outcome("ddim | momentum(beta=-0.3)", [False, False, False, True, True])
    pair = comparison.paired(other, plain).peculiar
    assert (pair.here, pair.there, pair.n) == (1, 2, 5)
    assert pair.p == pytest.approx(1.0)
    assert pair.difference.value == pytest.approx(-0.2)
    rows = comparison.table([plain, other], teacher=10)
    assert [r.peculiar.count for r in rows] == [3, 2]
    assert [r.other.count for r in rows] == [1, 2]  # a person where a horse or a hand was asked for
    assert rows[0].against == {}
    assert rows[1].against["base"].peculiar == pair


def test_peculiar_and_normal_images_are_compared_as_minima(tmp_path: Path) -> None:
    """On the exact denoiser of some figures each of them is a fixed point and comes back; a blend
    of two is neither."""
    from diffdescent import load_model
    from diffdescent.base.statistics import wilson
    from diffdescent.lab.peculiarity.figures import make_figures
    from diffdescent.lab.peculiarity.minima import come_back, minima, nearest_distance
    from diffdescent.lab.peculiarity.minima_table import compare
    from diffdescent.run.pieces import Pieces

    pages, _ = make_figures(12, seed=0)
    np.savez(tmp_path / "f.npz", arr_0=pages[..., None])
    model = load_model(f"images:{tmp_path / 'f.npz'}")
    kept = Pieces(tmp_path / "kept")
    options: dict[str, Any] = {
        "ratios": (0.1,),
        "strengths": (0.4,),
        "training": pages,
        "pieces": kept,
    }
    found = minima(model, pages[:4], "normal", **options)
    assert found.errors[0.1].max() < 1e-3
    assert found.same[0.4].all()
    assert found.moved[0.4].max() < 0.01
    blend = ((pages[:4].astype(int) + pages[4:8]) // 2).astype(np.uint8)
    other = minima(model, blend, "blend", **options)
    assert other.errors[0.1].min() > 1
    assert other.moved[0.4].min() > 0.1
    # The density of σ = .1 around 12 images: a multiple of the squared distance to the nearest of
    # them decides.
    assert np.all(found.density[0.1] > other.density[0.1] + 0.4 * (other.nearest / 0.1) ** 2)
    again = minima(model, blend, "blend", **options)
    assert len(list((tmp_path / "kept").iterdir())) == 2
    assert np.array_equal(again.moved[0.4], other.moved[0.4])
    whole = come_back(model, torch.from_numpy(blend)[:, None] / 127.5 - 1, 0.9, seed=3)
    part = come_back(model, torch.from_numpy(blend)[2:, None] / 127.5 - 1, 0.9, seed=3, first=2)
    assert torch.equal(whole[2:], part)
    lines = {(line.figure, line.at): line for line in compare(other, found)}
    moved = lines["RMS change when it comes back", "noised to 40%"]
    assert " ± " in moved.texts[2]
    assert moved.difference.value == pytest.approx(
        other.moved[0.4].mean() - found.moved[0.4].mean()
    )
    assert moved.difference.low > 0
    back = lines["comes back with the same counts", "noised to 40%"]
    assert (back.normal.value, back.normal.low) == (1.0, wilson(4, 4).low)
    assert nearest_distance(pages[:3], pages).tolist() == pytest.approx([0, 0, 0], abs=1e-3)
    assert nearest_distance(pages[:3, :, ::-1], pages).tolist() == pytest.approx(
        [0, 0, 0], abs=1e-3
    )
    assert (nearest_distance(pages[:3], pages[3:]) > 0.1).all()
    direct = np.sqrt((((pages[0].astype(float) - pages[1:3]) / 127.5) ** 2).mean((1, 2)))
    mirrored = np.sqrt((((pages[0, :, ::-1].astype(float) - pages[1:3]) / 127.5) ** 2).mean((1, 2)))
    assert nearest_distance(pages[:1], pages[1:3])[0] == pytest.approx(
        min(*direct, *mirrored), rel=1e-4
    )


def test_bad_input_is_told_in_one_sentence(tmp_path: Path) -> None:
    """A dozen wrong calls: exit code 2, the cause in words, no traceback, and nothing left
    behind."""
    people, figures = coco(tmp_path / "people.npz", 4), tmp_path / "figures.npz"
    run("peculiarity", "figures", "--n", "3", "--out", figures, "--quiet")
    np.savez(tmp_path / "clusters.npz", k5=np.zeros((5, 3, 2)), layout="coco17", least=8, persons=9)
    np.savez(tmp_path / "words.npz", kp=np.full((2, 17, 3), "a"))
    np.savez(tmp_path / "colour.npz", arr_0=np.zeros((2, 32, 32, 3), np.uint8))
    model = f"images:{figures}"
    calls: list[tuple[str, list[object]]] = [
        ("no figure", ["figures", "--n", "0", "--out", tmp_path / "none.npz"]),
        (
            "'--seed' of 'figures' must be a whole number from 0",
            ["figures", "--n", "1", "--seed", "-1", "--out", tmp_path / "none.npz"],
        ),
        ("numbers", ["poses", tmp_path / "words.npz"]),
        ("no file or folder", ["poses", tmp_path / "nowhere"]),
        ("no pose clusters", ["poses", people, "--clusters", tmp_path / "clusters.npz"]),
        ("least=0", ["clusters", people, "--least", "0", "--out", tmp_path / "none.npz"]),
        ("5 clusters cannot", ["clusters", people, "--out", tmp_path / "none.npz"]),
        ("grey images", ["count", tmp_path / "colour.npz"]),
        ("is not a list", ["study", model, "--steps", "ten", "--out", tmp_path / "none"]),
        ("at least 1", ["study", model, "--steps", "0", "--out", tmp_path / "none"]),
        ("holds no study", ["study", "--report-only", "--out", tmp_path / "none"]),
        ("holds no study", ["minima", model, "--study", tmp_path / "none"]),
        ("one channel", ["study", f"images:{tmp_path / 'colour.npz'}", "--out", tmp_path / "none"]),
        ("outside [0, 1]", ["check", model, "--strength", "1.5", "--out", tmp_path / "none"]),
        ("colour", ["check", model, "--data", tmp_path / "colour.npz", "--out", tmp_path / "none"]),
        (
            "--others is -1",
            ["check", "--strength", "0", "--others", "-1", "--out", tmp_path / "none"],
        ),
    ]
    for words, call in calls:
        said = " ".join(run("peculiarity", *call, code=2).stderr.split())
        assert words in said, (call, said)
        assert "Traceback" not in said
    assert not (tmp_path / "none").exists()
    assert not (tmp_path / "none.npz").exists()


def test_the_check_reads_noised_figures_and_finds_copies(tmp_path: Path) -> None:
    figures, out = tmp_path / "figures.npz", tmp_path / "check"
    run("peculiarity", "figures", "--n", "6", "--out", figures, "--quiet")
    command = [
        "peculiarity",
        "check",
        f"images:{figures}",
        "--strength",
        "0",
        "--strength",
        "0.9",
        "--n",
        "6",
    ]
    command += ["--strength", "0.8"]
    command += [
        "--others",
        "1",
        "--data",
        str(figures),
        "--steps",
        "5",
        "--out",
        str(out),
        "--quiet",
    ]
    first = run(*command).stdout
    assert (
        "Samples nearer than 99 % of held-out figures: 100.0 %" in first
    )  # the model knows these six alone
    rows = {r["figures"]: r for r in csv.DictReader((out / "check.csv").read_text().splitlines())}
    assert len(rows) == 13
    assert all(float(rows[kind]["peculiar"]) == 1 for kind in OTHER_COUNTS)
    assert float(rows["held-out renders"]["wrong"]) <= 1 / 6
    assert (
        float(rows["90% of the time"]["wrong"]) >= 1 / 3
    )  # they come back as the six that the model knows
    kept = {p: p.stat().st_mtime_ns for p in out.glob("*.npz")}
    assert len(kept) == 14
    assert run(*command).stdout == first
    assert {p: p.stat().st_mtime_ns for p in out.glob("*.npz")} == kept


def test_shares_of_all_or_nobody_are_drawn(tmp_path: Path) -> None:
    """Their intervals end at the share itself, but for rounding: an error bar below zero."""
    import numpy as np

    points = np.random.default_rng(0).uniform(20, 200, (24, 17, 2)).round(1)
    people = [
        {"image_id": i, "keypoints": [v for x, y in p.tolist() for v in (x, y, 2)]}
        for i, p in enumerate(points)
    ]
    poses = tmp_path / "poses.json"
    poses.write_text(json.dumps({"annotations": people}))
    run("peculiarity", "perturb", poses, "--out", tmp_path / "out")
    assert (tmp_path / "out" / "effects.png").is_file()


def test_files_and_folders_of_others_are_left_as_they_are(tmp_path: Path) -> None:
    people = coco(tmp_path / "people.npz", 4)
    before = people.read_bytes()
    for words in (("figures", "--n", 2), ("clusters", people, "--k", 1)):
        done = run("peculiarity", *words, "--out", people, "--quiet", code=2)
        assert "people.npz exists; choose another --out" in done.stderr
    done = run("peculiarity", "study", "--n", 2, "--block", 2, "--out", tmp_path, code=2)
    assert "holds files, but not the study.json" in done.stderr
    assert people.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["people.npz"]
    run("peculiarity", "figures", "--n", 2, "--out", people, "--overwrite", "--quiet")
    assert people.read_bytes() != before
