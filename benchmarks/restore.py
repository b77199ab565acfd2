"""Restoration against deepinv's own DDRM, DiffPIR and DPS: the same network, operator, measurement
and images, PSNR and CPU seconds at equal evaluations, differences with their paired intervals.

Usage: python benchmarks/restore.py IMAGES [--model cifar10] [--count 32] [--noise 0.05]
       [--operators "mask(share=0.5); downsample(2)"] [--nfe 20,100] [--threads 1] [--json FILE]
       [--only "DDRM; hqs"]

IMAGES is a folder, zip or npz of test images. With --json each row is kept as it is made, and the
same command continues. deepinv imports packages that restoration does not use (torchvision,
natsort, …); where one is missing an empty module stands for it, here alone.

deepinv sees images in [0, 1], so its measurement is (y + A·1)/2 and its noise σ_n/2: the same
numbers. Its algorithms run as they are, on our operator: by its adjoint, and for DDRM by its
singular values. ``@`` gives one of ours a grid: deepinv's DDRM takes equal steps of σ̃ from 2, and
``@ deepinv`` is the grid of its DiffPIR, t = T(1 − √(i/(N − 1))), which ends at the last level
without asking the network there. The rows in :data:`SAME` are its algorithms with its settings.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import json
import sys
import time
import types
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.base.files import write_atomically
from diffdescent.base.statistics import plus_minus, student_mean
from diffdescent.core.model_info import info
from diffdescent.core.operators import Linear, parse_operator
from diffdescent.lab.restore.scores import psnr
from diffdescent.run.image_files import read_init
from diffdescent.run.inputs import digest
from diffdescent.run.problem import measure

SAME = {
    "DDRM": "ddrm(temperature=0.5) @ karras(start=2, rho=1)",
    "DiffPIR": "ddim(fresh=0.1) | threshold | diffpir(strength=3.5, zeta=0.1) @ deepinv",
}
"""deepinv's methods, and ours with their settings. Its DiffPIR's λ = 7 is 3.5 here: it takes σ_n in
[0, 1] and σ̃ in [−1, 1], which divides ρ by 4, and its proximal map doubles it."""
COLD = "ddrm(temperature=0) @ karras(start=2, rho=1)"
"""As the first of :data:`SAME`, without any noise in the steps."""
OWN = {"DDRM": COLD, "DiffPIR": "diffpir", "DPS": "dps", "DPS, annealed": "dps"}
"""Ours of the same kind as deepinv's, with our settings."""
OURS = (*SAME.values(), COLD, "diffpir", "hqs", "dps", "ddrm")
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


def grid_of(text: str, inv: Any, nfe: int, model: dd.Predictor) -> Any:
    """The grid of one of ours: None, a text, or that of deepinv's DiffPIR."""
    if text != "deepinv":
        return text or None
    seq = inv.sampling.DiffPIR(None, inv.optim.data_fidelity.L2(), max_iter=nfe).seq
    last = model.process.t_max
    return f"explicit(t={[last - float(i) for i in seq]})"


class Table:
    """The rows, each with the PSNR of every image; kept in a file as they are made, with what they
    are of: a file of other images, noise or model is refused."""

    def __init__(self, path: Path | None, of: dict[str, Any]) -> None:
        self.path, self.what = path, of
        self.rows: list[dict[str, Any]] = []
        if path is not None and path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["of"] != of:
                raise SystemExit(f"{path} is of {found['of']}, not of {of}; give another file.")
            self.rows = found["rows"]

    def of(self, operator: str, budget: int, who: str, method: str) -> dict[str, Any] | None:
        key = (operator, budget, who, method)
        known = (r for r in self.rows if (r["operator"], r["budget"], r["who"], r["method"]) == key)
        return next(known, None)

    def add(self, made: Callable[[], tuple[Tensor, int]], clean: Tensor, **key: Any) -> None:
        """Make a row that is missing, and print it."""
        row = self.of(**key)
        if row is None:
            begun = time.process_time()
            try:
                images, nfe = made()
            except Exception as error:  # a peer's failure is a result
                print(f"  {key['who']} {key['method']}: {type(error).__name__}: {error}"[:120])
                return
            seconds = time.process_time() - begun
            row = {**key, "nfe": nfe, "seconds": seconds, "psnr": psnr(images, clean).tolist()}
            self.rows.append(row)
            if self.path is not None:
                whole = {"of": self.what, "rows": self.rows}
                write_atomically(self.path, (json.dumps(whole) + "\n").encode())
        each = student_mean(np.array(row["psnr"]))
        print(
            f"  {row['who']:8} {row['method']:64} {row['nfe']:4d}  {plus_minus(each)} dB"
            f" {row['seconds']:7.1f} s", flush=True,
        )  # fmt: skip

    def difference(self, a: tuple[Any, ...], b: tuple[Any, ...]) -> str:
        """PSNR of row ``a`` less that of ``b``, image by image."""
        here, there = self.of(*a), self.of(*b)
        if here is None or there is None:
            return "not run"
        apart = np.array(here["psnr"]) - np.array(there["psnr"])
        return f"{plus_minus(student_mean(apart))} dB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--model", default="cifar10")
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--noise", type=float, default=0.05)
    parser.add_argument("--operators", default="mask(share=0.5); downsample(2)")
    parser.add_argument("--nfe", default="20,100")
    parser.add_argument("--only", default="", help="rows with one of these words; several with ;")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    model = dd.load_model(asked.model)
    model(torch.zeros(1, *(model.shape or ())), model.process.point(500.0))  # loaded in full
    inv = deepinv()
    clean = read_init(asked.images, (model.shape or (3,))[0])[: asked.count]
    words = [word.strip() for word in asked.only.split(";")]

    def chosen(name: str) -> bool:
        return any(word in name for word in words)

    what = {
        "model": asked.model, "fingerprint": info(model).fingerprint, "noise": asked.noise,
        "images": digest(clean),
    }  # fmt: skip
    table, budgets = Table(asked.json, what), [int(nfe) for nfe in asked.nfe.split(",")]
    for text in (part.strip() for part in asked.operators.split(";")):
        operator = parse_operator(text).bind(tuple(model.shape or ()))
        assert isinstance(operator, Linear)
        y = measure(operator, clean, asked.noise, 0, range(len(clean)))
        half = (y + operator.forward(torch.ones_like(clean))) / 2
        print(f"{text}, noise {asked.noise:g}, {len(clean)} images, deepinv {inv.__version__}")
        peers: list[str] = []
        for nfe in budgets:
            denoiser = Denoiser(model)

            def peer(method: Any, denoiser: Denoiser = denoiser, y: Tensor = half,
                     operator: Linear = operator) -> tuple[Tensor, int]:  # fmt: skip
                denoiser.asked = 0
                torch.manual_seed(0)
                found = method(y, physics_of(inv, operator, asked.noise)).detach()
                return found * 2 - 1, denoiser.asked

            def own(name: str, nfe: int = nfe, y: Tensor = y,
                    operator: Linear = operator) -> tuple[Tensor, int]:  # fmt: skip
                method, _, grid = (part.strip() for part in name.partition("@"))
                made = dd.restore(
                    model, y, operator, noise=asked.noise, method=method, nfe=nfe,
                    grid=grid_of(grid, inv, nfe, model), micro_batch=len(clean),
                )  # fmt: skip
                return made.images[:, 0], made.plan.nfe

            place = {"operator": text, "budget": nfe}
            for name, method in theirs(inv, denoiser, nfe):
                peers = list(dict.fromkeys((*peers, name)))
                if chosen(name):
                    table.add(partial(peer, method), clean, **place, who="deepinv", method=name)
            for name in filter(chosen, OURS):
                table.add(partial(own, name), clean, **place, who="ours", method=name)
        print("  ours less deepinv's: the same algorithm and settings, then our own settings")
        for nfe in budgets:
            for name, ours in (*SAME.items(), *OWN.items()):
                found = table.difference((text, nfe, "ours", ours), (text, nfe, "deepinv", name))
                print(f"    {ours:64} {name:14} at {nfe:4d}  {found}")
        print(f"  ours at {budgets[0]} less deepinv's at {budgets[-1]}:")
        for ours in OURS:
            for name in peers:
                found = table.difference(
                    (text, budgets[0], "ours", ours), (text, budgets[-1], "deepinv", name)
                )
                print(f"    {ours:64} {name:14} {found}")


if __name__ == "__main__":
    main()
