"""The engine behind other libraries' interfaces: diffusers, k-diffusion, ComfyUI, text to image."""
