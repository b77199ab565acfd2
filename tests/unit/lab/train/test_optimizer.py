"""Muon for hidden layers, AdamW for the rest."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from diffdescent.base.errors import UserError
from diffdescent.lab.train.config import OptimizerConfig, make_config
from diffdescent.lab.train.optimizer import MuonWithAdamW, build_optimizer, set_rate


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, 8, 3)
        self.hidden = nn.Conv2d(8, 16, 3)
        self.conv_out = nn.Conv2d(16, 3, 3)


def moved(layout: torch.memory_format) -> dict[str, torch.Tensor]:
    """How far one step at a rate of 0.01 moves each parameter, whose memory is another by then, as
    it is where several processes train together."""
    torch.manual_seed(0)
    network = Small().to(memory_format=layout)  # type: ignore[call-overload]
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    optimizer = build_optimizer(network, OptimizerConfig(kind="muon", lr=0.01, betas=(0.0, 0.0)))
    assert isinstance(optimizer, MuonWithAdamW)
    assert [g["lr"] for g in optimizer.param_groups] == [0.01, 0.01, 0.01]
    for n, p in network.named_parameters():
        p.data = p.data.clone(memory_format=layout if p.ndim == 4 else torch.preserve_format)
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(len(n)))
    optimizer.step()
    optimizer.zero_grad()
    assert all(p.grad is None for p in network.parameters())
    return {n: (p.detach() - before[n]) for n, p in network.named_parameters()}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_hidden_kernel_moves_equally_far_in_all_directions(layout: torch.memory_format) -> None:
    """The step is 0.2 √max(rows, columns) times a matrix whose singular values are near 1 (from
    0.6 to 1.3 with Muon's five iterations), along the gradient; the others step as by Adam, ±lr."""
    step = moved(layout)
    kernel = step["hidden.weight"].flatten(1) / (0.01 * 0.2 * (8 * 9) ** 0.5)
    values = torch.linalg.svdvals(kernel)
    assert values.min() > 0.6
    assert values.max() < 1.3
    gradient = torch.randn((16, 8, 3, 3), generator=torch.Generator().manual_seed(13)).flatten(1)
    u, _, v = torch.linalg.svd(gradient, full_matrices=False)
    aligned = (u.T @ -kernel @ v.T).diag()
    assert aligned.min() > 0.6
    for name in ("conv_in.weight", "conv_out.weight", "hidden.bias"):
        assert torch.allclose(step[name].abs(), torch.full_like(step[name], 0.01), rtol=1e-3)


def test_the_layout_in_memory_changes_nothing() -> None:
    plain, last = moved(torch.contiguous_format), moved(torch.channels_last)
    for name, value in plain.items():
        torch.testing.assert_close(last[name], value, rtol=0.02, atol=2e-4)  # bf16 within


def test_hidden_matrices_may_have_a_rate_of_their_own() -> None:
    optimizer = build_optimizer(Small(), OptimizerConfig(kind="muon", lr=0.01, hidden_lr=0.04))
    assert [g["lr"] for g in optimizer.param_groups] == [0.04, 0.01, 0.01]
    other = build_optimizer(Small(), OptimizerConfig(kind="muon", lr=0.01, hidden_lr=0.04))
    other.load_state_dict(optimizer.state_dict())
    set_rate(other, 0.001)
    assert [g["lr"] for g in other.param_groups] == [0.004, 0.001, 0.001]
    with pytest.raises(UserError, match=r"optimizer: .*hidden_lr is muon's; say kind: muon"):
        make_config(
            {"out": "x", "data": {"path": "x"}, "run": {"steps": 1}, "optimizer": {"hidden_lr": 1}}
        )


def test_what_muon_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no matrix between hidden layers"):
        build_optimizer(nn.Sequential(nn.BatchNorm2d(3)), OptimizerConfig(kind="muon"))
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(UserError, match=r"from version 2.9 on.*use adamw"):
        build_optimizer(Small(), OptimizerConfig(kind="muon"))
