"""Guided sampling on the command line: what is written, what is continued, and what is told of
mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from diffdescent.base.images import read_image, save_png
from tests.end_to_end.cli.command import run

DOGS = (
    "sample",
    "cifar10",
    "--label",
    "dog",
    "--sampler",
    "ddim(eta=1)",
    "--steps",
    3,
    "--n",
    2,
    "--micro-batch",
    2,
)


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.glob("[0-9]*.png")}


def test_a_guided_run_is_recorded_and_continued(tmp_path: Path) -> None:
    out = tmp_path / "dogs"
    text = "classifier(2) | pxp(delta=1,1,1e-3,1e-3)"
    done = run(*DOGS, "--guidance", text, "--out", out)
    written = "classifier(scale=2.0, shift=mean) | pxp(delta=[1.0, 1.0, 0.001, 0.001])"
    assert f"with ddim(eta=1.0) under {written}" in done.stdout
    record = json.loads((out / "run.json").read_text())
    assert (record["guidance"], record["recipe"], record["network_calls"]) == (
        written,
        "ddim(eta=1.0)",
        3,
    )
    assert "+" in record["fingerprint"]  # the network's and the guide's
    before = files(out)
    (out / "000001.png").unlink()
    run(*DOGS, "--guidance", written, "--out", out)  # its own record's text is the same run
    assert files(out) == before
    for other in (("--guidance", "classifier(3) | pxp"), ()):
        assert "guidance (" in run(*DOGS, *other, "--out", out, code=2).stderr


def test_guidance_changes_the_images_and_an_empty_one_does_not(tmp_path: Path) -> None:
    plain = [
        "sample",
        "cifar10",
        "--label",
        "dog",
        "--sampler",
        "ddim",
        "--steps",
        2,
        "--n",
        2,
        "--quiet",
    ]
    for name, text in {
        "none": None,
        "free": "cfg(scale=4)",
        "one": "cfg(scale=1, together=false)",
        "outside": "cfg(scale=4, interval=[0.001, 0.002]) | rescale(0.7) | pxp",
    }.items():
        run(*plain, *(() if text is None else ("--guidance", text)), "--out", tmp_path / name)
    none, free, one, outside = (
        files(tmp_path / name) for name in ("none", "free", "one", "outside")
    )
    assert none == one == outside
    assert none != free
    calls = [
        json.loads((tmp_path / n / "run.json").read_text())["network_calls"]
        for n in ("none", "free", "outside")
    ]
    assert calls == [2, 4, 2]
    assert read_image(tmp_path / "free" / "sheet.png").shape[0] == 3


def test_the_default_sampler_can_be_guided_by_a_classifier(tmp_path: Path) -> None:
    done = run(
        "sample",
        "cifar10",
        "--label",
        "dog",
        "--guidance",
        "classifier(scale=2)",
        "--steps",
        2,
        "--n",
        1,
        "--out",
        tmp_path / "run",
    )
    assert "under classifier(scale=2.0, shift=score)" in done.stdout


def test_the_calls_of_the_network_are_told(tmp_path: Path) -> None:
    told = run(
        "sample",
        "cifar10-mixture",
        "--label",
        "cat",
        "--sampler",
        "ddim",
        "--steps",
        4,
        "--n",
        1,
        "--guidance",
        "cfgpp(0.5)",
        "--out",
        tmp_path / "run",
    )
    assert "4 evaluations (8 calls of the network) each" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--label", "dgo", "--guidance", "cfg"), "did you mean 'dog'"),
        (
            ("--label", "10", "--guidance", "cfg"),
            "Label 10 is out of range; this model has classes 0 … 9: airplane",
        ),
        (("--label", "-1", "--guidance", "cfg"), "Label -1 is out of range"),
        (("--label", "²", "--guidance", "cfg"), "Unknown class '²'"),
        (
            ("--label", "dog", "--guidance", "cfg(2, unconditional=mnist)"),
            "makes images of shape (1, 28, 28)",
        ),
        (("--guidance", "cfg"), "give labels"),
        (("--guidance", "classifier"), "give labels"),
        (("--label", "dog", "--guidance", "clasifier(2)"), "did you mean 'classifier'"),
        (("--label", "dog", "--guidance", "cfg(2, sacle=3)"), "did you mean 'scale'"),
        (
            ("--label", "dog", "--guidance", "classifier(2, shift=mean)", "--sampler", "ddim"),
            "shift='score'",
        ),
        (("--label", "dog", "--guidance", "classifier(1e30)"), "diverge"),
    ],
)
def test_mistakes_leave_no_folder(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    common = ("sample", "cifar10", "--sampler", "ddim(eta=1)", "--steps", 2, "--n", 1, "--out", out)
    error = run(*common, *arguments, code=2).stderr
    assert message in error
    assert "Traceback" not in error
    assert not out.exists()


def test_what_looks_at_whole_batches_is_continued_in_the_same_batches(tmp_path: Path) -> None:
    out = tmp_path / "run"
    common = (
        "sample",
        "cifar10-mixture",
        "--label",
        "cat",
        "--sampler",
        "ddpm",
        "--steps",
        3,
        "--n",
        4,
        "--quiet",
        "--guidance",
        "classifier(scale=30) | pxp(scope=batch)",
        "--out",
        out,
    )
    run(*common, "--batch-size", 2)
    first = files(out)
    (out / sorted(p.name for p in out.glob("[0-9]*.png"))[1]).unlink()
    run(*common, "--batch-size", 2)
    assert files(out) == first
    for other in (("--batch-size", 4), ("--batch-size", 2, "--samples", "1-4")):
        words = (
            common[: common.index("--n")] + common[common.index("--n") + 2 :]
            if "--samples" in other
            else common
        )
        assert "in batches" in run(*words, *other, code=2).stderr.replace("\n", " ")
    assert files(out) == first


def test_guidance_of_a_model_without_classes(tmp_path: Path) -> None:
    pictures = tmp_path / "set"
    pictures.mkdir()
    for i in range(3):
        save_png(torch.full((3, 8, 8), 60 * i, dtype=torch.uint8), pictures / f"{i}.png")
    common = ("sample", f"images:{pictures}", "--sampler", "ddpm", "--out", tmp_path / "run")
    assert "knows none" in run(*common, "--guidance", "cfg", code=2).stderr
    assert "names no classes" in run(*common, "--guidance", "classifier(2)", code=2).stderr


def test_list_names_the_guidance() -> None:
    found = json.loads(run("list", "--json").stdout)["guidance"]
    assert list(found) == [
        "cfg", "apg", "cfgpp", "classifier", "clip", "noised_clip", "guide", "rescale", "pxp",
    ]  # fmt: skip

    assert found["cfgpp"]["options"].startswith("scale=0.6")
