"""From a checkpoint file to a model folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from diffdescent.base.errors import UserError, unknown

from .containers import read_state
from .folder import require_new, write_folder
from .settings import PUBLISHED, Settings, count_parameters, digest
from .translate import TRANSLATIONS


@dataclass(frozen=True)
class Converted:
    """What :func:`convert` wrote: the folder, the settings, how many parameters."""

    folder: Path
    settings: Settings
    parameters: int


_FAMILIES: tuple[tuple[str, Callable[[frozenset[str]], bool]], ...] = (
    ("edm", lambda names: any(n.startswith("model.map_layer0") for n in names)),
    ("score_sde", lambda names: any(n.startswith("all_modules.") for n in names)),
    ("ddpm_torch", lambda names: any(n.startswith("downsamples.level_") for n in names)),
    ("ddim", lambda names: "temb.dense.0.weight" in names),
    ("glide", lambda names: "transformer_proj.weight" in names),
    ("clip", lambda names: "blocks.input.w_pos" in names),
    ("adm", lambda names: "time_embed.0.weight" in names),
)


def family_of(names: frozenset[str]) -> str | None:
    """Whose names these tensors have; None where nobody's."""
    return next((family for family, fits in _FAMILIES if fits(names)), None)


def recognise(shapes: Mapping[str, tuple[int, ...]], file: str = "") -> Settings:
    """The settings of a published checkpoint, by the names and shapes of its tensors.

    Where two have the same tensors, the ``file``'s name decides; otherwise it must be said.

    Raises:
        UserError: where it is not a published one, or several fit that sample differently.
    """
    found = {n: p for n, p in PUBLISHED.items() if p.digest == digest(shapes)}
    if not found:
        family = family_of(frozenset(shapes))
        if family is None:
            raise UserError(
                "The tensors' names are of no network that is known (first:"
                f" {min(shapes, default='none')!r}); for a diffusers checkpoint give its folder to"
                " the command itself."
            )
        raise UserError(
            f"This is a checkpoint of the family {family!r}, but not one of the published ones"
            f" ({len(shapes)} tensors); describe its network with --config FILE.json, as in"
            " docs/checkpoints.md."
        )
    named = {n: p for n, p in found.items() if any(Path(f).name == file for f in p.files)}
    chosen = named or found
    first = next(iter(chosen.values())).settings
    if any(_meaning(p.settings) != _meaning(first) for p in chosen.values()):
        raise UserError(
            f"The same tensors belong to {' and '.join(chosen)}, which are sampled differently; say"
            " which one it is with --format."
        )
    return first


def _meaning(settings: Settings) -> object:
    return (
        settings.network,
        settings.options,
        settings.process,
        settings.time_scale,
        settings.learned_variance,
    )


def place(state: dict[str, Tensor], settings: Settings) -> dict[str, Tensor]:
    """The tensors under our network's names; every one of them has its place, and none is missing.

    Raises:
        UserError: that names the first tensors that are missing, left over or of another shape.
    """
    network = settings.build("meta")
    own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    placed = TRANSLATIONS[settings.family](state, network)
    missing = sorted(own.keys() - placed.keys())
    over = sorted(placed.keys() - own.keys())
    other = [k for k in sorted(own.keys() & placed.keys()) if tuple(placed[k].shape) != own[k]]
    if missing or over or other:
        problems = [
            f"{len(names)} {what}, first {names[0]!r}"
            for names, what in (
                (missing, "tensors are missing"),
                (over, "are left over"),
                (other, "have another shape"),
            )
            if names
        ]
        raise UserError(
            f"The checkpoint does not fit {settings.name or settings.network}:"
            f" {'; '.join(problems)}. Name another one with --format, or describe the network with"
            " --config."
        )
    return placed


def convert(
    checkpoint: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    settings: Settings | None = None,
    weights: str = "auto",
    half: bool = False,
) -> Converted:
    """Write a published checkpoint as a model folder that ``load_model`` opens.

    Args:
        checkpoint: a ``.pt``, ``.pth``, ``.ckpt`` or ``.safetensors`` file; nothing in it is run.
        out: the folder, which must not exist or be empty.
        name: which published checkpoint it is (a key of :data:`PUBLISHED`); None recognises it.
        settings: those of a checkpoint that is not published.
        weights: ``"ema"``, ``"model"`` or ``"auto"`` (the average where there is one).
        half: store float16.

    Raises:
        UserError: what :func:`~.containers.read_state`, :func:`recognise` and :func:`place` refuse,
            and a folder that holds something else.
    """
    source, folder = Path(checkpoint), Path(out)
    require_new(folder)
    if name is not None and name not in PUBLISHED:
        raise unknown("published checkpoint", name, PUBLISHED)
    state = read_state(source, weights)
    if settings is None:
        settings = (
            PUBLISHED[name].settings
            if name is not None
            else recognise({k: tuple(v.shape) for k, v in state.items()}, source.name)
        )
    placed = place(state, settings)
    dtype = torch.float16 if half else torch.float32
    stored = {k: v.to(dtype).contiguous() for k, v in placed.items()}
    write_folder(folder, settings, stored)
    return Converted(folder, settings, count_parameters(settings.build("meta")))
