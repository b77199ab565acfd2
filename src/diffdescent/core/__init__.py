"""Diffusion sampling itself: processes, grids, solvers, transforms, the executor and the text of
recipes."""
