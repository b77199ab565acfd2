"""Networks that are asked with more than x and t: a small image to enlarge, GLIDE's tokens, what
an inpainting network keeps."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from diffdescent.base.errors import UserError
from diffdescent.base.hashes import arrays_hash, json_hash
from diffdescent.core.network import Network

from .folder import denoiser, read_settings
from .settings import Settings


@dataclass(frozen=True, eq=False)
class Inputs:
    """K questions; label k of the model that :func:`load_with_inputs` makes asks the k-th.

    Args:
        low_res: small images (K, C, h, w) in [−1, 1], for super-resolution.
        classes: a class for each (K,), for class-conditional super-resolution.
        tokens: of GLIDE's texts (K, text_ctx), int64, by GLIDE's own tokenizer.
        mask: which tokens are real (K, text_ctx), bool; None: all of them.
        inpaint_image: images (K, C, H, W) in [−1, 1] of which an inpainting network keeps a part.
        inpaint_mask: 1 where they are kept (K, 1, H, W).

    Raises:
        UserError: nothing given, and entries of other numbers than one another's.
    """

    low_res: Tensor | None = None
    classes: Tensor | None = None
    tokens: Tensor | None = None
    mask: Tensor | None = None
    inpaint_image: Tensor | None = None
    inpaint_mask: Tensor | None = None

    def __post_init__(self) -> None:
        counts = {len(t) for t in self.given.values()}
        if len(counts) != 1 or not min(counts):
            raise UserError(
                "Give low_res, classes, tokens, mask or inpaint_image, one entry of each for every"
                f" question, not {sorted(counts)}."
            )
        if (self.inpaint_image is None) != (self.inpaint_mask is None):
            raise UserError("Give inpaint_image and inpaint_mask together, or neither.")

    @property
    def given(self) -> dict[str, Tensor]:
        """Those that are not None, by name."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in found.items() if value is not None}

    def __len__(self) -> int:
        return len(next(iter(self.given.values())))

    def chosen(self, labels: Tensor) -> dict[str, Tensor]:
        """What the questions of ``labels`` hold; of −1 an empty text, and of the rest the first."""
        at = labels.clamp(min=0)
        found = {name: value.to(at.device)[at] for name, value in self.given.items()}
        if "tokens" in found:
            mask = found.get("mask", torch.ones_like(found["tokens"], dtype=torch.bool))
            found["mask"] = mask & (labels >= 0)[:, None]
        return found

    def identity(self) -> str:
        """A short name of their content."""
        given = self.given
        values = arrays_hash(*(value.cpu().numpy() for value in given.values()))
        return json_hash([*given, values], 16)


class _Asked:
    """The network as ``module(x, t, labels)``, with what the labels stand for."""

    def __init__(self, network: nn.Module, inputs: Inputs) -> None:
        self.network, self.inputs = network, inputs

    def __call__(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        asked = torch.full((len(x),), -1, device=x.device) if labels is None else labels
        found = self.inputs.chosen(asked)
        if "classes" in found:
            found["labels"] = found.pop("classes")
        out: Tensor = self.network(x, t, **found)
        return out


def load_with_inputs(folder: str | Path, inputs: Inputs, device: str | None = None) -> Network:
    """Super-resolution (guided- and improved-diffusion) or GLIDE as an ordinary model: ``sample``,
    ``compare``, ``calibrate`` and guidance take it, and label k is the k-th of ``inputs``.

    GLIDE's label −1 is the empty text, so that ``cfg`` works on its base; a network that enlarges
    needs its label. An inpainting network without ``inpaint_image`` sees nothing that is kept.

    Args:
        folder: of a converted checkpoint.
        inputs: what the labels stand for.
        device: "cpu", "cuda" or "mps".

    Returns:
        The model.

    Raises:
        UserError: a damaged folder, a network that takes no such inputs, and inputs that it lacks.
    """
    settings = settings_for(folder, inputs)
    found = denoiser(Path(folder), settings, device, lambda network: _Asked(network, inputs))
    assert isinstance(found, Network)
    return replace(
        found,
        label_count=len(inputs),
        needs_label=bool(settings.options.get("low_res")),
        fingerprint=f"{found.fingerprint}+{inputs.identity()}",
    )


def settings_for(folder: str | Path, inputs: Inputs) -> Settings:
    """The settings of the network in ``folder``, which is not loaded.

    Raises:
        UserError: a network that takes no such inputs, inputs that it lacks, and values that it
            does not know.
    """
    settings = read_settings(Path(folder))
    text, small = settings.network == "GLIDEUNet", bool(settings.options.get("low_res"))
    if not (text or small):
        raise UserError(
            f"{str(folder)!r} needs neither a small image nor a text; load it as it is, with"
            " load_model."
        )
    for name, wanted in (("tokens", text), ("low_res", small)):
        if wanted == (getattr(inputs, name) is None):
            raise UserError(
                f"{str(folder)!r} holds a {settings.network} that"
                f" {'needs' if wanted else 'takes no'} {name}; see"
                " diffdescent.models.convert.Inputs."
            )
    if inputs.inpaint_image is not None and not settings.options.get("inpaint"):
        raise UserError(f"{str(folder)!r} does not inpaint; leave inpaint_image out.")
    if (settings.classes is not None) == (inputs.classes is None):
        raise UserError(
            f"{str(folder)!r} knows {settings.classes or 'no'} classes; give classes= for one that"
            " does, and leave it out for one that does not."
        )
    _check_values(settings, inputs)
    return settings


def _check_values(settings: Settings, inputs: Inputs) -> None:
    """Refuse what the network would fail on with an error of its own."""
    for name, values, count in (
        ("classes", inputs.classes, settings.classes),
        ("tokens", inputs.tokens, settings.options.get("n_vocab")),
    ):
        if values is None:
            continue
        if values.dtype != torch.int64:
            raise UserError(f"The {name} are whole numbers (int64), not {values.dtype}.")
        if not 0 <= int(values.min()) <= int(values.max()) < int(count or 0):
            raise UserError(
                f"The {name} go from {int(values.min())} to {int(values.max())}, and the network"
                f" knows 0 … {int(count or 0) - 1}."
            )
    length = settings.options.get("text_ctx")
    for name in ("tokens", "mask"):
        values = inputs.given.get(name)
        if values is not None and values.shape[1:] != (length,):
            raise UserError(
                f"The {name} have shape {tuple(values.shape)}, and the network reads {length} of"
                " each text."
            )
    channels = int(settings.options.get("in_channels", 3))
    for name, wanted in (("low_res", channels), ("inpaint_image", channels), ("inpaint_mask", 1)):
        values = inputs.given.get(name)
        if values is not None and (values.ndim != 4 or values.shape[1] != wanted):
            raise UserError(
                f"{name} has shape {tuple(values.shape)}; expected (K, {wanted}, H, W)."
            )
