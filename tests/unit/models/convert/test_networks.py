"""Every recorded network, through its checkpoint file and the converter, against the outputs of the
reference code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from diffdescent.core.process import VE, Point, Process
from diffdescent.models.convert import convert, load_converted, load_module

from .cases import CASES, arrays, settings, state

SPECIAL = ("adm_classifier", "glide", "edm", "pndm_iddpm")
PLAIN = [name for name in CASES if not name.startswith(SPECIAL)]


def close(found: Tensor, expected: Tensor, relative: float = 1e-5) -> None:
    error = float((found - expected).abs().max() / expected.abs().max())
    assert error <= relative, f"{error:.2e}"


def converted(case: str, tmp_path: Path) -> Path:
    torch.save(state(case), tmp_path / "weights.pt")
    return convert(tmp_path / "weights.pt", tmp_path / "model", settings=settings(case)).folder


def test_the_weight_rule_gives_the_published_check_values() -> None:
    from .cases import tensor

    expected = torch.tensor([0.221283, 0.0968503, -0.1734914])
    torch.testing.assert_close(tensor("time_embed.0.weight", [128, 32])[0, :3], expected)


@pytest.mark.parametrize("case", PLAIN)
def test_outputs_of_denoisers(case: str, tmp_path: Path) -> None:
    network, a = load_module(converted(case, tmp_path)), arrays(case)
    more = [a[name] for name in ("y", "low_res") if name in a]
    close(network(a["x"], a["t"], *more), a["out"])


def test_pndm_reads_the_first_three_channels(tmp_path: Path) -> None:
    """Sampling takes ε from them and the variance from the rest, so the network keeps all six."""
    network, a = load_module(converted("pndm_iddpm", tmp_path)), arrays("pndm_iddpm")
    close(network(a["x"], a["t"])[:, :3], a["out"])


def test_logits_and_input_gradient_of_the_classifier(tmp_path: Path) -> None:
    network, a = load_module(converted("adm_classifier", tmp_path)), arrays("adm_classifier")
    x = a["x"].requires_grad_()
    logits = network(x, a["t"])
    close(logits.detach(), a["logits"])
    logits.log_softmax(dim=1)[0, a["y"][0]].backward()
    assert x.grad is not None
    close(x.grad, a["x_grad"])


@pytest.mark.parametrize("case", [name for name in CASES if name.startswith("glide_clip")])
def test_clip_encoders(case: str, tmp_path: Path) -> None:
    network, a = load_module(converted(case, tmp_path)), arrays(case)
    if case == "glide_clip_text":
        close(network(a["tokens"], a["lens"]), a["embedding"])
        return
    x = a["x"].requires_grad_()
    embedding = network(x, a["t"])
    close(embedding.detach(), a["embedding"])
    unit = embedding / embedding.norm(dim=1, keepdim=True)
    (100 * (a["text_direction"] * unit).sum()).backward()
    assert x.grad is not None
    close(x.grad, a["x_grad"])


TEXT_CASES = [n for n in CASES if n.startswith("glide") and not n.startswith("glide_clip")]


@pytest.mark.parametrize("case", TEXT_CASES)
def test_glide(case: str, tmp_path: Path) -> None:
    network, a = load_module(converted(case, tmp_path)), arrays(case)
    added, context = network.read(a["tokens"], a["mask"])  # type: ignore[operator]
    close(added, a["xf_proj"])
    close(context, a["xf_out"])
    more = {k: a[k] for k in ("low_res", "inpaint_image", "inpaint_mask") if k in a}
    close(network(a["x"], a["t"], a["tokens"], a["mask"], **more), a["out"])


def at_sigma(process: Process, sigma: float) -> Point:
    alpha, noise = process.scaled(sigma)
    return Point(float(process.t_of_ratio(sigma)), float(alpha), float(noise))


@pytest.mark.parametrize("case", [name for name in CASES if name.startswith("edm")])
def test_edm_denoisers_with_their_preconditioning(case: str, tmp_path: Path) -> None:
    """D(x; σ) in σ's coordinates is x0 of α·x at the level where σ/α is that σ. iDDPM's takes the
    trained level that is nearest; VP's time loses digits in float32."""
    model, a = load_converted(converted(case, tmp_path)), arrays(case)
    point = at_sigma(model.process, float(a["sigma"][0]))
    if case == "edm_iddpm":
        point = model.process.point(round(point.t))
        rounded = float(a["rounded_sigma"].flatten()[0])
        assert point.ratio == pytest.approx(rounded, rel=1e-3)  # its table is summed up in float32
        alpha, _ = model.process.scaled(float(a["sigma"][0]))
        network = load_module(tmp_path / "model")
        told = torch.full((1,), point.t)
        close(network(a["x"] * float(alpha), told, a["y"]), a["network_out"])
        return
    x = a["x"] if isinstance(model.process, VE) else a["x"] * point.alpha
    label = a.get("y")
    relative = 1e-4 if case == "edm_vp" else 1e-5
    with torch.no_grad():
        close(model(x, point, label).to("x0", x), a["denoised"], relative)
        if "denoised_no_label" in a:
            close(model(x, point, None).to("x0", x), a["denoised_no_label"])
            none = torch.full((1,), -1)
            close(model(x, point, none).to("x0", x), a["denoised_no_label"])
