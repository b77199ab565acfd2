"""What a training run is: a YAML file of a few sections, checked before anything is read or built.

Every field has a default that suits a small image set, so that a recipe names only what it means.
``configs/`` holds the recipes of the bundled networks; ``docs/training.md`` walks through one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from diffdescent.base.errors import UserError
from diffdescent.base.yaml_text import parse_yaml, read_yaml

Share = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A part of the config: unknown names are refused, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Section):
    """Where the images are and how a batch varies them."""

    path: str  # image folder, .zip or .npz
    test: str | None = None  # held-out images for the classifiers' accuracy
    size: int | None = Field(default=None, gt=0)  # crop and resize to size × size
    skip_bad: bool = False
    labels: bool = True  # False: train without classes even where there are some
    flip: bool = True  # mirror half of the images
    shift: int = Field(
        default=0, ge=0
    )  # random translation by up to this many pixels, borders reflected
    cutout: int = Field(default=0, ge=0)  # side of a random square set to grey


class ProcessConfig(Section):
    """The forward process. ``vp``: β schedule of ``steps`` steps. ``edm``: x + σε.

    ``levels``: how training draws its noise levels. On ``vp``, ``uniform`` is in time, and
    ``log_normal`` is log σ/α ~ N(p_mean, p_std²), which ``edm`` always takes.
    """

    kind: Literal["vp", "edm"] = "vp"
    schedule: Literal["linear", "scaled_linear", "cosine", "sigmoid"] = "linear"
    steps: int = Field(default=1000, gt=1)
    continuous: bool = False  # vp: real-valued times, log ᾱ interpolated
    levels: Literal["uniform", "log_normal"] = "uniform"
    p_mean: float = -1.2
    p_std: float = Field(default=1.2, gt=0)
    sigma_data: float = Field(default=0.5, gt=0)


class LossConfig(Section):
    """What is regressed, and how the noise levels count. EDM has its own target and weights and
    ignores the first three."""

    prediction: Literal["eps", "v"] = "eps"
    weighting: Literal["plain", "min_snr"] = "plain"
    gamma: float = Field(default=5.0, gt=0)  # min-SNR-γ (Hang et al. 2023)
    floor: float = Field(
        default=0.0, ge=0
    )  # min_snr: the least weight of x0's error, for the highest noise levels
    label_dropout: float = Field(
        default=0.1, ge=0, lt=1
    )  # share of labels replaced by the null class
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)  # classifiers


class OptimizerConfig(Section):
    """AdamW, or Muon with AdamW (``kind``); the rate rises over ``warmup`` steps, stays, and falls
    linearly to zero over the last ``decay`` steps. ``hidden_lr`` is Muon's, where it is not AdamW's
    ``lr``."""

    kind: Literal["adamw", "muon"] = "adamw"
    lr: float = Field(default=2e-4, gt=0)
    hidden_lr: float | None = Field(default=None, gt=0)
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: int = Field(default=200, ge=0)
    decay: int = Field(default=0, ge=0)
    clip: float = Field(default=1.0, gt=0)  # largest gradient norm
    ema: float = Field(default=0.999, ge=0, lt=1)

    @model_validator(mode="after")
    def _hidden_lr_is_of_muon(self) -> OptimizerConfig:
        if self.hidden_lr is not None and self.kind != "muon":
            raise ValueError("hidden_lr is Muon's; say kind: muon, or leave it out")
        return self


class RunConfig(Section):
    """How long, in what precision, and what is written when (intervals in steps; 0 is never)."""

    steps: int = Field(gt=0, le=10**9)
    batch: int = Field(default=64, gt=0, le=10**6)  # images a step, over all processes together
    seed: int = Field(default=0, ge=0, lt=2**64)
    precision: Literal["fp32", "bf16"] = "bf16"
    channels_last: bool = False
    compile: bool = False
    threads: int | None = Field(default=None, gt=0)  # CPU threads of each process
    device: Literal["auto", "cpu"] = "auto"
    log_every: int = Field(default=50, gt=0)
    picture_every: int = Field(default=0, ge=0)
    evaluate_every: int = Field(default=0, ge=0)
    checkpoint_every: int = Field(default=500, gt=0)
    tensorboard: bool = False


class TrainConfig(Section):
    """A whole recipe.

    ``task``: ``denoiser`` (a diffusers ``UNet2DModel``), ``guide`` (p(y | x_t)) or ``features``
    (p(y | x) and its penultimate features). ``model`` goes to the network's constructor; sizes and
    class counts come from the data. ``init_from`` is a model folder or a checkpoint whose weights
    start the run, with everything else fresh.
    """

    task: Literal["denoiser", "guide", "features"] = "denoiser"
    out: str
    data: DataConfig
    model: dict[str, Any] = Field(default_factory=dict)
    process: ProcessConfig = ProcessConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    run: RunConfig
    init_from: str | None = None

    @model_validator(mode="after")
    def _a_guide_is_of_vp(self) -> TrainConfig:
        if self.task == "guide" and self.process.kind != "vp":
            raise ValueError("a guide learns on a vp process; say process.kind: vp")
        return self


def make_config(values: dict[str, Any], where: str = "the config") -> TrainConfig:
    """A checked config from plain values.

    Args:
        values: the sections of a recipe.
        where: what messages call it.

    Returns:
        The checked recipe of a run.

    Raises:
        UserError: an unknown or missing name or a value out of range; each is named in one
            sentence.
    """
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in e['loc']) or 'the file'}: {e['msg'].lower()}"
            for e in error.errors()
        )
        raise UserError(
            f"{where} is not a training recipe: {problems}; compare with configs/mnist.yaml."
        ) from error


def load_config(path: str | Path, overrides: list[str] | None = None) -> TrainConfig:
    """Read a recipe; ``overrides`` are ``section.name=value`` texts, values in YAML.

    Args:
        path: a YAML file.
        overrides: ``section.name=value`` texts.

    Returns:
        The checked recipe of a run.

    Raises:
        UserError: no such file, not YAML, an override without ``=``, or what :func:`make_config`
            refuses.
    """
    path = Path(path)
    values = read_yaml(path, "training recipe")
    if not isinstance(values, dict):
        raise UserError(
            f"{path} holds no sections; expected YAML with out:, data: and run:, as in"
            " configs/mnist.yaml."
        )
    for text in overrides or []:
        _override(values, text)
    return make_config(values, str(path))


def _override(values: dict[str, Any], text: str) -> None:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(
            f"The override {text!r} says no value; write section.name=value, such as"
            " run.steps=2000."
        )
    *sections, last = name.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise UserError(
                f"The override {text!r} goes into {section!r}, which is a value and not a section."
            )
    values[last] = parse_yaml(value, f"The override {text!r}")
