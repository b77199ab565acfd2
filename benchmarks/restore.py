"""Restoration against deepinv's own DDRM, DiffPIR and DPS: the same network, operator, measurement
and number of images, PSNR and seconds at equal evaluations.

Usage: python benchmarks/restore.py IMAGES [--model cifar10] [--count 6] [--noise 0.05]
       [--operators "mask(share=0.5); downsample(2)"] [--nfe 20,100] [--threads 1] [--json FILE]

IMAGES is a folder, zip or npz of test images. deepinv imports packages that restoration does not
use (torchvision, natsort, …); where one is missing an empty module stands for it, here alone.

deepinv sees images in [0, 1], so its measurement is (y + A·1)/2 and its noise σ_n/2: the same
numbers. Its algorithms run as they are, on our operator: by its adjoint, and for DDRM by its
singular values. ``@`` gives one of ours a grid; deepinv's DDRM begins at σ̃ = 2.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import json
import math
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.core.operators import Linear, parse_operator
from diffdescent.lab.restore.scores import psnr
from diffdescent.run.image_files import read_init
from diffdescent.run.problem import measure

OURS = (
    "ddrm",
    "ddrm(temperature=0.5) @ karras(start=2)",
    "ddim | ddrm",
    "diffpir",
    "diffpir(strength=7, zeta=0.1)",
    "hqs",
    "dps",
    "dps(size=paper)",
    "mmps",
)
UNUSED = ("torchvision", "natsort", "einops", "h5py", "hdf5storage")


class _Empty(types.ModuleType):
    """A module in which every name is an empty class."""

    __path__: list[str] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Empty modules for :data:`UNUSED`, where they are not installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] not in UNUSED:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> _Empty:
        return _Empty(spec.name)

    def exec_module(self, module: Any) -> None:
        pass


def deepinv() -> Any:
    """deepinv; the stand-ins serve its import alone, so that others do not meet them."""
    finder = _Absent()
    sys.meta_path.append(finder)
    try:
        import deepinv
    finally:
        sys.meta_path.remove(finder)
    return deepinv


class Denoiser(torch.nn.Module):
    """Our model as deepinv asks for one: x + σn in [0, 1] ↦ x. It counts what it is asked."""

    def __init__(self, model: dd.Predictor) -> None:
        super().__init__()
        self.model, self.asked = model, 0
        times = range(int(model.process.t_min), int(model.process.t_max) + 1)
        self.points = [model.process.point(t) for t in times]
        self.ratios = np.array([point.ratio for point in self.points])

    def forward(self, x: Tensor, sigma: Any, **unused: Any) -> Tensor:
        level = 2 * float(torch.as_tensor(sigma).flatten()[0])
        point = self.points[int(np.abs(self.ratios - level).argmin())]
        state = (2 * x.float() - 1) * point.alpha
        self.asked += 1
        return ((self.model(state, point).to("x0", state) + 1) / 2).to(x.dtype)


def physics_of(inv: Any, operator: Linear, noise: float) -> Any:
    """Our operator as deepinv's physics, with what its DDRM reads of a decomposition."""
    found = inv.physics.LinearPhysics(
        A=lambda x, **_: operator.forward(x.float()).to(x.dtype),
        A_adjoint=lambda y, **_: operator.adjoint(y.float()).to(y.dtype),
        noise_model=inv.physics.GaussianNoise(noise / 2),
    )
    if operator.has_svd:
        found.mask = operator.singular.expand(operator.in_shape)[None]
        found.U_adjoint = lambda y: operator.to_spectral(operator.pinv(y)) * operator.singular
        found.V, found.V_adjoint = operator.from_spectral, operator.to_spectral
    return found


def theirs(inv: Any, denoiser: Denoiser, nfe: int) -> Iterator[tuple[str, Callable[..., Tensor]]]:
    """deepinv's methods at ``nfe`` evaluations, with the settings that they come with."""
    sampling = inv.sampling
    fidelity = inv.optim.data_fidelity.L2()
    # Its DDRM begins at σ = 1 of [0, 1], which is 2 of [−1, 1].
    yield "DDRM", sampling.DDRM(denoiser, sigmas=np.linspace(1, 0, nfe))
    yield "DiffPIR", sampling.DiffPIR(denoiser, fidelity, max_iter=nfe)
    yield "DPS", sampling.DPS(denoiser, num_steps=nfe, dtype=torch.float32)
    yield (
        "DPS, annealed",
        sampling.DPS(denoiser, num_steps=nfe, guidance="annealed", dtype=torch.float32),
    )


def row(who: str, method: str, nfe: int, found: Tensor, clean: Tensor, seconds: float) -> dict:
    values = psnr(found, clean).numpy()
    half = 1.96 * values.std(ddof=1) / math.sqrt(len(values))
    print(f"  {who:8} {method:32} {nfe:4d}  {values.mean():6.2f} ± {half:.2f} dB {seconds:7.2f} s")
    return {"who": who, "method": method, "nfe": nfe, "psnr": float(values.mean()),
            "half": float(half), "seconds": seconds}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--model", default="cifar10")
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--noise", type=float, default=0.05)
    parser.add_argument("--operators", default="mask(share=0.5); downsample(2)")
    parser.add_argument("--nfe", default="20,100")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    model = dd.load_model(asked.model)
    model(torch.zeros(1, *(model.shape or ())), model.process.point(500.0))  # loaded in full
    inv = deepinv()
    clean = read_init(asked.images, (model.shape or (3,))[0])[: asked.count]
    rows = []
    for text in (part.strip() for part in asked.operators.split(";")):
        operator = parse_operator(text).bind(tuple(model.shape or ()))
        assert isinstance(operator, Linear)
        y = measure(operator, clean, asked.noise, 0, range(len(clean)))
        half = (y + operator.forward(torch.ones_like(clean))) / 2
        print(f"{text}, noise {asked.noise:g}, {len(clean)} images, deepinv {inv.__version__}")
        for nfe in map(int, asked.nfe.split(",")):
            denoiser = Denoiser(model)
            for name, method in theirs(inv, denoiser, nfe):
                denoiser.asked, begun = 0, time.perf_counter()
                torch.manual_seed(0)
                try:
                    found = method(half, physics_of(inv, operator, asked.noise)).detach()
                except Exception as error:  # a peer's failure is a result
                    print(f"  deepinv  {name}: {type(error).__name__}: {str(error)[:90]}")
                    continue
                seconds = time.perf_counter() - begun
                one = row("deepinv", name, denoiser.asked, found * 2 - 1, clean, seconds)
                rows.append({"operator": text, "budget": nfe, **one})
            for name in OURS:
                begun = time.perf_counter()
                method, _, grid = (part.strip() for part in name.partition("@"))
                made = dd.restore(
                    model, y, operator, noise=asked.noise, method=method, nfe=nfe,
                    grid=grid or None, micro_batch=len(clean),
                )  # fmt: skip
                seconds = time.perf_counter() - begun
                one = row("ours", name, made.plan.nfe, made.images[:, 0], clean, seconds)
                rows.append({"operator": text, "budget": nfe, **one})
    if asked.json is not None:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
