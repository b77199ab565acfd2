"""InceptionV3 as FID uses it: the network of the 2015 TensorFlow graph, with weights in
pytorch-fid's layout.

The architecture is that of Szegedy et al. (2016) with 1008 outputs; where the graph differs from
the later torchvision network: average pooling does not count the padding, and the last block pools
by the maximum. Names of modules are those of the weights file
(``Mixed_5b.branch5x5_1.conv.weight``).
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffdescent.base.errors import UserError
from diffdescent.base.reading import reason, require_file
from diffdescent.models.weight_files import read_tensors

from .features import Features

Size = int | tuple[int, int]

SPATIAL_CHANNELS = 7
"""Channels of the spatial features of sFID: the first seven of mixed_6/conv, 7 × 17 × 17 = 2023
numbers."""


class _Conv(nn.Module):
    """Convolution without bias, batch normalisation, ReLU. Stride 1 keeps the size unless
    ``valid``."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Size, stride: int = 1, valid: bool = False
    ) -> None:
        super().__init__()
        k = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (0, 0) if valid or stride == 2 else (k[0] // 2, k[1] // 2)
        self.conv = nn.Conv2d(inputs, outputs, k, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Average(nn.AvgPool2d):
    def __init__(self) -> None:
        super().__init__(3, stride=1, padding=1, count_include_pad=False)


class _Maximum(nn.MaxPool2d):
    def __init__(self, stride: int) -> None:
        super().__init__(3, stride=stride, padding=1 if stride == 1 else 0)


Part = tuple[str, str, int, Size, int]
"""A convolution of a block: name, source of its input ("x", "pool" or another's name), outputs,
kernel, stride."""


class _Mixed(nn.Module):
    """Parallel chains of convolutions; what no other one reads is the output, in the order of the
    table."""

    def __init__(self, inputs: int, pool: nn.Module, parts: list[Part]) -> None:
        super().__init__()
        self.pool = pool
        channels = {"x": inputs, "pool": inputs}
        for name, source, outputs, kernel, stride in parts:
            setattr(self, name, _Conv(channels[source], outputs, kernel, stride))
            channels[name] = outputs
        self.route = [(name, source) for name, source, *_ in parts]
        read = {source for _, source in self.route}
        self.ends = [name for name, _ in self.route if name not in read] + ["pool"] * (
            "pool" not in read
        )
        self.outputs = sum(channels[name] for name in self.ends)

    def forward(self, x: Tensor) -> Tensor:
        made = {"x": x, "pool": self.pool(x)}
        for name, source in self.route:
            made[name] = getattr(self, name)(made[source])
        return torch.cat([made[name] for name in self.ends], dim=1)


def _chain(name: str, *steps: tuple[str, int, Size, int], source: str = "x") -> list[Part]:
    """Convolutions one after another; each step is (suffix, outputs, kernel, stride)."""
    parts: list[Part] = []
    for suffix, outputs, kernel, stride in steps:
        parts.append((name + suffix, parts[-1][0] if parts else source, outputs, kernel, stride))
    return parts


def _pooled(outputs: int) -> list[Part]:
    return _chain("branch_pool", ("", outputs, 1, 1), source="pool")


def _block_a(inputs: int, pooled: int) -> _Mixed:
    return _Mixed(inputs, _Average(), [
        *_chain("branch1x1", ("", 64, 1, 1)),
        *_chain("branch5x5", ("_1", 48, 1, 1), ("_2", 64, 5, 1)),
        *_chain("branch3x3dbl", ("_1", 64, 1, 1), ("_2", 96, 3, 1), ("_3", 96, 3, 1)),
        *_pooled(pooled),
    ])  # fmt: skip


def _block_b(inputs: int) -> _Mixed:
    return _Mixed(inputs, _Maximum(2), [
        *_chain("branch3x3", ("", 384, 3, 2)),
        *_chain("branch3x3dbl", ("_1", 64, 1, 1), ("_2", 96, 3, 1), ("_3", 96, 3, 2)),
    ])  # fmt: skip


def _block_c(inputs: int, c: int) -> _Mixed:
    wide, tall = (1, 7), (7, 1)
    return _Mixed(
        inputs,
        _Average(),
        [
            *_chain("branch1x1", ("", 192, 1, 1)),
            *_chain("branch7x7", ("_1", c, 1, 1), ("_2", c, wide, 1), ("_3", 192, tall, 1)),
            *_chain(
                "branch7x7dbl",
                ("_1", c, 1, 1),
                ("_2", c, tall, 1),
                ("_3", c, wide, 1),
                ("_4", c, tall, 1),
                ("_5", 192, wide, 1),
            ),
            *_pooled(192),
        ],
    )


def _block_d(inputs: int) -> _Mixed:
    return _Mixed(
        inputs,
        _Maximum(2),
        [
            *_chain("branch3x3", ("_1", 192, 1, 1), ("_2", 320, 3, 2)),
            *_chain(
                "branch7x7x3",
                ("_1", 192, 1, 1),
                ("_2", 192, (1, 7), 1),
                ("_3", 192, (7, 1), 1),
                ("_4", 192, 3, 2),
            ),
        ],
    )


def _block_e(inputs: int, pool: nn.Module) -> _Mixed:
    wide, tall = (1, 3), (3, 1)
    return _Mixed(inputs, pool, [
        *_chain("branch1x1", ("", 320, 1, 1)),
        *_chain("branch3x3", ("_1", 384, 1, 1), ("_2a", 384, wide, 1)),
        ("branch3x3_2b", "branch3x3_1", 384, tall, 1),
        *_chain("branch3x3dbl", ("_1", 448, 1, 1), ("_2", 384, 3, 1), ("_3a", 384, wide, 1)),
        ("branch3x3dbl_3b", "branch3x3dbl_2", 384, tall, 1),
        *_pooled(192),
    ])  # fmt: skip


class InceptionV3(nn.Module):
    """Images (n, 3, 299, 299) in [−1, 1] → :class:`Features`: ``pool`` (n, 2048), the mean of the
    last block; ``spatial`` (n, 2023), the first seven channels of mixed_6/conv in the order (row,
    column, channel) of the TensorFlow graph; ``probs`` (n, 1008), the softmax of the logits without
    their bias, as published Inception Scores take it."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3, valid=True)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3, valid=True)
        self.Mixed_5b = _block_a(192, 32)
        self.Mixed_5c = _block_a(256, 64)
        self.Mixed_5d = _block_a(288, 64)
        self.Mixed_6a = _block_b(288)
        self.Mixed_6b = _block_c(768, 128)
        self.Mixed_6c = _block_c(768, 160)
        self.Mixed_6d = _block_c(768, 160)
        self.Mixed_6e = _block_c(768, 192)
        self.Mixed_7a = _block_d(768)
        self.Mixed_7b = _block_e(1280, _Average())
        self.Mixed_7c = _block_e(2048, _Maximum(1))
        self.fc = nn.Linear(2048, 1008)

    def stem(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The first two stages, (n, 64, 73, 73) and (n, 192, 35, 35)."""
        h = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        first = F.max_pool2d(h, 3, stride=2)
        second = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(first)), 3, stride=2)
        return first, second

    def forward(self, x: Tensor) -> Features:
        h = self.stem(x)[1]
        for block in (
            self.Mixed_5b,
            self.Mixed_5c,
            self.Mixed_5d,
            self.Mixed_6a,
            self.Mixed_6b,
            self.Mixed_6c,
        ):
            h = block(h)
        spatial = (
            self.Mixed_6d.get_submodule("branch1x1")(h)[:, :SPATIAL_CHANNELS]
            .permute(0, 2, 3, 1)
            .flatten(1)
        )
        for block in (self.Mixed_6d, self.Mixed_6e, self.Mixed_7a, self.Mixed_7b, self.Mixed_7c):
            h = block(h)
        pool = h.mean((2, 3))
        return Features(pool, spatial, (pool @ self.fc.weight.T).softmax(1))


def load_inception(path: str | Path) -> InceptionV3:
    """The network with the weights of a local file in pytorch-fid's layout, ``.pth`` or
    ``.safetensors``.

    Raises:
        UserError: no such file, one that does not load without running code, or weights of another
            network.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"There is no file {path}; give the FID weights of InceptionV3 in pytorch-fid's layout."
        )
    weights = _read(path)
    network = InceptionV3()
    expected = {
        k: v.shape for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")
    }
    for name, shape in expected.items():
        found = tuple(weights[name].shape) if name in weights else "absent"
        if found != tuple(shape):
            raise UserError(
                f"{path} is not an InceptionV3 in pytorch-fid's layout: {name} should be"
                f" {tuple(shape)} and is {found}; the file that pytorch-fid uses is"
                " pt_inception-2015-12-05-6726825d.pth."
            )
    network.load_state_dict({name: weights[name].float() for name in expected}, strict=False)
    return network.eval().requires_grad_(False)


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return read_tensors(path)
    require_file(path, "file of weights")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        raise UserError(
            f"{path} does not load as plain weights ({reason(error)}); it is damaged, or a pickle"
            " that needs code: save its state_dict() as a file of tensors."
        ) from None
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise UserError(f"{path} holds no dictionary of tensors; save the network's state_dict().")
    return found
