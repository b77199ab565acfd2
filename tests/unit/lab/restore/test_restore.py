"""The tool behind ``diffdescent restore``: scores, what is kept, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffdescent.base.errors import UserError
from diffdescent.base.images import save_png, to_uint8
from diffdescent.core.operators import parse_operator
from diffdescent.core.process import VP
from diffdescent.lab.restore import RestoreConfig, Work, draw_all, read_config, rows, write_table
from diffdescent.lab.restore.scores import feature_distance, psnr, residual, ssim
from diffdescent.models.gaussian import Gaussian

ROOT = Path(__file__).parents[4]


SHAPE = (3, 12, 12)
TOY = Gaussian(torch.zeros(SHAPE, dtype=torch.float64), 0.1, VP.named("linear"))


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model of every name is a small Gaussian."""
    monkeypatch.setattr("diffdescent.lab.restore.work.load_model", lambda name, device: TOY)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three images of the Gaussian."""
    folder = tmp_path_factory.mktemp("clean")
    for i, image in enumerate(to_uint8(TOY.sample(3, torch.Generator().manual_seed(0)))):
        save_png(image, folder / f"{i}.png")
    return folder


def config(**options: Any) -> RestoreConfig:
    return RestoreConfig(
        **{
            "model": "toy",
            "operators": "downsample(4)",
            "methods": ("diffpir", "dps"),
            "noise": 0.1,
            "nfe": 3,
            "n": 2,
            **options,
        }
    )


def test_scores_are_the_published_formulas() -> None:
    """PSNR, and SSIM window by window in NumPy, weighted means and covariances written out."""
    x = torch.rand(1, 2, 13, 15, generator=torch.Generator().manual_seed(1)) * 2 - 1
    y = (x + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(2))).clamp(-1, 1)
    squares = np.mean((x.numpy() - y.numpy()) ** 2)
    assert abs(float(psnr(y, x)) - 10 * np.log10(4 / squares)) < 1e-4
    at = np.arange(-5, 6)
    weights = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    values = []
    for c in range(2):
        for top in range(3):
            for left in range(5):
                a, b = (
                    image[0, c, top : top + 11, left : left + 11].double().numpy()
                    for image in (x, y)
                )
                ma, mb = (weights * a).sum(), (weights * b).sum()
                va, vb = (weights * (a - ma) ** 2).sum(), (weights * (b - mb) ** 2).sum()
                cov = (weights * (a - ma) * (b - mb)).sum()
                c1, c2 = 0.02**2, 0.06**2
                above = (2 * ma * mb + c1) * (2 * cov + c2)
                values.append(above / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    assert abs(float(ssim(y, x)) - np.mean(values)) < 1e-9
    assert abs(float(ssim(x, x)) - 1) < 1e-12
    assert float(psnr(x, x)) > 100


def test_features_are_further_apart_the_more_differs() -> None:
    from diffdescent.evaluate.extractors import load_extractor

    look = load_extractor("cifar10-features")
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3)) * 2 - 1
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(4))
    near, far = (feature_distance(x + s * noise, x, look) for s in (0.05, 0.5))
    assert bool((feature_distance(x, x, look) < 1e-6).all())
    assert bool((near < far).all())
    assert bool((near > 0).all())


def test_the_residual_of_the_truth_is_about_1() -> None:
    operator = parse_operator("blur").bind((1, 32, 32))
    x = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(5))
    y = operator.forward(x) + 0.2 * torch.randn(
        2, 1, 32, 32, generator=torch.Generator().manual_seed(6)
    )
    assert bool((residual(x, operator, y, 0.2) - 1).abs().max() < 0.1)
    assert float(residual(x, operator, operator.forward(x), 0.0).max()) < 1e-6


def test_a_run_is_kept_continued_and_scored(pictures: Path, tmp_path: Path) -> None:
    work = Work(config(), pictures, tmp_path / "out")
    done: list[int] = []
    work.run(lambda cell, count: done.append(count))
    assert sum(done) == 6
    files = sorted((tmp_path / "out" / "cells").rglob("*.npz"))
    before = [file.read_bytes() for file in files]
    files[0].unlink()
    again = Work(config(), pictures, tmp_path / "out")
    again.run()
    cell = next(again.config.cells())
    torch.testing.assert_close(again.samples(cell).images, work.samples(cell).images)
    assert files[1].read_bytes() == before[1]

    found = list(rows(again))
    assert [row.cell.method for row in found] == ["diffpir", "dps"]
    for row in found:
        assert row.scores["psnr_mean"].value > row.scores["psnr"].value
        assert row.scores["psnr"].low < row.scores["psnr"].value < row.scores["psnr"].high
        assert {"ssim", "features", "residual", "mean_error", "spread"} <= set(row.scores)
    write_table(again, found)
    lines = (tmp_path / "out" / "table.csv").read_text().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("operator,noise,nfe,method,images,samples,seconds,psnr,psnr_low")
    draw_all(again)
    assert (tmp_path / "out" / "sheet.png").is_file()
    drawn = list((tmp_path / "out" / "pictures").rglob("*.png"))
    assert len(drawn) == 2 * 3 * (2 + 2)
    with pytest.raises(UserError, match=r"nfe \(\[3\] there, \[4\] now\)"):
        Work(config(nfe=4), pictures, tmp_path / "out")


def test_a_batch_of_images_gives_the_same_as_all(pictures: Path, tmp_path: Path) -> None:
    whole = Work(config(methods="dps", noise=0.2), pictures, tmp_path / "whole")
    whole.run()
    one = Work(config(methods="dps", noise=0.2, count=1), pictures, tmp_path / "one")
    one.run()
    cell = next(whole.config.cells())
    assert torch.equal(one.samples(cell).images[0], whole.samples(cell).images[0])


def test_measured_images_have_no_originals(pictures: Path, tmp_path: Path) -> None:
    work = Work(
        config(operators="mask", methods="ddnm", noise=0.0), pictures, tmp_path / "m", measured=True
    )
    work.run()
    (row,) = rows(work, exact=False)
    assert set(row.scores) == {"residual"}
    assert row.scores["residual"].value < 1e-4
    draw_all(work)
    with pytest.raises(UserError, match="measures"):
        Work(config(), pictures, tmp_path / "n", measured=True).run()


def test_bad_input_is_one_clear_sentence(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'blur'"):
        config(operators="blurr")
    with pytest.raises(UserError, match="did you mean 'dps'"):
        config(methods="dpss")
    with pytest.raises(UserError, match="noise"):
        config(noise=-1)
    save_png(torch.zeros(3, 32, 32, dtype=torch.uint8), tmp_path / "large.png")
    with pytest.raises(UserError, match=r"\(3, 32, 32\).*\(3, 12, 12\).*resize"):
        Work(config(), tmp_path / "large.png", tmp_path / "o")
    pipeline = tmp_path / "pipeline"
    (pipeline / "vae").mkdir(parents=True)
    (pipeline / "model_index.json").write_text("{}")
    with pytest.raises(UserError, match="decodes its images from latents"):
        Work(config(model=str(pipeline)), pictures, tmp_path / "p")


def test_study_files_are_read(tmp_path: Path) -> None:
    files = sorted((ROOT / "studies" / "restore").glob("*.yaml"))
    assert [file.stem for file in files] == ["cifar10", "mixture", "mnist"]
    for file in files:
        found = read_config(file, {"nfe": (2,)})
        assert found.nfe == (2,)
        assert len(list(found.cells())) == len(set(found.cells()))
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("model: mnist\noperators: [mask]\nmethod: [ddnm]\n")
    with pytest.raises(UserError, match="did you mean 'methods'"):
        read_config(wrong, {})
    wrong.write_text("model: mnist\n")
    with pytest.raises(UserError, match="does not say its operators"):
        read_config(wrong, {})
