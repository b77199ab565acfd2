"""A network with its inputs as a folder of its own, which every command takes as a model.

``config.json`` says where the network's folder is and what the labels are called,
``inputs.safetensors`` holds what they stand for (:class:`~.inputs.Inputs`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from diffdescent.base.errors import UserError
from diffdescent.base.files import make_folder, write_atomically
from diffdescent.base.reading import read_json
from diffdescent.core.network import Network
from diffdescent.models.weight_files import read_tensors, write_tensors

from .folder import require_new
from .inputs import Inputs, load_with_inputs, settings_for

FORMAT, VERSION = "diffdescent-conditioned", 1
CONFIG, TENSORS = "config.json", "inputs.safetensors"


def write_conditioned(
    out: str | Path, network: str | Path, inputs: Inputs, names: Sequence[str]
) -> None:
    """Write a folder whose label k asks ``network`` with the k-th of ``inputs``.

    The network's weights stay where they are and are not read; the folder names their place,
    relative to itself.

    Args:
        out: the folder, new or empty.
        network: the folder of a converted checkpoint.
        inputs: what the labels stand for.
        names: what the labels are called, one each.

    Raises:
        UserError: inputs that do not fit the network, another number of names, and a folder that
            holds something.
    """
    out = Path(out)
    settings_for(network, inputs)
    if len(names) != len(inputs):
        raise UserError(f"There are {len(inputs)} labels and {len(names)} names; give one each.")
    require_new(out)
    config = {
        "format": FORMAT,
        "version": VERSION,
        "network": _place(Path(network).resolve(), out.resolve()),
        "names": list(names),
    }
    text = json.dumps(config, indent=2) + "\n"  # in ASCII: file names may be no Unicode
    make_folder(out)
    write_tensors(out / TENSORS, inputs.given)
    write_atomically(out / CONFIG, text.encode())  # last: a folder with a config is whole


def _place(network: Path, folder: Path) -> str:
    """Where the network is, seen from the folder; on another drive of Windows by its whole path."""
    try:
        return os.path.relpath(network, folder)
    except ValueError:
        return str(network)


def load_conditioned(folder: str | Path, device: str | None = None) -> Network:
    """The model of a folder that :func:`write_conditioned` wrote.

    Raises :class:`UserError` for a damaged folder, and where its network is no longer there.
    """
    folder = Path(folder)
    path = folder / CONFIG
    found = read_json(path)
    config: Any = found if isinstance(found, dict) else {"version": VERSION}
    if config.get("version") != VERSION:
        raise UserError(
            f"{path} is of version {config.get('version')!r}, and this program reads {VERSION};"
            " update diffdescent, or write the folder again with `diffdescent condition`."
        )
    place, names = config.get("network"), config.get("names")
    tensors = read_tensors(folder / TENSORS)
    known = {one.name for one in fields(Inputs)}
    whole = isinstance(place, str) and isinstance(names, list) and tensors.keys() <= known
    inputs = Inputs(**tensors) if whole else None
    if inputs is None or len(names) != len(inputs) or not all(isinstance(n, str) for n in names):
        raise UserError(
            f"{folder} does not hold what `diffdescent condition` writes; write it again."
        )
    network = folder.resolve() / place
    if not network.is_dir():
        raise UserError(
            f"The network of {folder} is not at {network}; move it back, or write the folder again"
            " with `diffdescent condition`."
        )
    model = load_with_inputs(network, inputs, device)
    return replace(model, name=folder.name, classes=tuple(names))
