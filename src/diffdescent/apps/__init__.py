"""Front ends: the command line, diffusers, k-diffusion, ComfyUI and text to image."""
