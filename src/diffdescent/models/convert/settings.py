"""What must be known of a checkpoint besides its weights: network, process, labels."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.process import VE, VP, Process, VPContinuous
from diffdescent.models import networks

NETWORKS: Mapping[str, type[nn.Module]] = {
    name: getattr(networks, name) for name in networks.__all__
}
FAMILIES = ("adm", "clip", "ddim", "ddpm_torch", "edm", "glide", "score_sde")
"""Whose names the tensors have: guided- and improved-diffusion, GLIDE's CLIP, the DDIM code,
ddpm-torch, EDM, GLIDE, and the score-SDE code as PNDM uses it."""
PROCESSES = ("edm", "ve", "vp", "vp_continuous")


@dataclass(frozen=True)
class Settings:
    """A checkpoint's settings, JSON-safe.

    ``family`` says how the tensors of the file are named, ``network`` and ``options`` what they are
    loaded into. ``shape`` is (C, H, W) of one image. ``process`` is ``{"kind": "vp", "schedule": …,
    "steps": …, "start": …, "end": …}``, ``{"kind": "vp_continuous", "beta_min": …, "beta_max":
    …}``, ``{"kind": "edm", "sigma_data": …}`` or ``{"kind": "ve"}`` (score-SDE's: the network gives
    −ε and is given log(σ/2)). The network is given ``time_scale``·t.
    """

    family: str
    network: str
    options: Mapping[str, Any]
    shape: tuple[int, ...] | None = None
    process: Mapping[str, Any] = field(default_factory=lambda: {"kind": "vp"})
    time_scale: float = 1.0
    learned_variance: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise unknown("checkpoint family", str(self.family), FAMILIES)
        if self.network not in NETWORKS:
            raise unknown("network", str(self.network), NETWORKS)
        kind = self.process.get("kind") if isinstance(self.process, Mapping) else None
        if kind not in PROCESSES:
            raise unknown("process kind", str(kind), PROCESSES)
        scale = self.time_scale
        if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 < scale < 1e9:
            raise UserError(f"time_scale must be a positive number, not {scale!r}; 1 is usual.")

    @property
    def classes(self) -> int | None:
        """How many labels the network knows."""
        found = self.options.get("num_classes") or self.options.get("label_dim")
        return int(found) if found else None

    def build(self, device: str = "cpu") -> nn.Module:
        """The network without its weights; on ``"meta"`` it takes no memory.

        Raises :class:`UserError` for options that its constructor refuses.
        """
        try:
            with torch.device(device):
                return NETWORKS[self.network](**self.options)
        except (TypeError, ValueError, RuntimeError, ZeroDivisionError, IndexError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"The network {self.network} refuses these options ({first}); compare with an entry"
                " of docs/checkpoints.md."
            ) from error

    def make_process(self) -> Process:
        """The forward process. Raises :class:`UserError` for values that make none."""
        values = {k: v for k, v in self.process.items() if k != "kind"}
        kinds: dict[str, Callable[..., Process]] = {
            "vp": VP.named,
            "vp_continuous": VPContinuous,
            "edm": lambda sigma_data=0.5, sigma_min=0.002, sigma_max=80.0: VE(sigma_min, sigma_max),
            "ve": lambda sigma_min=0.02, sigma_max=100.0: VE(sigma_min, sigma_max),
        }
        try:
            return kinds[self.process["kind"]](**values)
        except (TypeError, ValueError) as error:
            raise UserError(
                f"The process {dict(self.process)} cannot be made ({error}); compare with an entry"
                " of docs/checkpoints.md."
            ) from error

    def to_json(self) -> dict[str, Any]:
        """What :func:`settings_from` reads back."""
        return {
            "family": self.family,
            "network": self.network,
            "options": dict(self.options),
            "shape": None if self.shape is None else list(self.shape),
            "process": dict(self.process),
            "time_scale": self.time_scale,
            "learned_variance": self.learned_variance,
            "name": self.name,
        }


def settings_from(values: object, where: str) -> Settings:
    """Settings from plain values, as in a JSON file.

    Raises :class:`UserError` that names ``where`` and what is missing, unknown or of another type.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{where} must hold an object with family, network and options.")
    known = set(Settings.__dataclass_fields__)
    wrong = sorted(set(values) - known - {"format", "version"})
    if wrong:
        raise UserError(f"{where} has an unknown entry {wrong[0]!r}; known: {', '.join(known)}.")
    missing = [k for k in ("family", "network", "options") if k not in values]
    if missing:
        raise UserError(f"{where} lacks {missing[0]!r}; it needs family, network and options.")
    given = {k: v for k, v in values.items() if k in known}
    for name in ("options", "process"):
        if name in given and not isinstance(given[name], Mapping):
            raise UserError(f"{where}: {name} must be an object, not {given[name]!r}.")
    shape = given.get("shape")
    if shape is not None:
        if not _is_shape(shape):
            raise UserError(f"{where}: shape must be [channels, height, width], not {shape!r}.")
        given["shape"] = tuple(shape)
    return Settings(**given)


def _is_shape(value: object) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) == 3
        and all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in value)
    )


def digest(shapes: Mapping[str, Sequence[int]]) -> str:
    """A hash of all tensors' names and shapes."""
    text = "\n".join(f"{k} {','.join(map(str, shapes[k]))}" for k in sorted(shapes))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Published:
    """A published checkpoint: its settings, the names of its files, the hash of its tensors' names
    and shapes, and how many parameters it has."""

    settings: Settings
    files: tuple[str, ...]
    digest: str
    parameters: int


def _read_published() -> dict[str, Published]:
    path = Path(__file__).with_name("published.json")
    found: dict[str, Published] = {}
    for name, entry in json.loads(path.read_text(encoding="utf-8")).items():
        files, hashed, count = (entry.pop(k) for k in ("files", "digest", "parameters"))
        settings = settings_from({**entry, "name": name}, f"the entry {name}")
        found[name] = Published(settings, tuple(files), hashed, count)
    return found


PUBLISHED: Mapping[str, Published] = _read_published()
"""The checkpoints that are recognised without being asked for, by name."""


def count_parameters(network: nn.Module) -> int:
    """How many numbers a network has learned."""
    return sum(math.prod(p.shape) for p in network.parameters())
