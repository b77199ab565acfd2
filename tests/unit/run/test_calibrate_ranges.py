"""Calibration over a range of guidance scales, and with prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import diffdescent as dd
from diffdescent import UserError
from diffdescent.core.model_info import info
from diffdescent.core.network import Network
from diffdescent.core.process import VP
from diffdescent.guidance import apply_guidance
from diffdescent.guidance.scale_range import ScaleRange, covers, split_range
from diffdescent.run.calibrate import calibrate
from diffdescent.run.fitted_for import differences
from tests.end_to_end.cli.test_commands import run

SIZE, QUICK = 8, {"nfe": 3, "trajectories_count": 12, "held_out": 12, "teacher_levels": 16}


def classes(diverging: bool = False) -> Network:
    """Three classes and none: images pulled to a level each."""
    process = VP.named()

    def eps(x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor | None) -> torch.Tensor:
        point = process.point(float(t.flatten()[0]))
        level = torch.zeros(len(x)) if cond is None else torch.where(cond < 0, 0.0, cond * 0.3)
        y, s = x / point.alpha, point.ratio
        pull = torch.tanh(y / (s * s + 0.3)) * 0.5 + level.view(-1, 1, 1, 1)
        return (y - pull) / s * (float("inf") if diverging and point.ratio < 1 else 1.0)

    return Network(
        eps, process=process, kind="eps", shape=(1, SIZE, SIZE), label_count=3, fingerprint="c"
    )


def test_a_code_is_a_class_and_a_scale() -> None:
    guided, _ = apply_guidance("cfg(scale=2)", classes(), dd.sampler("ddim"))
    ranged = ScaleRange(guided, (1.0, 5.0))
    codes = torch.tensor([0, 4, 16, 40])
    x, at = torch.randn(4, 1, SIZE, SIZE), guided.process.point(400.0)
    found = ranged(x, at, codes)
    for i, code in enumerate(codes.tolist()):
        scale = 1 + 4 * (code % 17) / 16
        one, _ = apply_guidance(f"cfg(scale={scale})", classes(), dd.sampler("ddim"))
        wanted = one(x[i : i + 1], at, torch.tensor([code % 3])).raw
        assert torch.allclose(found.raw[i : i + 1], wanted, atol=1e-4)
    assert info(ranged).label_count == 51
    assert len({(c % 3, c % 17) for c in range(51)}) == 51


def test_a_range_is_fitted_and_used_at_its_scales(tmp_path: Path) -> None:
    found = calibrate(classes(), guidance="cfg(scale=1..4)", **QUICK)  # type: ignore[arg-type]
    known = found.solver
    assert known.fitted_for["guidance"] == "cfg(scale=1..4)"
    assert known.fitted_for["fingerprint"] == "c"
    shape = (1, SIZE, SIZE)
    for guidance, fits in (("cfg(scale=3)", True), ("cfg", True), ("cfg(scale=4.5)", False)):
        assert (differences(known, classes(), guidance, shape, True) == []) == fits
    assert "other guidance" in differences(known, classes(), None, shape, True)[0]
    found.write(tmp_path / "range.json")
    recipe = f"calibrated('{tmp_path / 'range.json'}', strict=true)"
    under = {"guidance": "cfg(scale=3)", "labels": 1, "n": 2}
    assert torch.isfinite(dd.sample(classes(), recipe, **under).images).all()  # type: ignore[arg-type]


def test_texts_of_ranges() -> None:
    assert split_range("cfg(scale=1.5..6)") == ("cfg(scale=2)", (1.5, 6.0))
    assert split_range("cfg(scale=4)") == ("cfg(scale=4)", None)
    assert covers("cfg(scale=1..6)", "cfg(4)")
    assert covers("cfg(scale=1..6)", "cfg(scale=.5e1)")
    assert covers("apg(scale=1..6)", "apg")
    assert not covers("apg(scale=1..3)", "apg"), "its own scale is 4"
    assert not covers("cfg(scale=1..6)", "apg(scale=4)")
    assert covers(None, None)
    assert covers("cfg(scale=4)", "cfg(scale=4)")
    assert not covers("cfg(scale=4)", "cfg(scale=3)")
    with pytest.raises(UserError, match="lower one first"):
        split_range("cfg(scale=6..1)")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"guidance": "cfg(scale=1..4)", "labels": "1"}, "leave labels out"),
        ({"guidance": "cfg(scale=1..4) | rescale"}, "steps too"),
        ({"guidance": "cfgpp(scale=1..4)"}, "classifier-free guidance"),
    ],
)
def test_ranges_that_are_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(UserError, match=match):
        calibrate(classes(), **options, **QUICK)


def test_guidance_that_diverges_is_named() -> None:
    with pytest.raises(UserError, match="lower the guidance scale"):
        calibrate(classes(diverging=True), guidance="cfg(scale=3)", **QUICK)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_pipeline_is_calibrated_with_prompts(tmp_path: Path) -> None:
    pipelines = pytest.importorskip("tests.unit.apps.pipelines")
    folder, prompts = tmp_path / "sd", tmp_path / "prompts.txt"
    pipelines.stable_diffusion().save_pretrained(folder)
    prompts.write_text("a boat\ntwo dogs\n")
    out = tmp_path / "sd-3.json"
    few = ["--trajectories", 8, "--held-out", 8, "--teacher", 12, "--bands", 2, "--end-to-end", 0,
           "--micro-batch", 8]  # fmt: skip
    run("calibrate", folder, "--prompts", prompts, "--nfe", 3, *few, "--out", out, "--quiet")
    content = json.loads(out.read_text())
    assert all(value == 1 for curve in content["start"] for value in curve)
    assert len(content["fitted_for"]["shape"]) == 3
    words = ["sample", folder, "--prompt", "a boat", "--sampler", f"calibrated('{out}')"]
    assert "3 steps" in run(*words, "--out", tmp_path / "images").stdout
    assert content["fitted_for"]["settings"] == {"guidance_scale": 7.5}
    strict = ["sample", folder, "--prompt", "x", "--sampler", f"calibrated('{out}', strict=true)"]
    run(*strict, "--out", tmp_path / "strict")  # another prompt is what it is for
    for number, (options, said) in enumerate((
        (("--guidance-scale", 3), "another guidance scale (7.5 there, 3.0 here)"),
        (("--negative-prompt", "fog"), "another negative prompt (None there, fog here)"),
        (("--height", 8), "another shape"),
    )):  # fmt: skip
        assert said in run(*strict, *options, "--out", tmp_path / f"{number}", code=2).stderr
    done = run(*words, "--guidance-scale", 3, "--out", tmp_path / "warned")
    assert "was fitted for another guidance scale" in done.stderr
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert "another model" in run(*strict, "--out", tmp_path / "weights", code=2).stderr
    again = ["calibrate", folder, "--out", tmp_path / "other.json"]
    assert "--prompts FILE" in run(*again, code=2).stderr
    words = [*again, "--prompts", prompts, "--guidance", "cfg(scale=2)"]
    assert "--guidance-scale" in run(*words, code=2).stderr
