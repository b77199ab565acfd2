"""Sampling, fitting, files, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import safetensors.torch
import torch

from diffdescent import UserError
from diffdescent.core.process import VE, VP, Flow, Point
from diffdescent.models.coordinates import Cosine
from diffdescent.models.dataset import Dataset
from diffdescent.models.fit import DATA, FLOOR, fit_mixture
from diffdescent.models.gaussian import Gaussian
from diffdescent.models.mixture import Mixture
from diffdescent.models.mixture_file import load_mixture, save_mixture
from diffdescent.models.weight_files import read_tensors, write_tensors
from tests.unit.models.exact.cases import (
    SHAPE,
    SIZE,
    make_dataset,
    make_gaussian,
    make_mixture,
    rand,
)


def moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x.flatten(1).mean(0), x.flatten(1).T.cov(correction=0)


def test_gaussian_samples_have_its_moments(gaussian: Gaussian) -> None:
    mean, cov = moments(gaussian.sample(40_000, torch.Generator().manual_seed(1)))
    expected = gaussian.covariance.apply(lambda v: v, torch.eye(SIZE, dtype=torch.float64))
    assert float((mean - gaussian.mean).abs().max()) < 0.05 * float(
        expected.diagonal().max().sqrt()
    )
    assert float((cov - expected).abs().max()) < 0.05 * float(expected.diagonal().max())


def test_mixture_samples_have_its_moments(mixture: Mixture) -> None:
    mean, cov = moments(mixture.sample(40_000, torch.Generator().manual_seed(2)))
    eye = torch.eye(SIZE, dtype=torch.float64)
    center = mixture.weights @ mixture.means
    spread = sum(
        w * (c.apply(lambda v: v, eye) + torch.outer(m, m))
        for w, c, m in zip(mixture.weights, mixture.covariances, mixture.means, strict=True)
    )
    rotation = mixture.coordinates.decode(eye)
    expected = rotation.T @ (spread - torch.outer(center, center)) @ rotation
    assert float((mean - center @ rotation).abs().max()) < 0.03 * float(
        expected.diagonal().max().sqrt()
    )
    assert float((cov - expected).abs().max()) < 0.05 * float(expected.diagonal().max())


def test_sampling_by_class_and_by_given_draws() -> None:
    mixture = make_mixture()
    normals = rand(6, *SHAPE, seed=3)
    uniforms = torch.tensor([0.0, 0.1999, 0.2, 0.69, 0.7, 0.99999], dtype=torch.float64)
    chosen = [0, 0, 1, 1, 2, 2]
    x = mixture.transform(uniforms, normals)
    z = normals.flatten(1)
    for row, k in enumerate(chosen):
        expected = mixture.means[k] + mixture.covariances[k].apply(torch.sqrt, z[row : row + 1])[0]
        torch.testing.assert_close(x[row].flatten(), expected)
    two = mixture.transform(uniforms, normals, torch.full((6,), 2))
    torch.testing.assert_close(two[2:4], x[2:4])
    zero = mixture.transform(uniforms, normals, torch.zeros(6, dtype=torch.long))
    torch.testing.assert_close(zero[[0, 1, 4, 5]], x[[0, 1, 4, 5]])
    assert mixture.transform(uniforms, normals.float()).dtype == torch.float32
    data = make_dataset()
    drawn = data.sample(30, torch.Generator().manual_seed(4), torch.tensor([0, 1, -1] * 10))
    index = (drawn[:, None] - (data.images.double() / 127.5 - 1)).flatten(2).abs().amax(2).argmin(1)
    assert (index[0::3] % 3 == 0).all()
    assert (index[1::3] % 3 == 1).all()


def test_cosine_coordinates_are_a_rotation() -> None:
    for shape in ((3, 4, 6), (1, 5, 5)):
        frame = Cosine(
            shape, torch.randperm(math.prod(shape), generator=torch.Generator().manual_seed(5))
        )
        x = rand(7, math.prod(shape), seed=6)
        torch.testing.assert_close(frame.decode(frame.encode(x)), x)
        torch.testing.assert_close(frame.encode(x) @ frame.encode(x).T, x @ x.T)


@pytest.mark.parametrize("coordinates", ["pixels", "cosine"])
@pytest.mark.parametrize("residual", ["isotropic", "diagonal"])
def test_fit_recovers_a_gaussian(coordinates: str, residual: str) -> None:
    truth = make_gaussian("factors" if residual == "isotropic" else "full")
    x = truth.sample(20_000, torch.Generator().manual_seed(7))
    rank = SIZE if coordinates == "cosine" and residual == "diagonal" else 5
    fitted = fit_mixture(x, None, rank, residual=residual, coordinates=coordinates)  # type: ignore[arg-type]
    fresh = truth.sample(500, torch.Generator().manual_seed(8))
    gap = truth.log_prob(fresh, DATA).mean() - fitted.log_prob(fresh, DATA).mean()
    assert (
        -0.05 < float(gap) < 0.25
    )  # nats of 48 dimensions; the floor and 20,000 samples cost a little


def test_fit_finds_classes_and_components() -> None:
    generator = torch.Generator().manual_seed(9)
    centers = 4 * rand(4, *SHAPE, seed=10)
    index = torch.randint(0, 4, (4000,), generator=generator)
    x = centers[index] + 0.1 * torch.randn(4000, *SHAPE, generator=generator, dtype=torch.float64)
    fitted = fit_mixture(x, index // 2, 2, components=2, support=10, rounds=5, names=("a", "b"))
    assert fitted.labels is not None
    assert fitted.labels.tolist() == [0, 0, 1, 1]
    gaps = torch.cdist(centers.flatten(1), fitted.means).amin(1)
    assert float(gaps.max()) < 0.1
    assert float((fitted.class_log_prob(x, DATA).argmax(1) == index // 2).double().mean()) > 0.999
    again = fit_mixture(x, index // 2, 2, components=2, support=10, rounds=5, names=("a", "b"))
    assert fitted.fingerprint() == again.fingerprint()


def test_fit_reads_uint8_and_keeps_variances_positive() -> None:
    black = torch.zeros(30, 1, 4, 4, dtype=torch.uint8)
    fitted = fit_mixture(black, None, 3)
    assert torch.allclose(fitted.means, -torch.ones(1, 16, dtype=torch.float64))
    assert fitted.covariances[0].variances.min() >= FLOOR * 0.999


@pytest.mark.parametrize("process", [VP.named("cosine"), VE(), Flow(shift=3.0)])
def test_files_round_trip(mixture: Mixture, tmp_path: Path, process: VP | VE | Flow) -> None:
    mixture.process = process
    mixture.classes = ("x", "y", "z")
    save_mixture(mixture, tmp_path / "m", notes={"from": "a test"})
    loaded = load_mixture(tmp_path / "m")
    point = Point(0, 0.8, 0.6)
    x = rand(4, *SHAPE, seed=11)
    torch.testing.assert_close(loaded(x, point).raw, mixture(x, point).raw, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(loaded.log_prob(x, point), mixture.log_prob(x, point))
    assert loaded.name == "m"
    assert list(loaded.classes or ()) == ["x", "y", "z"]
    assert loaded.process.point(0.5) == process.point(0.5)
    save_mixture(mixture, tmp_path / "half", dtype=torch.float16)
    half = load_mixture(tmp_path / "half")
    torch.testing.assert_close(half(x, point).raw, mixture(x, point).raw, rtol=0.02, atol=0.02)


def test_tensor_files_are_safetensors(tmp_path: Path) -> None:
    tensors = {
        "a": rand(3, 4),
        "b": rand(5).half(),
        "c": torch.arange(3),
        "d": torch.arange(4).int(),
        "e": torch.empty(0, 2),
    }
    write_tensors(tmp_path / "own.safetensors", tensors)
    for name, tensor in read_tensors(tmp_path / "own.safetensors").items():
        assert torch.equal(tensor, tensors[name])
        assert tensor.dtype == tensors[name].dtype
    for name, tensor in safetensors.torch.load_file(tmp_path / "own.safetensors").items():
        assert torch.equal(tensor, tensors[name])
    safetensors.torch.save_file(tensors, tmp_path / "peer.safetensors", metadata={"made": "here"})
    assert torch.equal(read_tensors(tmp_path / "peer.safetensors")["a"], tensors["a"])


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no mixture\.json"):
        load_mixture(tmp_path)
    save_mixture(make_mixture(), tmp_path)
    weights, about = tmp_path / "mixture.safetensors", tmp_path / "mixture.json"
    whole, text = weights.read_bytes(), about.read_text(encoding="utf-8")
    for cut in (0, 5, 40, len(whole) // 2, len(whole) - 1):
        weights.write_bytes(whole[:cut])
        with pytest.raises(UserError, match="is not a whole safetensors file"):
            load_mixture(tmp_path)
    weights.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        load_mixture(tmp_path)
    write_tensors(weights, {"weights": torch.ones(2)})
    with pytest.raises(UserError, match="lacks"):
        load_mixture(tmp_path)
    weights.write_bytes(whole)
    about.write_text(text[:30])
    with pytest.raises(UserError, match="damaged"):
        load_mixture(tmp_path)
    about.write_text(json.dumps({**json.loads(text), "format": 99}))
    with pytest.raises(UserError, match="another version"):
        load_mixture(tmp_path)


MEANS, ONES = torch.zeros(2, *SHAPE), torch.ones(2, *SHAPE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Gaussian(MEANS[0], 0.0, VE()), "positive"),
        (lambda: Gaussian(MEANS[0], torch.ones(3), VE()), "shape"),
        (lambda: Gaussian(MEANS[0], 1.0, VE(), factors=torch.ones(SIZE + 1, 2)), "Factors"),
        (lambda: Mixture(torch.ones(3), MEANS, ONES, VE()), "weights"),
        (lambda: Mixture(torch.tensor([1.0, 0.0]), MEANS, ONES, VE()), "weights"),
        (lambda: Mixture(torch.ones(2), MEANS, ONES[:, :1], VE()), "shape"),
        (lambda: Mixture(torch.ones(2), MEANS, ONES, VE(), factors=torch.ones(3, 4, 4)), "Factors"),
        (lambda: Mixture(torch.ones(2), MEANS, ONES, VE(), labels=torch.tensor([0, -2])), "Labels"),
        (lambda: Cosine(SHAPE, torch.zeros(SIZE)), "permutation"),
        (lambda: Cosine((4, 4)), "Cosine"),
        (lambda: Dataset(torch.zeros(0, 3, 2, 2), VE()), "at least one"),
        (lambda: Dataset(torch.zeros(2, 3, 2, 2, dtype=torch.int32), VE()), "uint8"),
        (
            lambda: Dataset(torch.zeros(2, 3, 2, 2), VE(), labels=torch.zeros(3, dtype=torch.long)),
            "Labels",
        ),
        (lambda: Dataset(torch.zeros(2, 3, 2, 2), VE(), chunk=0), "chunk"),
        (lambda: fit_mixture(torch.zeros(5, 8), None, 1), "images"),
        (lambda: fit_mixture(ONES, None, 1, residual="full"), "Unknown residual"),  # type: ignore[arg-type]
        (lambda: fit_mixture(ONES, None, 1, coordinates="dct"), "Unknown coordinates"),  # type: ignore[arg-type]
        (lambda: fit_mixture(ONES, None, -1), "rank"),
        (lambda: fit_mixture(ONES, None, 1, components=2), "too few"),
        (lambda: fit_mixture(ONES, torch.zeros(3), 1), "Classes"),
        (lambda: make_mixture()(rand(2, 3, 4, 5), DATA), "shape"),
        (lambda: make_mixture()(rand(2, *SHAPE).long(), DATA), "floating"),
        (lambda: make_mixture()(rand(2, *SHAPE), Point(0, math.nan, 1.0)), "noise level"),
        (
            lambda: make_mixture()(rand(2, *SHAPE), DATA, torch.tensor([0, 1])),
            "label 1; its classes are",
        ),
        (lambda: make_mixture()(rand(2, *SHAPE), DATA, torch.tensor([0])), "Labels"),
        (lambda: make_gaussian()(rand(2, *SHAPE), DATA, torch.tensor([0, 0])), "no classes"),
        (lambda: make_dataset().log_prob(rand(2, *SHAPE), DATA), "no density"),
        (
            lambda: Mixture(torch.ones(2), MEANS, ONES, VE()).class_log_prob(MEANS.double(), DATA),
            "no classes",
        ),
    ],
)
def test_bad_input_is_one_sentence(call, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=message):
        call()


def test_nan_stays_visible() -> None:
    for model in (make_gaussian(), make_mixture(), make_dataset()):
        x = rand(2, *SHAPE)
        x[1, 0, 0, 0] = math.nan
        raw = model(x, Point(0, 0.8, 0.6)).raw
        assert torch.isfinite(raw[0]).all()
        assert torch.isnan(raw[1]).any()


def test_fewer_names_of_classes_than_labels_are_refused(tmp_path: Path) -> None:
    means = torch.zeros(2, 1, 2, 2)
    made = Mixture(
        torch.ones(2), means, torch.ones_like(means), VP.named("linear"),
        labels=torch.arange(2), classes=("a", "b"),
    )  # fmt: skip
    save_mixture(made, tmp_path / "m")
    path = tmp_path / "m" / "mixture.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "classes": ["a"]}))
    with pytest.raises(UserError, match="names 1 classes, and its labels are more"):
        load_mixture(tmp_path / "m")
