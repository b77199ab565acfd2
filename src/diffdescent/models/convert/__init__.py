"""Published checkpoints as model folders: the file is recognised by its tensors' names and shapes,
its weights get our networks' names, and what it says of process and labels is written next to
them."""

from .convert import Converted, convert, recognise
from .folder import load_converted, load_module, read_settings
from .inputs import Inputs, load_with_inputs
from .settings import PUBLISHED, Settings

__all__ = [
    "PUBLISHED",
    "Converted",
    "Inputs",
    "Settings",
    "convert",
    "load_converted",
    "load_module",
    "load_with_inputs",
    "read_settings",
    "recognise",
]
