"""A command's results are replaced by nothing but the same command, or with --overwrite."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import diffdescent as dd
from diffdescent.models.mixture import Mixture
from diffdescent.models.mixture_file import save_mixture
from tests.end_to_end.cli.command import run

MIXTURE = "cifar10-mixture"
OTHER: dict[str, tuple[tuple[object, ...], tuple[object, ...], str]] = {
    "landscape": (
        ("landscape", "tiny", "--samplers", "ddim", "--steps", 2, "--around", 2, "--counts",
         "none", "--reference-steps", 2),
        ("--spread", 0.5),
        "spread (1.0 there, 0.5 now)",
    ),
    "theory set": (
        ("theory", "set", "photos", "--neighbours", 2), ("--tangents", 3),
        "tangents (50 there, 3 now)",
    ),
    "theory ideal": (
        ("theory", "ideal", "images:photos", "--n", 2, "--steps", 2), ("--sampler", "ge"),
        'sampler (\"ddim\" there, \"ddim | ge\" now)',
    ),
    "theory lowrank": (
        ("theory", "lowrank", "--size", 4, "--steps", 2, "--n", 4), ("--decay", 2),
        "decay (1.0 there, 2.0 now)",
    ),
    "peculiarity check": (
        ("peculiarity", "check", "--n", 2, "--strength", 0, "-q"), ("--n", 3), "n (2 there, 3 now)"
    ),
    "peculiarity perturb": (
        ("peculiarity", "perturb", "people.npz"), ("--seed", 5), "seed (0 there, 5 now)"
    ),
    "explain": (("explain", "ddim", "--steps", 2), ("--steps", 3), "steps (2 there, 3 now)"),
}  # fmt: skip
"""A command, what changes its results, and what it is refused with."""


def small_mixture(folder: Path) -> None:
    means = torch.linspace(-1, 1, 96, dtype=torch.float64).reshape(2, 3, 4, 4)
    save_mixture(Mixture(torch.ones(2), means, torch.full_like(means, 0.05), dd.VP.named()), folder)


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


@pytest.mark.parametrize("name", OTHER)
def test_other_settings_are_refused_by_name_and_overwrite_keeps_what_was_computed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    np.savez("photos.npz", arr_0=draw.integers(0, 256, (8, 4, 4, 3), np.uint8))
    points = draw.uniform(20, 200, (30, 17, 3))
    points[..., 2] = 2
    small_mixture(tmp_path / "tiny")
    np.savez("people.npz", kp=points, image_id=np.arange(30))
    command, changed, named = OTHER[name]
    words = [str(w).replace("photos", "photos.npz") for w in command]
    out = ("--out", tmp_path / "out")
    run(*words, *out)
    before = tree(tmp_path / "out")
    said = run(*words, *changed, *out, code=2).stderr
    assert f"that differs in {named}" in said, said
    assert "use --overwrite to replace it" in said
    assert tree(tmp_path / "out") == before
    run(*words, *out)  # the same command again
    assert tree(tmp_path / "out").keys() == before.keys()
    run(*words, *changed, "--overwrite", *out)
    after = tree(tmp_path / "out")
    assert after["settings.json"] != before["settings.json"]
    pieces = {n: data for n, data in before.items() if n.endswith(".npz")}
    assert {n: after[n] for n in pieces} == pieces, "what was computed is kept"


def test_a_folder_of_another_command_is_said_to_be_one(tmp_path: Path) -> None:
    study, out = tmp_path / "study", tmp_path / "read"
    study.mkdir()
    (study / "study.json").write_text(json.dumps({"model": "a", "seed": 0, "counter": {}}))
    before = tree(study)
    compare = ("compare", MIXTURE, "--samplers", "ddim", "--nfe", 2, "--n", 2, "--out")
    said = run(*compare, study, code=2).stderr
    assert "study.json is not that of a study: the folder belongs to another command" in said
    assert "damaged" not in said
    assert tree(study) == before
    run("explain", "ddim", "--out", out)
    said = run("theory", "constrained", "--out", out, code=2).stderr
    assert "settings.json is not that of a measurement of constraints: the folder belongs" in said
    restored = tmp_path / "restored"
    restored.mkdir()
    (restored / "run.json").write_text(json.dumps({"schema": 1, "model": "a", "methods": ["hqs"]}))
    said = run("sample", MIXTURE, "--n", 1, "--steps", 1, "--out", restored, code=2).stderr
    assert "run.json is not that of a run: the folder belongs to another command" in said


@pytest.mark.parametrize(
    "command",
    [
        ("weights", "ddim", "--steps", 2),
        ("grid", "loglinear", "--steps", 2),
        ("theory", "schedule", "--eta", 0.1, "--nu", 2),
    ],
    ids=lambda words: words[0],
)
def test_a_plot_replaces_no_file_without_a_word(
    command: tuple[object, ...], tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"of my grandmother")
    said = run(*map(str, command), "--plot", photo, code=2).stderr
    assert "photo.png exists; choose another --plot, or --overwrite to replace it." in said
    assert photo.read_bytes() == b"of my grandmother"
    run(*map(str, command), "--plot", photo, "--overwrite")
    assert photo.read_bytes().startswith(b"\x89PNG")
