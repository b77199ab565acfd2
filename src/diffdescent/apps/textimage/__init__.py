"""Text to image: any local diffusers pipeline folder, sampled by a recipe, image i of a seed being
one image.

The pipeline runs unmodified but for its scheduler. Everything that it draws for an image comes from
a generator that belongs to (seed, index), and it is always called with the same number of prompts,
so an image depends neither on the batch that it was made in nor on which others are made.
"""

from .folder import is_pipeline, wants_prompt
from .loading import load
from .model import TextToImage, generator_for

__all__ = ["TextToImage", "generator_for", "is_pipeline", "load", "wants_prompt"]
