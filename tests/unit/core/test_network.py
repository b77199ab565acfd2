"""Networks of someone else's: what they do to their input and their buffers changes no image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import diffdescent as dd

SAMPLERS = ("ddim", "heun", "ge", "deis(order=3)", "pndm", "ddim | momentum(beta=-0.3)")


def images(module: Any, sampler: str) -> Tensor:
    model = dd.Network(module, dd.VP.named(), "eps", shape=(3, 4, 4))
    return dd.sample(model, sampler, n=2, steps=5).images


def plain(x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
    return (0.5 * x).sin()


def in_place(x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
    return x.mul_(0.5).sin_()


class OneBuffer:
    """It writes every answer into the same memory, as CUDA graphs do."""

    def __init__(self) -> None:
        self.buffer = torch.zeros(2, 3, 4, 4)

    def __call__(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        return self.buffer.copy_(plain(x, t, cond))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_network_may_change_its_input_in_place(sampler: str) -> None:
    assert torch.equal(images(in_place, sampler), images(plain, sampler))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_network_may_answer_in_one_buffer(sampler: str) -> None:
    assert torch.equal(images(OneBuffer(), sampler), images(plain, sampler))


@pytest.mark.parametrize(
    "answer",
    [Tensor.int, Tensor.bool, lambda x: torch.complex(x, x), Tensor.to_sparse,
     lambda x: x.to("meta")],
)  # fmt: skip
def test_other_answers_than_plain_numbers_are_refused(answer: Any) -> None:
    with pytest.raises(dd.UserError, match="must return floating-point numbers on cpu"):
        images(lambda x, t, cond: answer(x), "ddim")


def embedded(x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
    return plain(x, t, cond) * torch.nn.Embedding(1000, 1)(t).view(-1, 1, 1, 1)


def looked_up(x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
    return plain(x, t, cond) * torch.ones(1000)[t].view(-1, 1, 1, 1)


@pytest.mark.parametrize("module", [embedded, looked_up])
def test_a_time_that_is_looked_up_must_be_made_whole(module: Any) -> None:
    with pytest.raises(dd.UserError, match=r"module\(x, t\.round\(\)\.long\(\)\)") as caught:
        images(module, "ge")
    assert isinstance(caught.value.__cause__, (RuntimeError, IndexError))
    whole = images(lambda x, t, cond: module(x, t.round().long(), cond), "ge")
    assert whole.isfinite().all()


def test_a_mistake_inside_of_a_network_is_its_own() -> None:
    def wrong(x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        return x @ torch.zeros(7, 7)

    with pytest.raises(RuntimeError, match=r"shape|size"):
        images(wrong, "ge")


@pytest.mark.parametrize("shape", [(), (0, 4, 4), (3, -4, 4)])
def test_shapes_that_no_sample_has(shape: tuple[int, ...]) -> None:
    with pytest.raises(dd.UserError, match="each at least 1"):
        dd.Network(lambda x, t, cond: x, dd.VP.named(), shape=shape)
    with pytest.raises(dd.UserError, match="label_count must be at least 1"):
        dd.Network(lambda x, t, cond: x, dd.VP.named(), shape=(1, 4, 4), label_count=-1)
