"""diffdescent's nodes for ComfyUI: copy or link this folder into ComfyUI/custom_nodes."""

from diffdescent.apps.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
