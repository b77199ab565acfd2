"""theory, explain and landscape as a user runs them."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffdescent.base.images import save_png
from tests.end_to_end.cli.command import run


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    generator = torch.Generator().manual_seed(0)
    for i in range(40):
        save_png(
            torch.randint(0, 256, (3, 6, 6), generator=generator, dtype=torch.uint8),
            folder / f"{i:02d}.png",
        )
    return folder


def test_ideal_writes_numbers_and_pictures(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "ideal"
    done = run(
        "theory",
        "ideal",
        f"images:{pictures}",
        "--steps",
        8,
        "--n",
        6,
        "--batch-size",
        4,
        "--out",
        out,
    )
    assert "95 % of all states lie within η" in done.stdout
    assert "dmissible with η" in done.stdout
    record = json.loads((out / "errors.json").read_text())
    assert (record["images"], record["trajectories"], len(record["evaluations"])) == (40, 6, 8)
    assert record["evaluations"][0]["eta"][1] < record["holds_for_0.95"]["eta"] * 1.01
    assert len((out / "errors.csv").read_text().splitlines()) == 1 + 8 * 6
    for name in ("errors.png", "distances.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_error_of_a_model_against_a_set(pictures: Path, tmp_path: Path) -> None:
    done = run(
        "theory",
        "error",
        f"images:{pictures}",
        "--sampler",
        "ge",
        "--steps",
        5,
        "--n",
        3,
        "--set",
        "sphere(4)",
        "--json",
        "--out",
        tmp_path / "e",
    )
    record = json.loads(done.stdout)
    assert record["set"] == "sphere(4)"
    labelled = run(
        "theory",
        "error",
        "mnist",
        "--label",
        "7",
        "--set",
        "point",
        "--steps",
        2,
        "--n",
        2,
        "--json",
        "--out",
        tmp_path / "l",
    )
    assert json.loads(labelled.stdout)["label"] == "7"
    assert record["evaluations"][0]["nu"][1] == pytest.approx(1, abs=0.3)


def test_set_and_distance(pictures: Path, tmp_path: Path) -> None:
    record = json.loads(run("theory", "set", pictures, "--json", "--out", tmp_path / "s").stdout)
    assert record["images"] == 40
    assert record["reach_of_the_images"] == pytest.approx(record["least_distance"] / 2)
    assert record["noised"][0]["error"] == 0
    assert (tmp_path / "s" / "projection.png").is_file()
    rows = json.loads(
        run("theory", "distance", pictures, pictures, "--sigma", 0.1, "--json").stdout
    )
    assert [row["distance"] for row in rows] == pytest.approx([0] * 40, abs=1e-12)
    assert [row["nearest"] for row in rows] == list(range(40))
    assert "distance" in run("theory", "distance", pictures, pictures).stdout


def test_schedule(tmp_path: Path) -> None:
    done = run(
        "theory",
        "schedule",
        "--eta",
        0.5,
        "--nu",
        2,
        "--ratio",
        100,
        "--check",
        "loglinear",
        "--plot",
        tmp_path / "p.png",
    )
    assert "even infinitely many steps lower σ/α by less than ν^(1/η) = 4" in done.stdout
    assert "fails at step 1 of 10" in done.stdout
    assert (tmp_path / "p.png").is_file()
    record = json.loads(
        run("theory", "schedule", "--eta", 0.2, "--nu", 4, "--ratio", 100, "--json").stdout
    )
    assert record["least_steps"] == 8
    good = run(
        "theory", "schedule", "--eta", 0.2, "--nu", 4, "--check", "admissible(eta=0.2, nu=4)"
    )
    assert "Admissible with" in good.stdout


def test_lowrank(tmp_path: Path) -> None:
    done = run("theory", "lowrank", "--size", 8, "--steps", 3, "--n", 8, "--out", tmp_path)
    assert "gain of GE" in done.stdout
    assert len(json.loads((tmp_path / "lowrank.json").read_text())["rows"]) == 11
    assert (tmp_path / "lowrank.png").is_file()


def test_explain(tmp_path: Path) -> None:
    done = run("explain", "ge | momentum(-0.3)", "--steps", 5, "--out", tmp_path)
    for words in (
        "SGD with momentum",
        "2·ε − ε[−1]",
        "error constant -0.7308",
        "noise left at the end",
    ):
        assert words in done.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "explain.json",
        "settings.json",
        "stability.png",
        "weights.png",
    ]
    record = json.loads(run("explain", "heun", "--process", "ve", "--json").stdout)
    assert record["steps"][1]["weights"] == pytest.approx([0.5, 0.5])
    assert record["linear_method"] is None
    assert "inner evaluations" in run("explain", "heun").stdout


def test_landscape_goes_on_where_it_stopped(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "scene"
    options = ("--steps", 4, "--around", 3, "--reference-steps", 6, "--counts", "2,3", "--out", out)
    command = ("landscape", f"images:{pictures}", *options)
    done = run(*command)
    assert "% of the variance of the runs' x_t" in done.stdout
    before = {p.name: p.stat().st_mtime_ns for p in (out / "cache").iterdir()}
    run(*command)
    assert {p.name: p.stat().st_mtime_ns for p in (out / "cache").iterdir()} == before
    record = json.loads((out / "landscape.json").read_text())
    assert set(record["strip_to_reference_rmse"]["ddim"]) == {"2", "3"}
    assert all((out / name).is_file() for name in ("landscape.png", "strip.png"))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("explain", "ddim | threshold()"), "'threshold' is not linear"),
        (("explain", "ddim", "--process", "lineal"), "did you mean 'linear'"),
        (("theory", "schedule", "--eta", -1, "--nu", 2), "η ≥ 0 and ν ≥ 1"),
        (("theory", "error", "cifar10-mixture", "--set", "kube"), "Unknown set 'kube'"),
        (("theory", "ideal", "images:nowhere"), "no file or folder"),
        (("landscape", "mnist", "--samplers", " ; "), "There is no sampler"),
        (("landscape", "mnist", "--counts", "ten"), "step counts"),
        (("landscape", "mnist", "--plane", "x"), "Unknown plane"),
        (("landscape", "mnist", "--counts", "20,5000"), "5000"),
        (("landscape", "mnist", "--reference-steps", 0), "step"),
        (("landscape", "mnist", "--label", "1,2"), "one class"),
        (("landscape", "mnist", "--label", "ten"), "Unknown class"),
        (("landscape", "mnist", "--spread", 0), "spread above 0"),
        (("landscape", "mnist", "--sample", -1), "whole number from 0 to"),
        (("landscape", "mnist", "--device", "tpu"), "nknown device"),
        (("explain", "ddim | moment(-0.3)"), "did you mean 'momentum'"),
        (("explain", "ddim", "--steps", 0), "step"),
        (("explain", "ddpm | pxp"), "not linear"),
        (("explain", "ddim", "--grid", "loglin"), "did you mean 'loglinear'"),
        (("theory", "error", "mnist"), "does not say which set"),
        (("theory", "error", "cifar10-mixture", "--limit", 5), "--limit takes a part"),
        (
            ("theory", "error", "mnist", "--set", "point", "--dimension", 5),
            "knows its own dimension",
        ),
        (("theory", "error", "mnist", "--set", "point", "--n", 0), "at least 1"),
        (("theory", "error", "mnist", "--set", "point", "--batch-size", 0), "at least 1"),
        (("theory", "error", "mnist", "--set", "sphere(-1)"), "Unknown set|radius"),
        (("theory", "error", "mnist", "--set", "images:"), "no path after images:"),
        (("theory", "ideal", "images:"), "no path after images:"),
        (("theory", "ideal", "images:x", "--device", "tpu"), "nknown device"),
        (("theory", "lowrank", "--size", 1), "at least 2 dimensions"),
        (("theory", "lowrank", "--grid", "log"), "Unknown grid"),
        (("theory", "schedule", "--eta", 0.2, "--nu", 1, "--plot", "x.png"), "no step is allowed"),
        (("theory", "schedule", "--eta", 0, "--nu", 2, "--plot", "x.png"), "one step is enough"),
        (("theory", "schedule", "--eta", 0.2, "--nu", 2, "--ratio", 0.5), "at least 1"),
        (("theory", "schedule", "--eta", 0.2, "--nu", 2, "--plot", "x.doc"), "'.doc'"),
        (("theory", "schedule", "--eta", "nan", "--nu", 2), "--eta.* finite number"),
    ],
)
def test_bad_input_is_one_sentence(
    command: tuple[object, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = run(*command, code=2).stderr
    assert re.search(words, told.replace("\n", " ")), told
    assert told.count("Error: ") == 1
    assert not list(tmp_path.rglob("*.npz"))  # nothing was computed


def test_bad_sets_are_one_sentence(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few").mkdir()
    (tmp_path / "twins").mkdir()
    first = (pictures / "00.png").read_bytes()
    for name in ("few", "twins"):
        for i in range(3 if name == "few" else 5):
            (tmp_path / name / f"{i}.png").write_bytes(first)
    with zipfile.ZipFile("broken.zip", "w") as archive:
        archive.writestr("0.png", first[:60])
    (tmp_path / "text.zip").write_text("no zip")
    save_png(torch.zeros(3, 5, 5, dtype=torch.uint8), tmp_path / "small.png")
    (tmp_path / "one").mkdir()
    (tmp_path / "small.png").rename(tmp_path / "one" / "small.png")
    np.savez("objects.npz", arr_0=np.zeros((3, 4, 4, 3), np.float32))
    for command, words in (
        (("theory", "set", "few"), "too few for a dimension"),
        (("theory", "set", "twins"), "exact copy"),
        (("theory", "set", pictures, "--sample", 0), "at least 1"),
        (("theory", "set", "one"), "too few"),
        (("theory", "ideal", "broken.zip"), "0.png in broken.zip cannot be decoded"),
        (("theory", "ideal", "text.zip"), "neither a folder"),
        (("theory", "ideal", "objects.npz"), "uint8"),
        (("theory", "ideal", pictures, "--dimension", 1e6), "dimension d must lie in"),
        (("theory", "ideal", pictures, "--memory", 0.1), "--memory allows 0.1"),
        (("theory", "ideal", pictures, "--limit", 0), "--limit must be at least 1"),
        (("theory", "distance", pictures, "one"), "shape"),
        (("theory", "distance", pictures, pictures, "--sigma", 0), "σ > 0"),
        (("theory", "error", "mnist", "--set", f"images:{pictures}"), "shape"),
        (("landscape", f"images:{pictures}", "--label", 1), "no classes"),
    ):
        told = run(*command, code=2).stderr
        assert words in told.replace("\n", " "), (command, told)
        assert told.count("Error: ") == 1


def test_a_killed_command_goes_on(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """theory ideal, error and lowrank, stopped in the middle by a failure, end with the files of a
    whole run."""
    from diffdescent.lab.theory import error_picture
    from diffdescent.lab.theory import pictures as drawing
    from diffdescent.run.pieces import Pieces

    # Slow, and tested above.
    monkeypatch.setattr(error_picture, "draw_errors", lambda *given: None)
    for name in ("draw_distances", "draw_low_rank", "draw_noised"):
        monkeypatch.setattr(drawing, name, lambda *given: None)

    limits = ("--steps", 3, "--n", 5, "--batch-size", 2)
    commands: dict[str, tuple[object, ...]] = {
        "ideal": ("ideal", f"images:{pictures}", *limits),
        "error": ("error", f"images:{pictures}", "--sampler", "ddpm", *limits),
        "lowrank": ("lowrank", "--size", 6, "--steps", 3, "--n", 4),
        "set": ("set", pictures, "--tangents", 5),
    }
    plain = Pieces.get
    for name, arguments in commands.items():
        run("theory", *arguments, "--out", tmp_path / "whole" / name)
        out, calls = tmp_path / "killed" / name, []

        def failing(self: Pieces, *given: Any, calls: list[int] = calls) -> Any:
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return plain(self, *given)

        monkeypatch.setattr(Pieces, "get", failing)
        with pytest.raises(AssertionError):
            run("theory", *arguments, "--out", out)
        kept = {p.name: p.stat().st_mtime_ns for p in (out / "cache").iterdir()}
        assert len(kept) == 2
        assert {p.name for p in out.iterdir()} == {
            "settings.json",
            "cache",
        }  # no result was written as if it were whole
        monkeypatch.setattr(Pieces, "get", plain)
        run("theory", *arguments, "--out", out)
        assert (
            kept.items()
            <= {p.name: p.stat().st_mtime_ns for p in (out / "cache").iterdir()}.items()
        )
        for path in (tmp_path / "whole" / name).iterdir():
            if path.is_file():
                assert path.read_bytes() == (out / path.name).read_bytes(), path


def test_a_set_too_large_for_the_memory_given(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", arr_0=np.zeros((2000, 32, 32, 3), np.uint8))
    done = run("theory", "ideal", tmp_path / "set.npz", "--memory", 0.685, code=2)
    assert "holds 2000 images of 3072 bytes" in done.stderr
    assert "--memory allows 0.685" in done.stderr
    assert run(
        "theory",
        "ideal",
        tmp_path / "set.npz",
        "--memory",
        0.69,
        "--n",
        9000,
        "--batch-size",
        9000,
        code=2,
    )


def test_constrained_sampling_is_measured_against_its_theory(tmp_path: Path) -> None:
    out = tmp_path / "constrained"
    done = run("theory", "constrained", "--steps", 12, "--n", 4, "--out", out)
    assert "subspaces at 20°" in done.stdout
    assert "of runs end in one that keeps" in done.stdout
    record = json.loads((out / "constrained.json").read_text())
    assert (record["steps"], len(record["rates"]), len(record["points"])) == (12, 12, 3)
    assert (out / "constrained.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    "command",
    [
        ("landscape", "cifar10-mixture"),
        ("theory", "error", "cifar10-mixture"),
        ("theory", "ideal", "images:photos"),
        ("theory", "set", "photos"),
        ("theory", "lowrank"),
        ("theory", "constrained"),
        ("explain", "ddim"),
        ("peculiarity", "check"),
        ("peculiarity", "perturb", "poses.json"),
        ("demo",),
    ],
    ids=" ".join,
)
def test_nothing_is_written_among_files_of_others(command: tuple[str, ...], tmp_path: Path) -> None:
    thesis = tmp_path / "thesis"
    (thesis / "cache").mkdir(parents=True)
    (thesis / "thesis.tex").write_text("years of work")
    said = run(*command, "--out", thesis, code=2).stderr
    assert "thesis holds files, but not the settings.json that says of which" in said, said
    assert sorted(path.name for path in thesis.rglob("*")) == ["cache", "thesis.tex"]


def test_a_folder_with_its_own_result_may_hold_notes(tmp_path: Path) -> None:
    run("explain", "ddim", "--out", tmp_path / "read")
    (tmp_path / "read" / "notes.txt").write_text("as the paper says")
    run("explain", "ddim", "--out", tmp_path / "read")
    said = run("explain", "ge", "--out", tmp_path / "read", "--overwrite", code=2).stderr
    assert "files that no reading of a sampler wrote (notes.txt, …)" in said
    assert (tmp_path / "read" / "notes.txt").read_text() == "as the paper says"
