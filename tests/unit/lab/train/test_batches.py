"""A batch depends on (seed, step) alone, and processes share it."""

from __future__ import annotations

import numpy as np
import torch

from diffdescent.base.image_sets import ImageSet
from diffdescent.lab.train.batches import Batches
from diffdescent.lab.train.config import DataConfig

COUNT = 10


def images() -> ImageSet:
    pixels = torch.arange(COUNT * 3 * 8 * 8).remainder(251).to(torch.uint8).reshape(COUNT, 3, 8, 8)
    return ImageSet(pixels, torch.arange(COUNT), None, [str(i) for i in range(COUNT)])


PLAIN = DataConfig(path="", flip=False)


def test_a_batch_is_a_function_of_the_step() -> None:
    config = DataConfig(path="", shift=2, cutout=3)
    a = Batches(images(), config, 4, seed=1)
    b = Batches(images(), config, 4, seed=1)
    for step in (0, 1, 2, 3):
        a.at(step)
    for step in (3, 0):
        left, right = a.at(step), b.at(step)
        assert torch.equal(left.x, right.x)
        assert torch.equal(left.noise, right.noise)
        assert np.array_equal(left.u, right.u)


def test_an_epoch_shows_every_image_once_in_a_new_order() -> None:
    batches = Batches(images(), PLAIN, 5, seed=0)
    epochs = [[int(k) for s in (2 * e, 2 * e + 1) for k in batches.at(s).labels] for e in range(3)]
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_processes_share_one_batch() -> None:
    config = DataConfig(path="", shift=1, cutout=2)
    whole = Batches(images(), config, 6, seed=3).at(5)
    parts = [Batches(images(), config, 6, seed=3, rank=r, world=2).at(5) for r in (0, 1)]
    for r, part in enumerate(parts):
        assert torch.equal(part.x, whole.x[r::2])
        assert torch.equal(part.noise, whole.noise[r::2])
        assert np.array_equal(part.u, whole.u[r::2])
        assert np.array_equal(part.drop, whole.drop[r::2])


def test_noise_levels_are_stratified_and_noise_is_normal() -> None:
    batches = Batches(images(), PLAIN, 8, seed=0)
    seen = [batches.at(step) for step in range(60)]
    assert all(sorted(np.floor(b.u * 8)) == list(range(8)) for b in seen)
    noise = torch.cat([b.noise.flatten() for b in seen])  # 92,160 numbers
    assert abs(noise.mean()) < 4 / len(noise) ** 0.5
    assert abs(noise.var() - 1) < 4 * (2 / len(noise)) ** 0.5


def test_flip_shift_and_cutout() -> None:
    source = images()
    plain = {
        int(k): x
        for k, x in zip(
            *(lambda b: (b.labels, b.x))(Batches(source, PLAIN, COUNT, 0).at(0)), strict=True
        )
    }
    assert torch.allclose(plain[3], source.images[3].float() / 127.5 - 1)
    flipped = Batches(source, DataConfig(path=""), COUNT, 0).at(0)
    kinds = [
        torch.equal(x, plain[int(k)].flip(-1))
        for k, x in zip(flipped.labels, flipped.x, strict=True)
    ]
    assert any(kinds)
    assert not all(kinds)
    shifted = Batches(source, DataConfig(path="", flip=False, shift=2), COUNT, 0).at(0)
    assert shifted.x.shape == flipped.x.shape
    cut = Batches(source, DataConfig(path="", flip=False, cutout=4), COUNT, 0).at(0)
    assert all(
        1 <= int((x[0] != plain[int(k)][0]).sum()) <= 16
        for k, x in zip(cut.labels, cut.x, strict=True)
    )
