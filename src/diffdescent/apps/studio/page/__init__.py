"""The page: a tab a module, over fields whose values are the state. Needs Gradio (extra
``studio``)."""

from .build import build

__all__ = ["build"]
