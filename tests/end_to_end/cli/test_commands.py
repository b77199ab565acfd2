"""The commands as a user runs them: files, exit codes, continuing, and one-sentence errors."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from diffdescent.base.images import read_image, save_png
from tests.end_to_end.cli.command import run


def test_a_real_process_exits_with_2_and_no_traceback() -> None:
    command = [
        sys.executable,
        "-c",
        "from diffdescent.apps.cli.app import main; main()",
        "sample",
        "cifar11",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: Unknown model 'cifar11'")
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 small pictures: the model of `images:PATH` is their exact denoiser."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = torch.Generator().manual_seed(0)
    for i in range(24):
        base = torch.randint(0, 256, (3, 4, 4), generator=generator, dtype=torch.uint8)
        save_png(base.repeat_interleave(2, 1).repeat_interleave(2, 2), folder / f"{i:02d}.png")
    return folder


def images(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.glob("[0-9]*.png"))}


def test_sample_writes_images_sheet_strip_and_record(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = run(
        "sample",
        f"images:{pictures}",
        "--sampler",
        "ddim",
        "--steps",
        10,
        "--n",
        5,
        "--out",
        out,
        "--trajectory",
    )
    assert "5 images" in done.stdout
    assert sorted(images(out)) == [f"{i:06d}.png" for i in range(5)]
    assert read_image(out / "sheet.png").shape[0] == 3
    assert read_image(out / "trajectory.png").shape[1] > 5 * 8 * 2  # five rows of doubled pixels
    record = json.loads((out / "run.json").read_text())
    assert (record["recipe"], record["nfe"], record["seed"]) == ("ddim", 10, 0)
    # The exact denoiser of a finite set leads to a picture of the set.
    known = torch.stack([read_image(p) for p in sorted(pictures.glob("*.png"))]).float()
    for name in images(out):
        assert (known - read_image(out / name).float()).abs().flatten(1).max(1).values.min() <= 4


def test_batch_size_and_split_write_identical_files(pictures: Path, tmp_path: Path) -> None:
    common = [
        "sample",
        f"images:{pictures}",
        "--sampler",
        "dpmpp(order=2)",
        "--steps",
        6,
        "--quiet",
    ]
    run(*common, "--n", 12, "--batch-size", 64, "--out", tmp_path / "a")
    run(*common, "--n", 12, "--batch-size", 1, "--out", tmp_path / "b")
    run(*common, "--samples", "0-4,9", "--batch-size", 5, "--out", tmp_path / "c")
    whole = images(tmp_path / "a")
    assert len(whole) == 12
    assert images(tmp_path / "b") == whole
    assert images(tmp_path / "c") == {name: whole[name] for name in images(tmp_path / "c")}
    assert len(images(tmp_path / "c")) == 6


def test_a_strip_does_not_depend_on_batches_or_interruptions(
    pictures: Path, tmp_path: Path
) -> None:
    common = ["sample", f"images:{pictures}", "--steps", 4, "--n", 10, "--quiet", "--trajectory"]
    run(*common, "--out", tmp_path / "a")
    run(*common, "--out", tmp_path / "b", "--batch-size", 3)
    (tmp_path / "b" / "000001.png").unlink()
    run(*common, "--out", tmp_path / "b", "--batch-size", 4)
    assert (tmp_path / "a" / "trajectory.png").read_bytes() == (
        tmp_path / "b" / "trajectory.png"
    ).read_bytes()
    assert images(tmp_path / "a") == images(tmp_path / "b")


def test_another_set_of_images_under_the_same_name_is_not_continued(
    pictures: Path, tmp_path: Path
) -> None:
    source = tmp_path / "set"
    shutil.copytree(pictures, source)
    run("sample", f"images:{source}", "--steps", 2, "--n", 2, "--out", tmp_path / "run")
    next(iter(sorted(source.glob("*.png")))).unlink()
    refused = run(
        "sample", f"images:{source}", "--steps", 2, "--n", 4, "--out", tmp_path / "run", code=2
    )
    assert "in fingerprint" in refused.stderr


@pytest.mark.parametrize("text", ["", '{"schema": 1, "mod', "[]", "null", "3", "[" * 5000])
def test_a_damaged_record_is_one_sentence_and_what_it_advises_works(
    pictures: Path, tmp_path: Path, text: str
) -> None:
    out = tmp_path / "run"
    words = ("sample", f"images:{pictures}", "--steps", 1, "--n", 1, "--out", out)
    run(*words)
    (out / "run.json").write_text(text)
    refused = run(*words, code=2).stderr
    assert "run.json is damaged or cannot be read" in refused
    assert "empty this one to make all of it again" in refused
    assert (out / "run.json").read_text() == text
    for path in out.iterdir():
        path.unlink()
    run(*words)


def test_a_run_is_continued_extended_or_refused(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    common = ["sample", f"images:{pictures}", "--sampler", "ddim", "--steps", 4, "--out", out]
    run(*common, "--n", 6)
    before = images(out)
    (out / "000002.png").unlink()
    done = run(*common, "--n", 8, "--json")
    assert json.loads(done.stdout)["made"] == 3
    after = images(out)
    assert {name: after[name] for name in before} == before
    refused = run(*common, "--n", 6, "--seed", 1, code=2)
    assert "in seed (0 there, 1 now)" in refused.stderr
    assert images(out) == after
    run(*common, "--n", 6, "--seed", 1, "--overwrite")
    assert images(out) != before
    assert len(images(out)) == 6


def test_a_folder_with_foreign_files_is_left_alone(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    for extra in ([], ["--overwrite"]):
        run("sample", f"images:{pictures}", "--n", 1, "--out", out, *extra, code=2)
        assert (out / "thesis.txt").read_text() == "years of work"


def test_init_and_mask(pictures: Path, tmp_path: Path) -> None:
    mask = torch.zeros(1, 8, 8, dtype=torch.uint8)
    mask[:, :, :4] = 255
    save_png(mask, tmp_path / "mask.png")
    first = sorted(pictures.glob("*.png"))[0]
    run(
        "sample",
        f"images:{pictures}",
        "--sampler",
        "ddim",
        "--steps",
        20,
        "--n",
        1,
        "--init",
        first,
        "--mask",
        tmp_path / "mask.png",
        "--out",
        tmp_path / "inpaint",
        "--quiet",
    )
    kept = (
        read_image(tmp_path / "inpaint" / "000000.png")[:, :, :4].int()
        - read_image(first)[:, :, :4].int()
    )
    assert kept.abs().max() <= 1
    done = run(
        "sample",
        f"images:{pictures}",
        "--sampler",
        "ddim",
        "--steps",
        20,
        "--n",
        1,
        "--init",
        pictures,
        "--strength",
        0.2,
        "--out",
        tmp_path / "i2i",
        "--json",
    )
    assert json.loads(done.stdout)["nfe"] == 4  # t = 199, 149, 99, 49 of 999, 949, …
    assert (
        read_image(tmp_path / "i2i" / "000000.png").int() - read_image(first).int()
    ).abs().max() <= 2


def test_grid_weights_and_list(tmp_path: Path) -> None:
    levels = json.loads(
        run(
            "grid", "loglinear", "karras", "--steps", 5, "--json", "--plot", tmp_path / "g.png"
        ).stdout
    )
    assert levels["loglinear"]["t"] == [853, 652, 380, 116, 22, 0]
    assert len(levels["karras"]["sigma"]) == 6
    assert (tmp_path / "g.png").stat().st_size > 5000
    table = json.loads(
        run("weights", "ddim", "--steps", 4, "--json", "--plot", tmp_path / "w.png").stdout
    )
    evals = np.array(table["evals"])
    assert np.allclose(np.triu(evals, 1), 0)
    assert (tmp_path / "w.png").stat().st_size > 5000
    assert "ddim" in run("weights", "ddim", "--steps", 4).stdout
    names = json.loads(run("list", "--json").stdout)
    assert "eta=0.0" in names["samplers"]["ddim"]["options"]
    assert "gamma=2.0" in names["transforms"]["ge"]["options"]
    assert "cifar10-mixture" in names["models"]
    assert "kind=horizontal" in names["constraints"]["symmetry"]["options"]
    assert "sigma=1.0" in names["operators"]["blur"]["options"]
    assert "momentum" in run("list").stdout


def truncated(folder: Path) -> Path:
    bad = folder / "bad"
    bad.mkdir()
    save_png(torch.randint(0, 255, (3, 32, 32), dtype=torch.uint8), bad / "a.png")
    data = (bad / "a.png").read_bytes()
    (bad / "b.png").write_bytes(data[: len(data) // 2])
    return bad


def test_bad_input_is_one_sentence_and_exit_code_2(pictures: Path, tmp_path: Path) -> None:
    here, out = f"images:{pictures}", ("--out", tmp_path / "x")
    first = sorted(pictures.glob("*.png"))[0]
    (tmp_path / "empty").mkdir()
    (tmp_path / "weights.pt").write_bytes(b"\x80\x04.")
    (tmp_path / "file").write_text("")
    cases = [
        (["sample", "cifar11", *out], "Unknown model 'cifar11'"),
        (["sample", tmp_path / "nowhere", *out], "There is no folder"),
        (["sample", tmp_path / "weights.pt", *out], "single weights file"),
        (["sample", tmp_path / "empty", *out], "is not a model"),
        (["sample", f"images:{tmp_path / 'empty'}", *out], "no readable image"),
        (["sample", f"images:{tmp_path / 'nowhere.zip'}", *out], "nowhere.zip"),
        (["sample", f"images:{truncated(tmp_path)}", *out], "b.png"),
        (["sample", here, "--sampler", "gee", *out], "did you mean 'ge'"),
        (["sample", here, "--sampler", "ddim(eta=2)", *out], "[0, 1]"),
        (["sample", here, "--grid", "karas", *out], "did you mean 'karras'"),
        (["sample", here, "--steps", 0, *out], "a whole number from 1 to"),
        (["sample", here, "--n", 0, *out], "at least 1"),
        (["sample", here, "--samples", "3-", *out], "sample range"),
        (["sample", here, "--label", "dog", *out], "knows no classes"),
        (["sample", here, "--init", tmp_path / "none.png", *out], "none.png"),
        (["sample", here, "--init", tmp_path / "bad" / "b.png", *out], "b.png"),
        (["sample", here, "--init", first, "--mask", tmp_path / "none.png", *out], "none.png"),
        (["sample", here, "--mask", tmp_path / "bad" / "a.png", *out], "needs --init"),
        (
            ["sample", here, "--init", tmp_path / "bad" / "a.png", *out],
            "--init has images of shape (3, 32, 32)",
        ),
        (["sample", here, "--label", "3", *out], "knows no classes"),
        (["sample", here, "--samples", "5-2", *out], "sample range"),
        (["sample", here, "--batch-size", 0, *out], "at least 1"),
        (["sample", here, "--device", "cuda:7", *out], "not available"),
        (["sample", here, "--device", "abacus", *out], "Unknown device"),
        (["sample", here, "--sampler", "ge(gamma=inf)", *out], "finite"),
        (["sample", here, "--sampler", "euler_a(eta=1)", *out], "without options"),
        (["grid", "karras(rho=0)"], "rho"),
        (["grid", "quadratic(fraction=-1)"], "fraction"),
        (["grid", "beta(a=0)"], "must be finite and positive"),
        (["grid", "explicit(t=[0, 500])"], "fall"),
        (["grid", "explicit(t=[1999, 500])"], "between"),
        (["grid", "explicit(ratio=[3, -1])"], "at least 0"),
        (["grid", "karras", "--plot", tmp_path / "g.foo"], ".png, .pdf or .svg"),
        (["weights", "ddim", "--plot", tmp_path / "file" / "w.png"], "Cannot make the folder"),
        (["demo", "--out", tmp_path / "file"], "is a file; give a folder"),
        (["sample", here, "--out", tmp_path / "file"], "is a file"),
        (["sample", here, "--noise", "pink", *out], "brownian"),
        (["weights", "ddim | threshold"], "not linear"),
        (["weights", "ddim", "--basis", "v"], "eps"),
        (["grid", "karras", "--process", "flow"], "start="),
        (["grid", "karras", "--process", "vq"], "'ve'"),
    ]
    for arguments, words in cases:
        done = run(*arguments, code=2)
        assert words in done.stderr.replace("\n", " "), (arguments, done.stderr)
        assert done.stderr.startswith("Error: ")
    assert not (
        tmp_path / "x"
    ).exists()  # a mistake leaves nothing behind that would block the corrected command
