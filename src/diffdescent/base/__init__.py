"""What every layer uses: errors, files, statistics, the choice of a device. Knows nothing of
diffusion."""
