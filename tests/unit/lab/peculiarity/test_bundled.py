"""The bundled denoiser of figures draws what it is asked for, and leaves figures as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffdescent import load_model, sample
from diffdescent.lab.peculiarity.check import check_counter, check_memory
from diffdescent.lab.peculiarity.counter import count_limbs
from diffdescent.lab.peculiarity.figures import make_figures
from diffdescent.lab.peculiarity.species import SPECIES

pytest.importorskip("scipy", reason="counting limbs needs scipy")
pytest.importorskip("diffusers", reason="the bundled denoiser is a diffusers network")


def test_it_draws_figures_of_the_species_asked_for() -> None:
    model = load_model("figures")
    assert model.shape == (1, 32, 32)
    labels = [i % 3 for i in range(36)]
    images = sample(model, "unipc", steps=10, n=36, labels=labels, micro_batch=36).images
    readings = count_limbs(images)
    assert torch.isfinite(images).all()
    right = [s == list(SPECIES)[k] for s, k in zip(readings.species, labels, strict=True)]
    assert sum(right) >= 9  # by chance, from any noise, next to none
    assert readings.readable.sum() >= 20


def test_figures_are_read_as_well_after_a_little_noise_is_taken_away() -> None:
    assert check_counter(load_model("figures"), 0.1, 30).wrong.count <= 1


def test_samples_are_no_nearer_to_some_figures_than_other_figures_are() -> None:
    pages, _ = make_figures(400, seed=0)
    found = check_memory(load_model("figures"), pages, 24, steps=5)
    assert np.all(np.array(found.samples) > 0.5 * np.array(found.held_out))
    assert found.near.count <= 3
