"""The networks of published checkpoints: three U-Net families and GLIDE's noise-aware CLIP.

Modules are named as the tensors of the published files, so that most state dicts load as they are.
"""

from .adm import ADMClassifier, ADMUNet
from .clip import CLIPImageEncoder, CLIPTextEncoder
from .ddpm import DDPMUNet
from .edm import DhariwalUNet, SongUNet
from .glide import GLIDEUNet

__all__ = [
    "ADMClassifier",
    "ADMUNet",
    "CLIPImageEncoder",
    "CLIPTextEncoder",
    "DDPMUNet",
    "DhariwalUNet",
    "GLIDEUNet",
    "SongUNet",
]
