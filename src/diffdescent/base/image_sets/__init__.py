"""Images from a folder, a zip or an npz, as one uint8 tensor with labels.

The three layouts that people already have:

- a **folder**, read recursively; when every image lies in a subfolder, the name of its top-level
  subfolder is its class;
- a **zip** of the same shape (``CLASS/0001.jpg``), decoded in memory and never extracted to disk;
- an **npz** with ``arr_0`` (uint8, NHWC or NHW) and optionally ``arr_1`` (one label per image), the
  layout of the guided-diffusion evaluation files, or with a single array ``images``.
"""

from .image_set import ImageSet
from .listing import SUFFIXES
from .reading import read_images, stream_images

__all__ = ["SUFFIXES", "ImageSet", "read_images", "stream_images"]
