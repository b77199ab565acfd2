"""Extractors: the bundled CIFAR-10 classifier, InceptionV3 from a local file, and any module."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError, unknown
from diffdescent.base.reading import require_file

from .features import JSON, Features, join
from .resize import check_resize, resize

BUNDLED = "cifar10-features"
_INCEPTION = "inception:"
_SPATIAL_CHANNELS = 4


class ModuleExtractor:
    """Any ``nn.Module`` as an extractor.

    The module gets float32 images (n, C, H, W) and returns features (n, d), a map (n, d, h, w),
    which is averaged over its places, or :class:`Features` with a spatial map and probabilities as
    well. It is put into evaluation mode and sees ``micro_batch`` images at a time, the last ones
    padded, so that the features of an image are the same in any batch.

    Args:
        module: the network.
        name: what it is called in results.
        size: (H, W) to which images are resized; None leaves them as they are.
        channels: how many it expects; grey images are repeated to three. None hands them over as
            they are.
        resize: how, a name of :data:`diffdescent.evaluate.RESIZES`.
        values: what the pixel values 0 and 255 become.
        device: where it runs; None: the CPU.
        micro_batch: how many images it sees at once.

    Raises:
        UserError: an unknown resize protocol or device, images with the wrong number of channels,
            an output that is not a feature, or one that is not finite.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        name: str,
        size: tuple[int, int] | None = None,
        channels: int | None = None,
        resize: str = "clean",
        values: tuple[float, float] = (-1.0, 1.0),
        device: str | None = None,
        micro_batch: int = 32,
    ) -> None:
        check_resize(resize)
        self.name = name
        self.module = module.eval().to(pick_device(device or "cpu"))
        self.device = pick_device(device or "cpu")
        self.size, self.channels, self.resize, self.values = size, channels, resize, values
        self.micro_batch = micro_batch
        self.protocol: dict[str, JSON] = {
            "network": name,
            "weights": weights_hash(module),
            "resize": resize,
            "size": None if size is None else list(size),
            "values": list(values),
        }

    def __call__(self, images: Tensor) -> Features:
        """Features of ``images``, uint8 (n, C, H, W)."""
        if images.dtype != torch.uint8 or images.ndim != 4 or not len(images):
            raise UserError(
                f"Expected uint8 images (n, C, H, W), not {images.dtype} of shape"
                f" {tuple(images.shape)}; make them with diffdescent.base.images.to_uint8."
            )
        found = join([self._micro(part) for part in torch.split(images, self.micro_batch)])
        if not found.pool.isfinite().all():
            bad = int((~found.pool.isfinite()).any(1).nonzero()[0])
            raise UserError(f"{self.name} gives NaN or Inf for image {bad}; look at the network.")
        return found

    def of_floats(self, images: Tensor) -> Tensor:
        """The pooled features (n, d) of float images (n, C, H, W) in [−1, 1], which are not rounded
        to 256 values: for what is differentiated. They are cut to the range."""
        scaled = (images.clamp(-1, 1) + 1) * 127.5
        found = [self._micro(part).pool for part in torch.split(scaled, self.micro_batch)]
        return torch.cat(found).to(images.device)

    @torch.no_grad()
    def _micro(self, images: Tensor) -> Features:
        count = len(images)
        x = self._prepared(images)
        x = torch.cat([x, x[-1:].expand(self.micro_batch - count, *x.shape[1:])])
        out = self.module(x.to(self.device))
        if isinstance(out, Tensor) and out.ndim in (2, 4):
            out = Features(out if out.ndim == 2 else out.mean((2, 3)))
        if not isinstance(out, Features):
            shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise UserError(
                f"{self.name} returns {shape}; expected (n, d), (n, d, h, w) or Features."
            )
        cut = [
            None if t is None else t[:count].float().cpu()
            for t in (out.pool, out.spatial, out.probs)
        ]
        assert cut[0] is not None
        return Features(cut[0], cut[1], cut[2], self.protocol)

    def _prepared(self, images: Tensor) -> Tensor:
        if self.channels == 3 and images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        if self.channels is not None and images.shape[1] != self.channels:
            raise UserError(
                f"{self.name} looks at images of {self.channels} channels, not {images.shape[1]}."
            )
        pixels = (
            images.float() if self.size is None else resize(images.cpu(), self.size, self.resize)
        )
        low, high = self.values
        return pixels * ((high - low) / 255) + low


def weights_hash(module: nn.Module) -> str:
    """The first 16 digits of the SHA-256 of a module's parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(
            tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()[:16]


class _ClassifierTaps(nn.Module):
    """The bundled classifier: 256 penultimate features, four channels of its 8 × 8 map (256), and
    probabilities."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.map: Tensor | None = None
        network.get_submodule("down3").register_forward_pre_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.map = inputs[0]

    def forward(self, x: Tensor) -> Features:
        pool = self.network.features(x)  # type: ignore[operator]
        assert self.map is not None
        spatial, self.map = self.map[:, :_SPATIAL_CHANNELS].flatten(1), None
        return Features(pool, spatial, self.network.head(pool).softmax(1))  # type: ignore[operator]


def check_extractor(name: str) -> None:
    """Raise :class:`UserError` unless ``name`` is an extractor's; its file is there, but not
    read."""
    if name.startswith(_INCEPTION):
        require_file(Path(name.removeprefix(_INCEPTION)), "file of FID weights")
    elif name != BUNDLED:
        raise unknown("feature extractor", name, (BUNDLED, f"{_INCEPTION}FILE"))


def load_extractor(
    name: str = BUNDLED, *, resize: str = "clean", device: str | None = None
) -> ModuleExtractor:
    """The extractor called ``name``.

    ``cifar10-features`` is the bundled classifier: 32 × 32 images, 256 features, fast; its
    distances compare among themselves and with no published number. ``inception:FILE`` is
    InceptionV3 with the FID weights of a local file in pytorch-fid's layout: with
    ``resize="legacy"`` pixels become 2x/255 − 1 as in pytorch-fid, with ``"clean"`` (x − 128)/128
    as in clean-fid.

    Args:
        name: ``cifar10-features`` or ``inception:FILE``.
        resize: "clean" (anti-aliased) or "legacy" (as pytorch-fid).
        device: "cpu", "cuda", "cuda:1" or "mps"; None is the CPU.

    Returns:
        The extractor.

    Raises:
        UserError: another name, a file that cannot be read, an unknown resize protocol.
    """
    check_resize(resize)
    check_extractor(name)
    if name == BUNDLED:
        from diffdescent.base.assets import ASSETS
        from diffdescent.models.classifiers import load_classifier

        network = _ClassifierTaps(load_classifier(ASSETS / BUNDLED))
        return ModuleExtractor(
            network, name=BUNDLED, size=(32, 32), channels=3, resize=resize, device=device
        )
    from .inception import load_inception

    return ModuleExtractor(
        load_inception(Path(name.removeprefix(_INCEPTION))),
        name="inception-v3-fid",
        size=(299, 299),
        channels=3,
        resize=resize,
        values=(-1.0, 1.0) if resize == "legacy" else (-1.0, 127 / 128),
        device=device,
    )
