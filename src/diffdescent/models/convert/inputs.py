"""Networks that are asked with more than x and t: a small image to enlarge, GLIDE's tokens, what
an inpainting network keeps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType

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
        found = {name: value[at] for name, value in self.given.items()}
        if "tokens" in found:
            mask = found.get("mask", torch.ones_like(found["tokens"], dtype=torch.bool))
            found["mask"] = mask & (labels >= 0)[:, None]
        return found

    @property
    def kept_differs(self) -> bool:
        """Whether different labels keep different parts of images."""
        kept = (value for value in (self.inpaint_image, self.inpaint_mask) if value is not None)
        return any(bool((value != value[:1]).any()) for value in kept)

    def to(self, device: torch.device) -> Inputs:
        """The same on a device."""
        return Inputs(**{name: value.to(device) for name, value in self.given.items()})

    def identity(self) -> str:
        """A short name of their content."""
        given = self.given
        values = arrays_hash(*(value.cpu().numpy() for value in given.values()))
        return json_hash([*given, values], 16)


class _Asked:
    """The network as ``module(x, t, labels)``, with what the labels stand for."""

    def __init__(self, network: nn.Module, inputs: Inputs) -> None:
        self.network, self.inputs = network, inputs.to(next(network.parameters()).device)

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
    needs its label, and so does one that keeps another part of an image for each label: −1 does not
    say which. An inpainting network without ``inpaint_image`` sees nothing that is kept.

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
        needs_label=inputs.low_res is not None or inputs.kept_differs,
        fingerprint=f"{found.fingerprint}+{inputs.identity()}",
    )


def settings_for(folder: str | Path, inputs: Inputs) -> Settings:
    """The settings of the network in ``folder``, which is not loaded.

    Raises:
        UserError: a network that takes no such inputs, inputs that it lacks, and values that it
            does not know.
    """
    settings = read_settings(Path(folder))
    check_taken(folder, settings, inputs.given)
    _check_values(settings, inputs)
    return settings


def check_taken(
    folder: str | Path,
    settings: Settings,
    given: Collection[str],
    called: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Raise :class:`UserError` where the network in ``folder`` takes other inputs than those
    ``given`` by name; ``called`` is what the caller calls them."""
    text, small = settings.network == "GLIDEUNet", bool(settings.options.get("low_res"))
    if not (text or small):
        raise UserError(
            f"{str(folder)!r} needs neither a small image nor a text; load it as it is, with"
            " load_model."
        )
    known = settings.classes
    # An image to keep may be given or not (None) where the network inpaints.
    for name, wanted, what in (
        ("tokens", text, "a text"),
        ("low_res", small, "a small image"),
        ("classes", known is not None, f"one of {known} classes" if known else "a class"),
        ("inpaint_image", None if settings.options.get("inpaint") else False, "an image to keep"),
    ):
        if wanted is not None and wanted != (name in given):
            raise UserError(
                f"The {settings.network} in {str(folder)!r} is asked"
                f" {'with' if wanted else 'without'} {what};"
                f" {'give' if wanted else 'leave out'} {called.get(name, name)}."
            )


def _check_values(settings: Settings, inputs: Inputs) -> None:
    """Refuse what the network would fail on with an error of its own."""
    for name, values, count in (
        ("classes", inputs.classes, settings.classes),
        ("tokens", inputs.tokens, settings.options.get("n_vocab")),
    ):
        if values is None:
            continue
        _check_type(name, values, torch.int64)
        if not 0 <= int(values.min()) <= int(values.max()) < int(count or 0):
            raise UserError(
                f"The {name} go from {int(values.min())} to {int(values.max())}, and the network"
                f" knows 0 … {int(count or 0) - 1}."
            )
    if inputs.mask is not None:
        _check_type("mask", inputs.mask, torch.bool)
        if inputs.tokens is None:
            raise UserError("mask says which tokens are real; give tokens, or leave it out.")
    length = settings.options.get("text_ctx")
    for name in ("tokens", "mask"):
        values = inputs.given.get(name)
        if values is not None and values.shape[1:] != (length,):
            raise UserError(
                f"The {name} have shape {tuple(values.shape)}, and the network reads {length} of"
                " each text."
            )
    channels = int(settings.options.get("in_channels", 3))
    own = None if settings.shape is None else tuple(settings.shape[-2:])
    for name, depth, sides in (
        ("low_res", channels, None),
        ("inpaint_image", channels, own),
        ("inpaint_mask", 1, own),
    ):
        values = inputs.given.get(name)
        if values is None:
            continue
        _check_type(name, values, torch.float32)
        fits = values.ndim == 4 and values.shape[1] == depth
        if not fits or (sides is not None and values.shape[2:] != sides):
            height, width = sides or ("h", "w")
            raise UserError(
                f"{name} has shape {tuple(values.shape)}; expected (K, {depth}, {height}, {width})."
            )


def _check_type(name: str, values: Tensor, dtype: torch.dtype) -> None:
    if values.dtype != dtype:
        raise UserError(f"{name} is of {values.dtype}; give {dtype}.")
